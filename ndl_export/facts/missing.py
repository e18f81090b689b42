"""Sentences about sources that councils have not sent, and about breaks in the time series; all are public facts.

A family of tables counts the rows of one source (`Family.source`): a council without it has no rows there, and its
figures are not available. The other sources add characteristics and links to the children of that source.

A series breaks in two ways: the meaning of what is recorded changes (`sources.reference.cohorts`), or the figures of
several councils cover other councils than in the cohort before. `rows.Layout.breaks` decides which rows are flagged.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from ndl_export.facts.on_request import RequestedTable, merge_tables
from ndl_export.tables import FAMILIES, Table, schema
from ndl_export.tables.geography import LOCAL_AUTHORITY, Missing, MissingByCohort, list_geographies
from ndl_export.tables.rows import list_rows
from privacy.doors.shipped import read_yaml
from sources.reference.code_lists import GOALS
from sources.reference.cohorts import Cohort
from sources.reference.places import get_place
from sources.reference.published_figures import Break, load_breaks
from sources.reference.source_titles import SOURCE_TITLES

_EFFECTS: Mapping[str, str] = read_yaml(Path(__file__).parent / "missing_effects.yaml")
RECORDS = {
    attribute.sent_as: attribute for family in FAMILIES.values() for attribute in family.attributes if attribute.sent_as
}
"""Kinds of record of a source that some councils do not send, as `source/code`, with the attribute that needs them."""
MOST_NAMED = 12
"""More councils are counted, not named."""


def list_missing_records(missing: Missing) -> dict[str, tuple[str, ...]]:
    """Return the councils that do not send each kind of record, also because they have not sent its source."""
    return {kind: tuple(sorted({*missing.get(kind, ()), *missing.get(kind.partition("/")[0], ())})) for kind in RECORDS}


def list_missing_councils(missing: Missing, family: str) -> tuple[str, ...]:
    """Return the councils that have not sent the source counted by a family's tables."""
    return tuple(sorted(missing.get(FAMILIES[family].source, ())))


def format_missing(missing: MissingByCohort) -> list[str]:
    """List what is missing as `Halton: no EYFS Profile`, after `2024/25:` if there are several cohorts."""
    found = []
    for cohort, prefix in _label_cohorts(missing):
        for source, council in _list_pairs(missing[cohort]):
            found.append(
                f"{prefix}{get_place(council).la_name}: {f'no {SOURCE_TITLES[source]}' if source else 'nothing'}"
            )
        found += [f"{prefix}{who}: {what}" for _, who, what in _iter_records(missing[cohort])]
    return found


def explain_missing(
    missing: MissingByCohort, councils: Iterable[str], requested: Iterable[RequestedTable] = ()
) -> list[str]:
    """Return a sentence for each missing source and council, and for each area that is left out as a result."""
    taking_part, on_request, found = tuple(councils), tuple(requested), []
    for cohort, prefix in _label_cohorts(missing):
        tables = merge_tables(each for each in on_request if cohort in each.cohorts)
        for source, council in _list_pairs(missing[cohort]):
            counting = [name for name, table in tables.items() if FAMILIES[table.family].source == source]
            effects = [_explain_not_available(counting)] if counting else []
            what = f"no {SOURCE_TITLES[source]}" if source else "nothing"
            effects = [*effects, _EFFECTS.get(source, "")] if source else [_explain_not_available(tables)]
            found.append(f"{prefix}{get_place(council).la_name}: {what}; {'; '.join(filter(None, effects))}")
        for kind, who, what in _iter_records(missing[cohort]):
            needing = (
                name
                for name, table in tables.items()
                if any(kind in row.needs for row in list_rows(table, all_together=True))
            )
            found.append(
                f"{prefix}{who}: {what}; rows about it in {_format_tables(needing)} are"
                f" `{schema.Flag.NOT_AVAILABLE}` (not available), also in areas with any of these councils"
            )
        found += [prefix + left_out for left_out in _explain_areas_left_out(missing[cohort], taking_part, tables)]
    return found


def find_faults(missing: MissingByCohort, councils: Collection[str], cohorts: Collection[str]) -> list[str]:
    """List the errors in a statement of missing sources; empty if it is consistent."""
    if missing.keys() != set(cohorts):
        return [f"missing sources are stated for {', '.join(missing) or 'no cohort'}, not for {', '.join(cohorts)}"]
    found = []
    for absent in missing.values():
        found += [f"there is no source {source}" for source in absent if source not in (*SOURCE_TITLES, *RECORDS)]
        found += [
            f"{council} is stated to have sent no {source}, and does not take part"
            for source, named in absent.items()
            for council in named
            if council not in councils
        ]
    return found


