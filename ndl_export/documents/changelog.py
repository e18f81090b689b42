"""`changelog.md`: what is new in a release against the previous one of its cohort."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ndl_export.documents.changes import Compared
from ndl_export.documents.markdown import bullets, grid, page
from ndl_export.missing import short
from ndl_export.previous import Previous
from ndl_export.release_facts import TITLE, ReleaseFacts
from ndl_export.tables import TABLES
from sources.reference.cohorts import Cohort
from sources.reference.places import place


def changelog_page(facts: ReleaseFacts, previous: Previous | None, comparison: Mapping[str, Compared]) -> str:
    """The page; `comparison` as from `changes.compare`."""
    heading = f"## Release {facts.version}, {facts.published}"
    if previous is None:
        cohorts = ", ".join(Cohort(cohort).label for cohort in facts.cohorts)
        first = f"The first release about {cohorts}: there is nothing to compare it with."
        return page("# Changelog", f"{TITLE}.", heading, first)
    return page(
        "# Changelog",
        f"{TITLE}.",
        heading,
        f"Compared with release {previous.version}, which it replaces. That release stays as it was published.",
        bullets(_inputs(facts, previous, comparison)),
        "### Figures that moved",
        "A figure has moved where the 95% interval of its change leaves out zero: the noise of both releases, which was"
        " drawn independently, does not explain it. If no record had changed, about 5 figures in 100 would be listed"
        " all the same. `changes.csv` has them, with the interval of each change; counts are compared by their"
        " estimates.",
        grid(
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
        ),
    )


def _inputs(facts: ReleaseFacts, previous: Previous, comparison: Mapping[str, Compared]) -> Iterator[str]:
    """What changed besides figures, a line each."""
    yield _difference("Councils", _names(facts.councils), _names(previous.councils))
    yield _difference("Sources not sent", set(short(facts.missing)), set(short(previous.missing)))
    yield _difference("Tables", set(TABLES), set(previous.tables))
    if anew := sorted(set(TABLES) & set(previous.tables) - set(comparison)):
        yield f"Not compared, since their rows are defined anew: {', '.join(anew)}."
    now, before = (parameters["epsilon"] for parameters in (facts.privacy_parameters, previous.privacy_parameters))
    yield f"Privacy loss: epsilon {now:g}, of the release before {before:g}. Both count against the cohort's budget."


def _difference(what: str, now: set[str], before: set[str]) -> str:
    parts = [
        f"{verb}: {', '.join(sorted(names))}"
        for verb, names in (("new", now - before), ("gone", before - now))
        if names
    ]
    return f"{what}: {'; '.join(parts) or 'as before'}."


def _names(councils: tuple[str, ...]) -> set[str]:
    return {place(council).la_name for council in councils}
