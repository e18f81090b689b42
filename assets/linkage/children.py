"""Derives the confidential tables: one row per unit, and every column a category of its public domain.

The tables are `children` (family pupil), `reviewed_children` (health) and `responses` (parents). Each derivation is a
fixed rule about the rows of one child; no category, cut-off or order comes from the data. Beside its SQL, a derivation
lists the columns it reads, from which the catalogue shows each column's lineage.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from assets.home.errors import Refused
from assets.pseudonymise.split_writer import build_payload_schema
from ndl_export.tables import FAMILIES, health, model, parents, pupil
from ndl_export.tables.declarations import DECLARATIONS
from privacy.doors.database import open_in_memory
from privacy.doors.sql import quote_identifier, quote_parquet, quote_text
from privacy.linkage.cells import CELLS, JOINS, KIND_OF, NUMBERED
from privacy.release.child_table import UNIT_COLUMN
from sources.contracts import CONTRACTS
from sources.contracts.sources import build_review_concern_sql, build_setting_days_sql
from sources.reference import code_lists
from sources.reference.code_lists import DOMAINS, GLD_GOALS, GOALS, MAJOR_GROUP, TWO_YEAR_REVIEW, load_cut_offs
from sources.reference.cohorts import Cohort

_PUPIL = Path(__file__).with_name("pupil.sql")


def _label_cases_sql(labels: Mapping[str, str], otherwise: str | None = None, column: str = "") -> str:
    """Return SQL for the label of the first condition that holds, or value that the column has."""
    cases = " ".join(f"WHEN {condition} THEN {quote_text(label)}" for condition, label in labels.items())
    return f"CASE {column} {cases}{f' ELSE {quote_text(otherwise)}' if otherwise else ''} END"


def _label_codes_sql(column: str, labels: Mapping[str, str], otherwise: str | None = None) -> str:
    """Return SQL for the label of each code of a column."""
    return _label_cases_sql({quote_text(code): label for code, label in labels.items()}, otherwise, column)


def _build_if_sql(condition: str, then: str, otherwise: str) -> str:
    return _label_cases_sql({condition: then}, otherwise)


def _label_by_number_sql(column: str, words: Sequence[str]) -> str:
    # Lists count from 1 in DuckDB. A child without a number has the first label.
    return f"[{', '.join(map(quote_text, words))}][coalesce({column}, 0) + 1]"


def _label_services_sql(health_visitor: str, setting: str, nobody: str, else_if: Mapping[str, str]) -> str:
    both = f"{health_visitor} AND {setting}"
    somebody = {both: pupil.BOTH, health_visitor: pupil.HV_ONLY, setting: pupil.SETTING_ONLY}
    return _label_cases_sql({**somebody, **else_if}, nobody)


def _fill_unlinked_sql(column: str, otherwise: str) -> str:
    """Return SQL for the linked value, or for the reason why there is none."""
    return f"coalesce({column}, {_build_if_sql('unsearchable', pupil.UNSEARCHABLE, otherwise)})"


def _fill_unknown_sql(column: str) -> str:
    return f"coalesce({column}, {quote_text(model.UNKNOWN)})"


@dataclass(frozen=True)
class Derivation:
    """How a column is derived: SQL over the rows of one unit, and the extract columns it reads, by source."""

    sql: str
    made_of: Mapping[str, tuple[str, ...]]


def _derive(source: str, sql: str, *columns: str) -> Derivation:
    return Derivation(sql, {source: columns})


def _derive_from_any_row(column: str, labels: Mapping[str, str]) -> Derivation:
    """Return the derivation of the label of the first of these codes that any school census row of the child has."""
    cases = {f"bool_or({column} = {quote_text(code)})": label for code, label in labels.items()}
    return _derive("school_census", _label_cases_sql(cases), column)


def _derive_timing(code: str) -> Derivation:
    """Return the timing of a child's review with this code; if a child has several of the kind, the best counts."""
    this = f"review = {quote_text(code)}"
    cases = {f"{this} AND review_on_time = 'Y'": pupil.ON_TIME, f"{this} AND review_on_time = 'N'": pupil.LATE}
    labels = {f"bool_or({each})": label for each, label in (cases | {this: pupil.NO_TIMING}).items()}
    return _derive("hv_reviews", _label_cases_sql(labels), "review", "review_on_time")