def _label_cohorts(missing: MissingByCohort) -> list[tuple[str, str]]:
    return [(cohort, f"{Cohort(cohort).label}: " if len(missing) > 1 else "") for cohort in sorted(missing)]


def _list_pairs(missing: Missing) -> list[tuple[str, str]]:
    """Return pairs of source and council; councils that sent nothing come first, with an empty source."""
    nothing = set.intersection(*(set(missing.get(source, ())) for source in SOURCE_TITLES))
    return [("", council) for council in sorted(nothing)] + [
        (source, council) for source in SOURCE_TITLES for council in sorted(set(missing.get(source, ())) - nothing)
    ]


def _iter_records(missing: Missing) -> Iterator[tuple[str, str, str]]:
    """Yield each kind of record that councils with its source do not send, with their names and what is missing."""
    for kind, attribute in RECORDS.items():
        if councils := missing.get(kind):
            names = _format_names(councils) if len(councils) <= MOST_NAMED else f"{len(councils)} councils"
            yield kind, names, f"no or hardly any {attribute.label.lower()}"


def _format_tables(tables: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in tables)


def _explain_not_available(tables: Iterable[str]) -> str:
    return (
        f"its rows in {_format_tables(tables)} are `{schema.Flag.NOT_AVAILABLE}` (not available), and rows of several"
        " councils together are without it"
    )


def _explain_areas_left_out(missing: Missing, councils: tuple[str, ...], tables: Mapping[str, Table]) -> list[str]:
    """Return a sentence for each area of several councils that is not published because of missing sources."""
    everywhere = list_geographies(councils)
    found = []
    for family in FAMILIES.values():
        absent = list_missing_councils(missing, family.name)
        # Compared by code, because England without one of its councils has another code: `Pilot councils`.
        kept = {area.code for area in list_geographies(councils, absent)}
        own = _format_tables(name for name, table in tables.items() if table.family == family.name)
        found += [
            f"{area.name}: no rows in {own}, for they would be without {_format_names(absent)}"
            for area in everywhere
            if area.level != LOCAL_AUTHORITY and area.code not in kept
        ]
    return found


def explain_breaks(cohorts: Collection[str], councils: Collection[str], missing: MissingByCohort) -> list[str]:
    """Return a sentence for each break, by cohort; empty if no row is flagged."""
    found, before = [], None
    for cohort in sorted(cohorts):
        sentences, earlier = [], before or getattr(Cohort(cohort).previous, "code", None)
        for each in (each for each in load_breaks() if each.is_between(earlier, cohort)):
            where = f" in {_format_names(each.councils)}" if each.councils else ""
            unknown = f" Not known: {each.not_known[0].lower()}{each.not_known[1:]}" if each.not_known else ""
            labels = _format_labels(each)
            sentences.append(
                f"{each.what}{unknown} Flagged `{schema.BREAK}`{where}: figures by {labels}. Source: <{each.source}>"
            )
        sentences += _explain_changed_councils(before, cohort, councils, missing) if before else ()
        found += [f"{Cohort(cohort).label}: {sentence}" for sentence in sentences]
        before = cohort
    return found


def _format_labels(each: Break) -> str:
    """Return the labels of the attributes; the goals share one label, which comes last."""
    attributes = [attribute for family in FAMILIES.values() for attribute in family.attributes]
    named = [attribute for attribute in attributes if attribute.name in each.attributes]
    labels = dict.fromkeys(attribute.label for attribute in named if attribute.name not in GOALS)
    return ", ".join((*labels, *["each early learning goal"] * any(attribute.name in GOALS for attribute in named)))


def _explain_changed_councils(
    before: str, cohort: str, councils: Collection[str], missing: MissingByCohort
) -> Iterator[str]:
    for family in FAMILIES.values():
        earlier, now = (
            frozenset(list_geographies(councils, list_missing_councils(missing.get(each, {}), family.name))[0].councils)
            for each in (before, cohort)
        )
        # A cohort whose source nobody sent has no figures to compare.
        if earlier and now and earlier != now:
            parts = (("new", now - earlier), ("gone", earlier - now))
            yield (
                f"all councils together are not the same ones as in {Cohort(before).label} in"
                f" {_format_tables(table.name for table in family.tables)}"
                f" ({'; '.join(f'{word}: {_format_names(others)}' for word, others in parts if others)})."
                f" Their rows are flagged `{schema.BREAK}`."
            )


def _format_names(councils: Iterable[str]) -> str:
    return ", ".join(get_place(council).la_name for council in sorted(councils))
