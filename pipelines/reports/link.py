"""`readiness link explain` as text: the verdict, the waterfall of match weights, and the decision."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipelines.reports.document import WIDTH, Grid, iter_grid_lines, wrap_text
from privacy.linkage.explain import Why
from privacy.linkage.link import FURTHER_THRESHOLD

_REASONS = {
    Why.SAME_SAID: "They say exactly the same about a child, so they are one record.",
    Why.OWN_NUMBER: (
        "They are of one service and share an own number there (directly or through other rows of the service), or are"
        " the same in every respect."
    ),
    Why.ONE_TO_ONE: "Their records were chosen for each other, one to one, in the step {step}.",
    Why.FURTHER_RECORD: (
        "One is a further record of the child: the other had a record of this service already, and this one is"
        f" sure enough (posterior from {FURTHER_THRESHOLD:g}, forename agrees)."
    ),
    Why.THROUGH_OTHERS: "Not through this pair: each was brought to the same child by other records.",
    Why.SAME_SERVICE: (
        "Both are rows of one service. These are joined only by an own number, or if they are the same in every"
        " respect, or where each is linked to the same child; none of these holds."
    ),
    Why.NOT_LOOKED_AT: (
        "The pair was not looked at in the step {step}: the records share none of the combinations of tokens that make"
        " a pair."
    ),
    Why.BELOW_THRESHOLD: "The pair stays below the threshold.",
    Why.HOUSEHOLD: (
        "Date of birth, postcode and surname agree, the forename does not: such a pair is taken for twins unless"
        " neither has anybody else, and the sex agrees."
    ),
    Why.TIE: "A tie: a rival has the same weight, and no forename tells the two apart, so none of them is linked.",
    Why.RIVAL: (
        "The pair would do, but links are one to one, and it lost to a heavier rival. To be added as a further record"
        f" of the same child, it would need a posterior of {FURTHER_THRESHOLD:g} and a forename that agrees."
    ),
    Why.RIVALS_TOO_NEAR: (
        "The pair would do alone, but others weigh nearly as much, and it is unclear which of them is the child's, so"
        " none of them is linked."
    ),
    Why.NOT_SURE_ENOUGH: (
        f"As a further record a pair needs a posterior of {FURTHER_THRESHOLD:g}, a forename that agrees, and no two NHS"
        " numbers of one service that contradict each other."
    ),
}


def render(found: dict[str, Any]) -> str:
    """Return an explanation from `privacy.linkage.explain` as text."""
    fitted = (
        wrap_text(line.strip(), indent=len(line) - len(line.lstrip())) if len(line) > WIDTH else [line]
        for line in _format_lines(found)
    )
    return "\n".join(part for parts in fitted for part in parts)


def _format_lines(found: dict[str, Any]) -> Iterator[str]:
    first, second = found["rows"]
    yield f"{first['row']} and {second['row']}: {'linked' if found['linked'] else 'not linked'}"
    yield _REASONS[Why(found["why"])].format(step=f'"{found["step"]}"')
    yield ""
    for row in found["rows"]:
        probability = (
            "" if row["match_probability"] is None else f", posterior {_format_probability(row['match_probability'])}"
        )
        yield f"{row['row']} came to its child by: {row['match_rule']}{probability}"
    yield ""
    yield from _format_waterfall(found)
    if found["decision"]:
        yield ""
        yield from _describe_decision(found)


def _format_waterfall(found: dict[str, Any]) -> Iterator[str]:
    pair = found["pair"]
    total = pair["prior_bits"]
    rows = [("prior", f"1 in {1 / pair['prior']:,.0f}", "", "", _format_signed(total), _format_signed(total))]
    for entry in pair["comparisons"]:
        total += entry["bits"]
        m, u = ("" if entry[name] is None else f"{entry[name]:.7g}" for name in ("m", "u"))
        name = entry["comparison"].replace("_", " ").replace("nhs", "NHS")
        rows.append((name, entry["level"], m, u, _format_signed(entry["bits"]), _format_signed(total)))
    if abs(pair["correction"]) > 0.005:  # less is shown as 0.00
        rows.append(
            (
                "household rule",
                "in place of the sum",
                "",
                "",
                _format_signed(pair["correction"]),
                _format_signed(pair["weight"]),
            )
        )
    rows.append(
        (
            "match weight",
            f"posterior {_format_probability(pair['posterior'])}",
            "",
            "",
            "",
            _format_signed(pair["weight"]),
        )
    )
    yield from iter_grid_lines(Grid("", ("term", "level", "m", "u", "bits", "sum"), rows, numbers=4))
    yield f"threshold: posterior {found['threshold']:g}; model version {found['model_version']}"


def _describe_decision(found: dict[str, Any]) -> Iterator[str]:
    decision = found["decision"]
    yield f'Step "{found["step"]}":'
    if decision["weight"] is not None:
        of_records = abs(decision["weight"] - found["pair"]["weight"]) > 0.005  # less is shown as 0.00
        stronger = (
            " (of the strongest records of the two children, which are others than these rows)" if of_records else ""
        )
        yield (
            f"  weight {_format_signed(decision['weight'])}{stronger};"
            f" posterior {_format_probability(decision['posterior_alone'])} alone,"
            f" {_format_probability(decision['posterior'])} among its rivals"
        )
        if abs(decision["bits_raised"]) > 0.005:  # less is shown as 0.00
            raised = _format_signed(decision["bits_raised"])
            yield f"  raised by {raised} in the posterior: a record has one partner at most"
        if decision["of_those_left_over"]:
            yield "  linked among the records left over, where the prior is higher"
    for rival in decision["rivals"]:
        yield (
            f"  the child of {rival['linked_to']} was linked to {', '.join(rival['rows'])} instead:"
            f" weight {_format_signed(rival['weight'])}, posterior {_format_probability(rival['posterior'])}"
        )


def _format_signed(bits: float) -> str:
    return f"{bits:+.2f}"


def _format_probability(value: float) -> str:
    """Format a probability, never rounded to 0 or 1 unless it is."""
    return f"{value:.2g}" if value < 0.0001 else f"1 - {1 - value:.2g}" if 0.9999 < value < 1 else f"{value:.4f}"