_FEMALE, _MALE, _SEX_UNKNOWN = model.SEX.categories
_SEX = _label_codes_sql("sex", {"F": _FEMALE, "M": _MALE}, _SEX_UNKNOWN)
*_QUINTILES, _IMD_UNKNOWN = model.IMD.categories
_IMD = _label_codes_sql("imd_quintile", {str(n): label for n, label in enumerate(_QUINTILES, 1)}, _IMD_UNKNOWN)
_ELIGIBLE, _NOT_ELIGIBLE, _ = model.FSM.categories
_NO_SEN, _SUPPORT, _PLAN, _ = pupil.SEN.categories
_ENGLISH, _OTHER_LANGUAGE, _ = pupil.LANGUAGE.categories
_LANGUAGE = _build_if_sql("first_language = 'ENG'", _ENGLISH, _OTHER_LANGUAGE)
_OF_CENSUS = {
    "fsm": _derive_from_any_row("fsm_eligible", {"Y": _ELIGIBLE, "N": _NOT_ELIGIBLE}),
    "ethnic_group": _derive(
        "school_census",
        _label_codes_sql(
            "last(ethnicity ORDER BY council DESC, hash(ethnicity)) FILTER (ethnicity IS NOT NULL)", MAJOR_GROUP
        ),
        "ethnicity",
    ),
    "sen_provision": _derive_from_any_row("sen_provision", {"E": _PLAN, "K": _SUPPORT, "N": _NO_SEN}),
    "first_language": _derive(
        "school_census",
        f"last({_LANGUAGE} ORDER BY council DESC, hash(first_language)) FILTER (first_language IS NOT NULL)",
        "first_language",
    ),
}
_OF_CENSUS |= {
    name: _derive(
        "school_census",
        _label_codes_sql(
            f"last({each.column} ORDER BY council DESC, hash({each.column})) FILTER ({each.column} IS NOT NULL)",
            each.codes,
        ),
        each.column,
    )
    for name, each in DECLARATIONS.files["pupil"].attributes.items()
    if each.source == "school_census"
}
"""Columns of the school census by child. A child is eligible if any row says so, and has the highest SEN provision in
any row. For ethnicity and language, the first council with a value counts; if it has several values, the one with the
highest hash is used, which favours none."""
_TAKEN, _NOT_TAKEN = pupil.ENTITLEMENT.categories[:2]
_OF_SETTINGS = {
    "entitlement": _derive(
        "early_years_census", _build_if_sql("bool_or(entitlement = '2YO')", _TAKEN, _NOT_TAKEN), "entitlement"
    ),
    "concern": _derive(
        "early_years_census",
        f"bool_or({CONTRACTS['early_years_census'].concern})",
        *("progress_check_outcome", "sen_provision"),
    ),
}
_TIMINGS = {attribute.name: _derive_timing(code) for code, attribute in pupil.REVIEWS.items()}

_OF_A_REVIEW = ("review", "review_date", "asq3_months")
"""Columns that decide which review counts and which cut-offs apply to it."""
_ALL_ABOVE, _ONE_BELOW, _TWO_BELOW, _NOT_SCORED = pupil.LINKED
_BY_NUMBER_BELOW = {"below >= 2": _TWO_BELOW, "below = 1": _ONE_BELOW, f"scored = {len(DOMAINS)}": _ALL_ABOVE}
_ASQ3 = _label_cases_sql(_BY_NUMBER_BELOW, _NOT_SCORED)
_MADE_OF_ASQ3 = (*_OF_A_REVIEW, *DOMAINS)
_MADE_OF_CONCERNS = {
    "hv_reviews": ("review_date", "asq3_months", *DOMAINS, "concern", "referral"),
    "early_years_census": ("progress_check_date", "progress_check_outcome", "sen_provision"),
}
_GOALS_EXPECTED = " + ".join(f"({goal} IS NOT DISTINCT FROM '2')::INTEGER" for goal in GOALS)
_SEEN = _label_services_sql("seen_by_hv", "seen_by_setting", pupil.NEITHER, {"unsearchable": pupil.UNSEARCHABLE})
_CONCERN = _label_services_sql("hv_concern", "setting_concern", pupil.NONE, {})
_ANSWERED = {
    "child_age_band": code_lists.CHILD_AGE_BAND,
    "fsm_or_funded": code_lists.FSM_OR_FUNDED,
    **{name: each.answers for name, each in (code_lists.WHO_ANSWERED | code_lists.QUESTIONS).items()},
}

