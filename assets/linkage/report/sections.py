"""The page of a linkage, section by section: what was linked first, then what may be wrong with it, then the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from assets.linkage.report import model_sections
from assets.linkage.report.charts import Scale, point
from assets.linkage.report.weighting import WEIGHTED_BY
from assets.pages.markup import Html, joined, tag
from assets.pages.parts import bullets, contents_list, facts, paragraph, section, table
from assets.pages.words import capital, percent, points, signed_points
from sources.contracts import CONTRACTS

_CONTENTS = {
    "steps": "Links by step and by rule",
    "false": "How many links may be false",
    "thresholds": "Another threshold",
    "groups": "Who is linked",
    "weighted": "If the missed are not like the linked",
    "unlinkable": "Rows with too little to compare",
    "review": "The review band, by pattern",
    "weights": "What each agreement weighs",
    "examples": "How a weight adds up",
    "about": "How to read this report",
}
_WORDS = {"review": "a two-year review", "setting": "a setting"}
_RULES = {
    "upn": "the same UPN within education",
    "nhs_number": "the same NHS number",
    "scoped_id": "the same number of one sender",
    "identical_demographics": "the same in every respect",
    "probabilistic": "match weight",
    "none": "stands alone, or the others were brought to it",
}
_SHARES = Scale(0, 1)


def sections(report: dict[str, Any]) -> Iterator[Html]:
    yield _outcome(report)
    yield contents_list(_CONTENTS)
    contents = {
        "steps": _steps(report),
        "false": _false_links(report),
        "thresholds": _thresholds(report),
        "groups": _groups(report),
        "weighted": _weighted(report),
        "unlinkable": _unlinkable(report),
        "review": model_sections.review(report),
        "weights": model_sections.weights(report),
        "examples": model_sections.examples(report),
        "about": _about(report),
    }
    for anchor, title in _CONTENTS.items():
        yield section(anchor, title, *contents[anchor])


def _outcome(report: dict[str, Any]) -> Html:
    everyone = report["groups"][0]
    tallies = [
        ("Children with an EYFS Profile", f"{everyone['children']:,}"),
        *((f"linked to {words}", percent(everyone[name]["share"])) for name, words in _WORDS.items()),
        *(
            (f"{capital(control['step'])}: false links, at most", f"{control['false_links_at_most']:,.0f}")
            for control in report["negative_control"]["steps"]
            if control["step"] in _assigned(report)
        ),
        ("pairs in the review band", f"{sum(step['in_review_band'] for step in report['steps']):,}"),
    ]
    return facts(tallies, "tallies")


def _assigned(report: dict[str, Any]) -> set[str]:
    """Steps with a one-to-one assignment."""
    return {line["step"] for line in report["thresholds"]}


def _steps(report: dict[str, Any]) -> Iterator[Html]:
    yield paragraph(
        f"Model version {report['model_version']}. A pair is a link from a posterior of {report['threshold']:g}, one to"
        f" one; a further record of a child is added from {report['further_records_from']:g}. The sources hold"
        f" {report['children']:,} children, with or without an EYFS Profile."
    )
    columns = {
        "Pairs scored": "pairs_scored",
        "Linked one to one": "linked_one_to_one",
        "of these, left over at first": "linked_of_those_left_over",
        "Further records": "further_records",
        "By NHS number": "by_nhs_number",
        "Ties left undecided": "undecided_ties",
    }
    body = [(capital(step["step"]), *(f"{step[name]:,}" for name in columns.values())) for step in report["steps"]]
    yield table("Between services, step by step", ("Step", *columns), body, len(columns))
    by_source = {
        source: {line["match_rule"]: line["rows"] for line in lines}
        for source, lines in groupby(report["rows_by_source_and_rule"], key=lambda line: line["source"])
    }
    rules = [rule for rule in _RULES if any(rule in counts for counts in by_source.values())]
    rules += sorted({rule for counts in by_source.values() for rule in counts} - set(rules))
    body = [
        (
            joined((rule, tag("span", _RULES.get(rule, ""), class_="about"))),
            *(f"{counts.get(rule, 0):,}" for counts in by_source.values()),
        )
        for rule in rules
    ]
    yield table(
        "Rows by the rule that brought them to their child", ("Rule", *map(_title, by_source)), body, len(by_source)
    )


def _title(source: str) -> str:
    return CONTRACTS[source].title


def _false_links(report: dict[str, Any]) -> Iterator[Html]:
    control = report["negative_control"]
    sure = f"{control['confidence']:.0%}"
    yield paragraph(
        "A negative control: the partner of each linked record is taken away, a part of the children at a time"
        f" ({control['parts']} parts), and the step is decided again. What the record is linked to then is somebody"
        " else."
    )
    if not control["steps"]:
        yield paragraph("No step has a link, so there is nothing to control.")
        return
    header = (
        "Step",
        "Links",
        "Partners taken away",
        "then linked to somebody else",
        "who would outdo a partner",
        f"False links, at most ({sure})",
        "Cautious limit",
    )
    body = [
        (
            capital(line["step"]),
            *(f"{line[name]:,}" for name in ("links", "subjects", "linked_to_somebody_else", "outdoing_a_partner")),
            tag("strong", _limit(line, "false_links_at_most")),
            _limit(line, "false_links_at_most_cautious"),
        )
        for line in control["steps"]
    ]
    yield table(f"Upper limits for the number of false links, {sure} sure", header, body, len(header) - 1)
    yield bullets(
        (
            "The limit counts records whose partner is absent or not recognised, and are linked to a stranger, and"
            " records for which a stranger outdid the partner. It takes it that how well strangers agree with a record"
            " does not depend on how well its own partner does.",
            "The cautious limit does without that: it lets every record of the step be linked as if its partner were"
            " absent.",
            "Both take it that records that were not linked resemble strangers no more than those that were. Neither"
            " covers errors of the rules within a service, such as a number typed on another child's record, nor missed"
            " links.",
            "Limits are Clopper and Pearson's, exact for the chances counted. A step with few links has a wide limit.",
        )
    )


def _limit(line: dict[str, Any], name: str) -> str:
    limit = line[name]
    if limit >= line["links"]:
        return "too few links to say"
    return f"{limit:,.1f} ({percent(limit / line['links'])})"


def _thresholds(report: dict[str, Any]) -> Iterator[Html]:
    yield paragraph("One-to-one links if the threshold were another, against those in force.")
    body = [
        (
            f"{capital(line['step'])}, {line['threshold']:g}",
            *(f"{line[name]:,}" for name in ("links", "gained", "lost")),
            percent((line["gained"] + line["lost"]) / line["links"]) if line["links"] else "",
        )
        for line in report["thresholds"]
    ]
    header = ("Step and threshold", "Links", "Gained", "Lost", "Changed, of its links")
    yield table("Links at other thresholds", header, body, 4)


def _groups(report: dict[str, Any]) -> Iterator[Html]:
    yield paragraph(
        "Share of the children with an EYFS Profile that are linked, with Wilson's 95% interval. A child may be"
        " without a link because the link was missed, because no review or census row was sent, or because there was"
        " none: these cannot be told apart. Unknown for free school meals, ethnic group and SEN is mostly a child"
        " without a school census row."
    )
    for name, words in _WORDS.items():
        yield tag("h3", f"Linked to {words}")
        scale = _zoomed([line[name] for line in report["groups"]])
        for topic, lines in groupby(report["groups"], key=lambda line: line["topic"]):
            body = [_rate_line(line["group"], line["children"], line[name], scale) for line in lines]
            caption = f"{topic}: linked to {words} (drawn from {scale.low:.0%} to {scale.high:.0%})"
            yield table(caption, ("Group", "Children", "Linked", "95% interval"), body, 3, class_="bars")


def _zoomed(rates: Sequence[dict[str, Any]]) -> Scale:
    """From the lowest limit of a group of some size, rounded down to ten percent, to one."""
    lows = [rate["share"] for rate in rates if rate["share"] is not None and rate["upper"] - rate["lower"] < 0.2]
    return Scale(min([int(low * 10 - 0.5) / 10 for low in lows], default=0.0), 1)


def _rate_line(group: str, children: int, rate: dict[str, Any], scale: Scale) -> tuple[str, ...]:
    if rate["share"] is None:
        return group, "0", "", ""
    drawn = point(scale, rate["share"], rate["lower"], rate["upper"])
    interval = f"{points(rate['lower'])} to {points(rate['upper'])}"
    return joined((group, drawn)), f"{children:,}", percent(rate["share"]), interval


def _weighted(report: dict[str, Any]) -> Iterator[Html]:
    yield paragraph(
        "Share of the linked children at a good level of development, unweighted as the linked tables have it, and with"
        " each child counted as the inverse of its group's share of linked children. Where a weighted figure moves"
        " little, the table does not depend on which groups are missed more often. Weighting cannot mend what differs"
        " between the linked and the missed of one group."
    )
    header = ("Linked children", "Children", "Unweighted", *WEIGHTED_BY)
    for title, lines in groupby(report["weighted"], key=lambda line: line["title"]):
        body = [
            (
                line["category"],
                f"{line['children']:,}",
                percent(line["unweighted"]),
                *(
                    joined((percent(share), tag("span", signed_points(share - line["unweighted"]), class_="was")))
                    for share in line["weighted"].values()
                ),
            )
            for line in lines
        ]
        yield table(f"{title}: good level of development, weighted by", header, body, len(header) - 1)
    if not report["weighted"]:
        yield paragraph("No child is linked.")


def _unlinkable(report: dict[str, Any]) -> Iterator[Html]:
    yield paragraph(
        "Rows that not even an exact copy would be linked to by what they say of name, date of birth, postcode and sex."
        " A row with a UPN or NHS number of its own can still be joined to other rows with that number."
    )
    body = [
        (
            joined(
                (_title(line["source"]), tag("span", f"lacks {line['lacks']}" if line["lacks"] else "", class_="about"))
            ),
            f"{line['rows']:,}",
            percent(line["rows"] / report["rows_by_source"][line["source"]]),
            f"{line['rows_with_own_number']:,}",
        )
        for line in report["unlinkable"]
    ]
    if not body:
        yield paragraph("There are none.")
        return
    header = ("Source, and what the rows lack", "Rows", "Share of the source", "with a number of their own")
    yield table("Rows with too little to compare", header, body, 3)


def _about(report: dict[str, Any]) -> Iterator[Html]:
    yield bullets(
        (
            joined(
                (
                    "A ",
                    tag("strong", "match weight"),
                    " is in bits: each bit doubles the odds that two records are one"
                    " child. It is the prior plus the Bayes factor log2(m / u) of each comparison; 0 bits are even"
                    " odds.",
                )
            ),
            joined(
                (
                    tag("strong", "m"),
                    " is how often a level occurs among two records of one child, ",
                    tag("strong", "u"),
                    " among records of two children. Both are fixed in advance and not trained on these records.",
                )
            ),
            "Names are compared under pseudonyms: what agrees are keyed tokens, and a pattern says which of them did.",
            "What is reported follows the GUILD guidance on information about linking data sets: how records were"
            " linked, what was linked, by whom it may be wrong, and for whom.",
            joined(("To ask about two rows: ", tag("code", "readiness link explain"), ".")),
        )
    )
