"""What a release says in words of the breaks in its time series: why rows are flagged `b`.

Two things break a series: what is recorded changed its meaning (`sources.reference.breaks`), and figures of several
councils are of other councils than in the cohort before. Which rows are flagged: `rows.Layout.breaks`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from ndl_export.facts.missing import MissingByCohort, not_sent
from ndl_export.tables import FAMILIES, Family
from ndl_export.tables.geography import geographies
from ndl_export.tables.schema import BREAK
from sources.reference.breaks import Break, breaks
from sources.reference.cohorts import Cohort
from sources.reference.places import place


def break_statements(cohorts: Collection[str], councils: Collection[str], missing: MissingByCohort) -> list[str]:
    """A sentence for each break, by cohort; empty where no row is flagged."""
    found, before = [], None
    for cohort in sorted(cohorts):
        found += [f"{Cohort(cohort).label}: {sentence}" for sentence in _recorded(before, cohort)]
        if before is not None:
            found += [
                f"{Cohort(cohort).label}: {sentence}" for sentence in _councils(before, cohort, councils, missing)
            ]
        before = cohort
    return found


def _recorded(before: str | None, cohort: str) -> Iterator[str]:
    earlier = before or getattr(Cohort(cohort).previous, "code", None)
    for each in breaks():
        if each.parts(earlier, cohort):
            names = ", ".join(place(council).la_name for council in sorted(each.councils))
            where = f" in {names}" if names else ""
            unknown = f" Not known: {each.not_known[0].lower()}{each.not_known[1:]}" if each.not_known else ""
            yield f"{each.what}{unknown} Flagged `{BREAK}`{where}: figures by {_labels(each)}. Source: <{each.source}>"


def _labels(each: Break) -> str:
    """What the attributes are called; the goals are not counted up."""
    labels = {
        attribute.name: attribute.label
        for family in FAMILIES.values()
        for attribute in family.attributes
        if attribute.name in each.attributes
    }
    goals = [name for name in labels if "_e" in name and name[-2:].isdigit()]
    kept = [label for name, label in labels.items() if name not in goals]
    return ", ".join((*kept, *(["each early learning goal"] if goals else [])))


def _councils(before: str, cohort: str, councils: Collection[str], missing: MissingByCohort) -> Iterator[str]:
    for family in FAMILIES.values():
        earlier, now = (_counted(family, councils, missing, each) for each in (before, cohort))
        if earlier and now and earlier != now:
            tables = ", ".join(f"`{table.name}`" for table in family.tables)
            yield (
                f"all councils together are not the same ones as in {Cohort(before).label} in {tables}"
                f" ({_changes(earlier, now)}). Their rows are flagged `{BREAK}`."
            )


def _counted(family: Family, councils: Collection[str], missing: MissingByCohort, cohort: str) -> frozenset[str]:
    """The councils that all councils together are made of."""
    return frozenset(geographies(councils, not_sent(missing.get(cohort, {}), family.name))[0].councils)


def _changes(earlier: frozenset[str], now: frozenset[str]) -> str:
    parts = (("new", now - earlier), ("gone", earlier - now))
    return "; ".join(
        f"{word}: {', '.join(place(council).la_name for council in sorted(names))}" for word, names in parts if names
    )
