"""`changelog.md`: what is new in a release against the newest older one of each of its cohorts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ndl_export.documents.changes import Compared
from ndl_export.documents.markdown import bullets, grid, page
from ndl_export.facts.missing import short
from ndl_export.facts.previous import Earlier, Previous
from ndl_export.facts.release_facts import TITLE, ReleaseFacts
from ndl_export.tables import TABLES
from sources.reference.cohorts import Cohort
from sources.reference.places import place


def changelog_page(facts: ReleaseFacts, earlier: Earlier, comparisons: Mapping[str, Mapping[str, Compared]]) -> str:
    """The page; `comparisons` by cohort, as from `changes.compare`."""
    heading = f"## Release {facts.version}, {facts.published}"
    several = len(facts.cohorts) > 1
    parts: list[str] = []
    for cohort in sorted(facts.cohorts):
        about = [f"### Children who finished Reception in {Cohort(cohort).label}"] if several else []
        parts += [*about, *_cohort(facts, cohort, earlier, comparisons[cohort])]
    replaces = [f"It replaces release {earlier.replaced}, which stays as it was published."] if earlier.replaced else []
    return page("# Changelog", f"{TITLE}.", heading, *(replaces if several else ()), *parts)


def _cohort(facts: ReleaseFacts, cohort: str, earlier: Earlier, comparison: Mapping[str, Compared]) -> Iterator[str]:
    previous = earlier.of.get(cohort)
    if previous is None:
        yield f"The first release about {Cohort(cohort).label}: there is nothing to compare it with."
        return
    replaced = (
        f"release {previous.version}, which it replaces"
        if previous.version == earlier.replaced
        else (f"release {previous.version}")
    )
    yield f"Compared with {replaced}. That release stays as it was published."
    yield bullets(_inputs(facts, cohort, previous, comparison))
    if facts.measured_in[cohort] == previous.measured_in[cohort]:
        yield (
            f"The noisy counts are those that release {previous.measured_in[cohort]} drew: the figures are as they were"
            " published, and nothing more was spent on these children."
        )
        return
    yield ("#### " if len(facts.cohorts) > 1 else "### ") + "Figures that moved"
    yield (
        "A figure has moved where the 95% interval of its change leaves out zero: the noise of both releases, which was"
        " drawn independently, does not explain it. If no record had changed, about 5 figures in 100 would be listed"
        " all the same. `changes.csv` has them, with the interval of each change; counts are compared by their"
        " estimates."
    )
    yield grid(
        ("table", "figures compared", "moved", "moved, %", "rows added", "rows left out"),
        (
            (
                f"`{name}`",
                f"{one.compared:,}",
                f"{len(one.moved):,}",
                f"{100 * len(one.moved) / one.compared:.1f}" if one.compared else "",
                f"{one.added:,}",
                f"{one.left_out:,}",
            )
            for name, one in comparison.items()
        ),
    )


def _inputs(facts: ReleaseFacts, cohort: str, previous: Previous, comparison: Mapping[str, Compared]) -> Iterator[str]:
    """What changed besides figures, a line each."""
    yield _difference("Councils", _names(facts.councils), _names(previous.councils))
    now, before = (set(short({cohort: each.missing.get(cohort, {})})) for each in (facts, previous))
    yield _difference("Sources not sent", now, before)
    yield _difference("Tables", set(TABLES), set(previous.tables))
    if anew := sorted(set(TABLES) & set(previous.tables) - set(comparison)):
        yield f"Not compared, since their rows are defined anew: {', '.join(anew)}."
    own = {entry["cohort"]: entry for entry in facts.privacy_record["cohorts"]}[cohort]["privacy_parameters"]["epsilon"]
    if facts.measured_in[cohort] != previous.measured_in[cohort]:
        yield (
            f"Privacy loss: epsilon {own:g}, of the release before {previous.epsilon[cohort]:g}. Both count against the"
            " cohort's budget."
        )


def _difference(what: str, now: set[str], before: set[str]) -> str:
    parts = [
        f"{verb}: {', '.join(sorted(names))}"
        for verb, names in (("new", now - before), ("gone", before - now))
        if names
    ]
    return f"{what}: {'; '.join(parts) or 'as before'}."


def _names(councils: tuple[str, ...]) -> set[str]:
    return {place(council).la_name for council in councils}