_DERIVATIONS: dict[str, dict[str, Derivation]] = {
    "pupil": {
        **{
            goal: _derive("eyfsp", _build_if_sql(f"{goal} = '2'", pupil.EXPECTED, pupil.NOT_EXPECTED), goal)
            for goal in GOALS
        },
        "sex": _derive("eyfsp", _SEX, "sex"),
        **{name: Derivation(_fill_unknown_sql(name), each.made_of) for name, each in _OF_CENSUS.items()},
        "term_of_birth": _derive("eyfsp", _fill_unknown_sql("term_of_birth"), "term_of_birth"),
        "imd_quintile": _derive("eyfsp", _IMD, "imd_quintile"),
        "gld": _derive("eyfsp", _build_if_sql(" AND ".join(f"{g} = '2'" for g in GLD_GOALS), "Yes", "No"), *GLD_GOALS),
        "goals_expected": _derive(
            "eyfsp",
            _label_cases_sql({f"({_GOALS_EXPECTED}) <= {max(n)}": band for band, n in pupil.GOAL_BANDS.items()}),
            *GOALS,
        ),
        "asq3": _derive("hv_reviews", _fill_unlinked_sql("asq3", pupil.NO_REVIEW), *_MADE_OF_ASQ3),
        "entitlement": _derive(
            "early_years_census", _fill_unlinked_sql("entitlement", pupil.NOT_LINKED_TO_SETTING), "entitlement"
        ),
        "dots": Derivation(
            f"format({quote_text(pupil.format_dots_category('{}', '{}'))}, {_SEEN}, {_CONCERN})",
            {"hv_reviews": (*_MADE_OF_ASQ3, "concern", "referral"), **_OF_SETTINGS["concern"].made_of},
        ),
        "first_concern": Derivation(_fill_unlinked_sql("first_concern", pupil.NO_CONCERN), _MADE_OF_CONCERNS),
        **{
            name: Derivation(_fill_unlinked_sql(name, pupil.NO_REVIEW), each.made_of) for name, each in _TIMINGS.items()
        },
        "linkage_agreement": Derivation(_label_by_number_sql("cell", CELLS), {}),
        "linkage_differences": Derivation(_label_by_number_sql("cell", KIND_OF), {}),
        "census_join": Derivation(_label_by_number_sql("joined", JOINS), {}),
        "shared_nhs_number": Derivation(_label_by_number_sql("numbered", NUMBERED), {}),
    },
    "health": {
        "sex": _derive("hv_reviews", _SEX, "sex"),
        "imd_quintile": _derive("hv_reviews", _IMD, "imd_quintile"),
        **{name: _derive("hv_reviews", f"{name}_outcome", *_OF_A_REVIEW, name) for name in DOMAINS},
        health.ALL_FIVE: _derive("hv_reviews", f"{health.ALL_FIVE}_outcome", *_MADE_OF_ASQ3),
    },
    "parents": {
        name: _derive("parent_experience", _label_codes_sql(name, answers, parents.NOT_ANSWERED), name)
        for name, answers in _ANSWERED.items()
    },
}


def _derive_declared(family: str) -> dict[str, Derivation]:
    """Return the derivations of attributes that a family's file declares as codes of its own source."""
    return {
        name: _derive(each.source, _label_codes_sql(each.column, each.codes, model.UNKNOWN), each.column)
        for name, each in DECLARATIONS.files[family].attributes.items()
        if each.source == FAMILIES[family].source
    }


def get_derivations(family: str) -> dict[str, Derivation]:
    """Return the derivation of each attribute of a family, in its order. Raises `Refused` if one is missing."""
    defined = _DERIVATIONS[family] | _derive_declared(family)
    attributes = [attribute.name for attribute in FAMILIES[family].attributes]
    if strangers := [name for name in attributes if name not in defined]:
        raise Refused(
            f"{', '.join(strangers)} of family {family}: no derivation in assets/linkage/children.py, and no codes of"
            f" its source in ndl_export/tables/{family}.yaml"
        )
    return {name: defined[name] for name in attributes}


def build_confidential_tables(
    cohort: Cohort, links: Path, agreement: Path, extracts: Mapping[str, list[Path]], out: Mapping[str, Path]
) -> None:
    """Write a cohort's confidential table of each family in `out` (family -> Parquet file), sorted by council and key.

    `agreement` holds how well each child's records agree (`RecordAgreement.count_children`).
    `extracts` maps each source to its pseudonymised files. Children without an EYFS Profile are left out of the pupil
    table. Duplicate rows of a child are resolved here, immediately before counting, so that each child counts once.
    """
    con = open_in_memory()
    for name, path in (("links", links), ("agreement", agreement)):
        con.execute(f"CREATE VIEW {name} AS FROM {quote_parquet(path)}")
    for source, paths in extracts.items():
        _create_view(con, source, paths)
    con.execute("CREATE TEMP TABLE profiles AS FROM eyfsp")
    con.execute(f"CREATE TEMP TABLE reviewed AS {_score_reviews_sql()}")
    con.execute(f"CREATE TEMP TABLE reviews AS {_select_reviews_sql()}")
    con.execute(f"CREATE TEMP TABLE settings AS {_group_by_child_sql('early_years_census', _OF_SETTINGS)}")
    con.execute(f"CREATE TEMP TABLE concerns AS {_find_first_concerns_sql(cohort)}")
    con.execute(f"CREATE TEMP TABLE timings AS {_group_by_child_sql('hv_reviews', _TIMINGS)}")
    con.execute(f"CREATE TEMP TABLE census AS {_group_by_child_sql('school_census', _OF_CENSUS)}")
    # Code A is "not assessed": such a Profile counts only if the child has no other.
    counted = _select_one_per_child_sql("profiles", f"(com_e01 = 'A'), council, {_hash_content_sql('eyfsp')}")
    units = {
        "pupil": _PUPIL.read_text(encoding="utf-8").replace("PROFILES", counted),
        "health": f"SELECT * EXCLUDE ({', '.join(DOMAINS)}) FROM reviews",
        # Responses are never linked to children, so each row is a unit.
        "parents": "SELECT concat_ws('-', council, row_key) AS child_id, * FROM parent_experience",
    }
    for family, path in out.items():
        # DuckDB sorts and writes the small numbers of an ENUM faster than text. A value outside its public domain
        # becomes NULL, for `check_table`.
        domains = {each.name: ", ".join(map(quote_text, each.categories)) for each in FAMILIES[family].attributes}
        columns = ", ".join(
            f"TRY_CAST({each.sql} AS ENUM ({domains[name]})) AS {name}"
            for name, each in get_derivations(family).items()
        )
        con.execute(
            f"COPY (SELECT child_id, council, {columns} FROM ({units[family]}) ORDER BY council, row_key)"
            f" TO {quote_text(path)} (FORMAT parquet, COMPRESSION zstd)"
        )


def _create_view(con: duckdb.DuckDBPyConnection, source: str, paths: list[Path]) -> None:
    """Create the view of a source's rows with the child of each; it is empty if nothing was sent."""
    if paths:
        # DuckDB would make columns from folder names such as `cohort=202425`.
        rows = f"SELECT * FROM {quote_parquet(paths, hive_partitioning=False)}"
    else:
        con.register(f"no_{source}", build_payload_schema(CONTRACTS[source]).empty_table())
        rows = f"SELECT '' AS council, * FROM no_{source}"
    linked = (
        f"SELECT rows.*, links.child_id FROM ({rows}) AS rows"
        f" JOIN links ON links.source = {quote_text(source)} AND links.council = rows.council"
        " AND links.row_key = rows.row_key"
    )
    con.execute(f"CREATE VIEW {source} AS {rows if source == 'parent_experience' else linked}")


def _hash_content_sql(source: str) -> str:
    """Return SQL that orders rows by a hash of their content, independent of their position or key."""
    return f"hash({', '.join(build_payload_schema(CONTRACTS[source]).names[1:])})"


def _select_one_per_child_sql(rows: str, order: str) -> str:
    """Return SQL for the first row of each child in the given order, with a fixed result for equal rows."""
    # Few children have several rows, so only these are sorted.
    return f"""
        FROM {rows} ANTI JOIN (
            SELECT council, row_key FROM {rows}
             WHERE child_id IN (SELECT child_id FROM {rows} GROUP BY child_id HAVING count(*) > 1)
           QUALIFY row_number() OVER (PARTITION BY child_id ORDER BY {order}, row_key) > 1) USING (council, row_key)
    """


def _group_by_child_sql(source: str, columns: Mapping[str, Derivation]) -> str:
    selected = ", ".join(f"{each.sql} AS {name}" for name, each in columns.items())
    return f"SELECT child_id, {selected} FROM {source} GROUP BY child_id"


def _label_outcome_sql(domain: str) -> str:
    by_age = {
        f"asq3_months = {quote_text(months)} AND {domain} {compared} {cut_off}": outcome
        for (column, months), cut_off in load_cut_offs().items()
        for compared, outcome in (("<", health.BELOW), (">=", health.AT_OR_ABOVE))
        if column == domain
    }
    return _label_cases_sql(by_age, health.NO_SCORE)


def _score_reviews_sql() -> str:
    """Return SQL for every two-year review with its outcomes, whether it has a concern, and a hash of its content."""
    outcomes = ", ".join(f"{_label_outcome_sql(domain)} AS {domain}_outcome" for domain in DOMAINS)
    below = " + ".join(f"({domain}_outcome = {quote_text(health.BELOW)})::INTEGER" for domain in DOMAINS)
    scored = " + ".join(f"({domain}_outcome <> {quote_text(health.NO_SCORE)})::INTEGER" for domain in DOMAINS)
    return f"""
        WITH outcomes AS (
            SELECT *, {outcomes} FROM hv_reviews WHERE review = {quote_text(TWO_YEAR_REVIEW)}
        ), counted AS (
            SELECT *, {below} AS below, {scored} AS scored FROM outcomes
        )
        SELECT * EXCLUDE (concern), {build_review_concern_sql("below > 0")} AS concern,
               {_hash_content_sql("hv_reviews")} AS content
          FROM counted
    """


def _select_reviews_sql() -> str:
    """Return SQL for one review per child: the latest with a complete ASQ-3, otherwise the latest."""
    # The hash decides between reviews of one month, so that their position in the file does not.
    order = f"(scored = {len(DOMAINS)}) DESC, review_date DESC NULLS LAST, council, content"
    all_five = _label_cases_sql(
        {"below >= 1": health.BELOW, f"scored = {len(DOMAINS)}": health.AT_OR_ABOVE}, health.NO_SCORE
    )
    return f"""
        SELECT * EXCLUDE (concern, any_concern), coalesce(any_concern, concern) AS concern,
               {_ASQ3} AS asq3, {all_five} AS {health.ALL_FIVE}_outcome
          FROM ({_select_one_per_child_sql("reviewed", order)})
          LEFT JOIN (SELECT child_id, bool_or(concern) AS any_concern FROM reviewed
                      GROUP BY child_id HAVING count(*) > 1) USING (child_id)
    """


def _find_first_concerns_sql(cohort: Cohort) -> str:
    """Return SQL for the children about whom a service recorded a concern, with the category of `first_concern`."""
    seen, concerned = build_setting_days_sql(cohort)
    reception = f"{quote_text(str(cohort.reception_begins))}::DATE"
    months = f"datediff('month', first, {reception})"
    when = {f"{months} >= {least}": label for label, least in pupil.YEARS_BEFORE.items()}
    when["true"] = [*pupil.YEARS_BEFORE][-1]  # recorded after Reception began, which few services do
    knew = {"other_seen <= first": pupil.BY_THEN, "other_linked": pupil.LATER}
    by = _build_if_sql("by_hv", pupil.BY_HV, pupil.BY_SETTING)
    labels = by, _label_cases_sql(when), _label_cases_sql(knew, pupil.NEVER)
    category = f"format({quote_text(pupil.format_concern_category('{}', '{}', '{}'))}, {', '.join(labels)})"
    return f"""
        WITH records AS (
            SELECT child_id, true AS hv, review_date AS seen, {CONTRACTS["hv_reviews"].concern} AS concern,
                   review_date AS concerned
              FROM hv_reviews
            UNION ALL
            SELECT child_id, false, {seen}, {CONTRACTS["early_years_census"].concern}, {concerned}
              FROM early_years_census
        ), children AS (
            SELECT child_id, min(concerned) FILTER (concern) AS first,
                   coalesce(min(concerned) FILTER (concern AND hv) = first, false) AS by_hv,
                   CASE WHEN by_hv THEN min(seen) FILTER (NOT hv) ELSE min(seen) FILTER (hv) END AS other_seen,
                   CASE WHEN by_hv THEN bool_or(NOT hv) ELSE bool_or(hv) END AS other_linked
              FROM records GROUP BY child_id HAVING bool_or(concern)
        )
        SELECT child_id, CASE WHEN first IS NULL THEN {quote_text(pupil.UNDATED)}
                              ELSE {category} END AS first_concern
          FROM children
    """


def check_table(path: Path, family: str) -> dict[str, int]:
    """Count rows of a family's table with a value missing or outside its domain, and repeated units: both must be 0."""
    outside = " OR ".join(
        # NULL NOT IN is NULL, and a missing value is outside the domain too.
        f"coalesce({quote_identifier(each.name)} NOT IN ({', '.join(map(quote_text, each.categories))}), true)"
        for each in FAMILIES[family].attributes
    )
    sql = f"SELECT count(*) FILTER ({outside}), count(*) - count(DISTINCT {UNIT_COLUMN}) FROM {quote_parquet(path)}"
    with open_in_memory() as con:
        (counts,) = con.execute(sql).fetchall()
    return dict(zip(("rows_outside_their_domain", "units_twice"), counts, strict=True))
