"""Counts children linked to both services by how well their records agree, to estimate how many links were missed.

A link is missed when two records differ by more than the model tolerates, usually in two fields at once. Such a child
cannot be observed. But children whose records differ in only one field are nearly always linked, and their three
records show which one is wrong. Every child linked to both services falls into one cell of `cells.CELLS`. From the
counts, `missed` estimates how often several fields differ at once. Counts are published only through the noise plan.
"""

import re
from collections.abc import Iterable

import duckdb
import numpy as np
import pyarrow as pa

from privacy.doors.database import open_in_memory
from privacy.linkage import cells, model
from privacy.linkage.blocks import FREE_BITS
from privacy.linkage.link import STEPS, THRESHOLD, Scored
from privacy.linkage.rows import EVIDENCE, ROW, SAME_RECORD, select_first_rows_sql

NEAR_BITS = 9.0
"""A difference that costs a pair at most this many bits is "near"."""
FAR_BITS = 18.0
"""If both names differ, a cost above this many bits is "far" and one between the two limits is "middle"."""
_AGREES = {
    "date_of_birth": ("same",),
    "postcode": ("same", "same, of a crowd"),
    "surname": ("exact", "same, one family", "alike, one household"),
    "forename": ("exact", "another form"),
}
"""Prefixes of the levels at which a field agrees."""
NEAR_WEIGHT = -9.0
"""Least weight in bits of a pair whose records are near. Down to it, about half of the pairs of a pupil and a record
without a pupil are one child; a link needs -3.5 or more."""
COMPARED_COLUMN = re.compile(r"\b\w+_[lr]\b")
_SAME_BITS = {"date_of_birth": 8.2, "postcode": 12.4, "surname": 10.2, "forename": 8.2}
"""Weight in bits of a field that agrees (for names, the average over all children). The cost of a difference is
counted from here."""


class RecordAgreement:
    """A watcher of `link`; `count_children` returns each child's cell and whether the child could be searched for."""

    _settings: pa.Table

    def __init__(self) -> None:
        self._found: pa.Table | None = None

    def __call__(self, con: duckdb.DuckDBPyConnection, step: Scored) -> None:
        if step.name == STEPS[1][0]:
            self._settings = con.sql(_LINKED_PATTERNS).to_arrow_table()
        if step.name == STEPS[2][0]:
            reviews = con.sql(_LINKED_PATTERNS).to_arrow_table()
            unit, cell = _compute_cells(self._settings, reviews, step.children)
            con.register("cells", pa.table({"unit": unit, "cell": cell}))
            con.execute(f"CREATE TEMP TABLE near AS {_select_near_sql(step.children)}").fetchall()
            con.execute(f"CREATE TEMP TABLE known_by_number AS {_select_numbered_sql(step.children)}").fetchall()
            self._found = con.sql(_FOUND).to_arrow_table()
            con.unregister("cells")
            for table in ("near", "known_by_number"):
                con.execute(f"DROP TABLE {table}").fetchall()

    def count_children(self, links: pa.Table) -> pa.Table:
        """Return child_id, cell (index into `CELLS`), too_little, joined (into `JOINS`), numbered (into `NUMBERED`).

        `too_little`: no record of the child holds enough to be searched for, and no identifier linked another service's
        record to it. `joined`: how the child's Profile was joined to the school census. `numbered`: which
        records share an NHS number. Children at index 0 of all lists are left out unless their pupils' records hold too
        little. `links` must come from the linkage that was watched. Raises ValueError if no linkage was watched.
        """
        if self._found is None:
            raise ValueError("no linkage was watched")
        with open_in_memory() as con:
            con.register("found", self._found)
            con.register("links", links)
            return con.sql(_CHILDREN).to_arrow_table()


_LINKED_PATTERNS = "SELECT unit_l, of_setting, pattern FROM sides JOIN decided USING (unit_l, unit_r) WHERE kept"
"""SQL: the links of a step; `of_setting`: the left record is a setting's."""
_TOO_LITTLE = f"""
SELECT unit FROM units JOIN patterns USING (pattern) LEFT JOIN (
    SELECT pattern FROM shapes JOIN copies USING (shape) WHERE NOT alike OR weight < {model.convert_to_bits(THRESHOLD)}
) AS little USING (pattern)
 GROUP BY unit HAVING bool_and(service = 'education' AND little.pattern IS NOT NULL)
"""
"""SQL: pupils' units in which no record would be linked to an exact copy of itself."""
_JOINED = f"""
WITH education_rows AS (
    SELECT DISTINCT unit, source, patterns.* FROM units JOIN rows USING (pattern) JOIN patterns USING (pattern)
     WHERE source IN ('eyfsp', 'school_census')
)
SELECT unit, CASE WHEN NOT bool_or(coalesce(a.t_upn = b.t_upn, false)) THEN {cells.JOINS.index(cells.WITHOUT_UPN)}
                  WHEN bool_or(coalesce(a.t_upn = b.t_upn AND {SAME_RECORD}, false))
                  THEN {cells.JOINS.index(cells.ONE_UPN_SAME)}
                  ELSE {cells.JOINS.index(cells.ONE_UPN_DIFFERS)} END AS joined
  FROM education_rows AS a JOIN education_rows AS b USING (unit)
 WHERE a.source = 'eyfsp' AND b.source = 'school_census' GROUP BY unit
"""
"""SQL: units that hold both a Profile row and a school census row."""
_FOUND = f"""
WITH known AS (
    SELECT unit, cell, false AS too_little, 0 AS joined, 0 AS numbered FROM cells
     UNION ALL SELECT unit, cell, false, 0, 0 FROM near
     UNION ALL SELECT unit, 0, true, 0, 0 FROM ({_TOO_LITTLE})
     UNION ALL SELECT unit, 0, false, joined, 0 FROM ({_JOINED})
     UNION ALL SELECT unit, 0, false, 0, numbered FROM known_by_number
)
FROM known JOIN ({select_first_rows_sql("unit IN (SELECT unit FROM known)")}) USING (unit)
"""
"""SQL: the cell, too_little, joined and numbered of each unit, with its first row."""
_CHILDREN = f"""
WITH of_pupils AS (
    SELECT child_id FROM links GROUP BY child_id HAVING bool_and(source IN ('eyfsp', 'school_census'))
)
SELECT child_id, max(cell)::UTINYINT AS cell, bool_or(too_little) AND child_id IN (FROM of_pupils) AS too_little,
       max(joined)::UTINYINT AS joined, max(numbered)::UTINYINT AS numbered
  FROM found JOIN links USING ({", ".join(ROW)}) GROUP BY child_id ORDER BY child_id
"""


_MERGED = """
    merged AS (
        SELECT pattern, coalesce(unit_l, unit) AS unit
          FROM units LEFT JOIN (SELECT unit_l, unit_r FROM decided WHERE kept) ON unit = unit_r
    )"""
"""SQL: the units after a step after which nothing is merged, as a common table (pattern, unit)."""


def _build_weight_sql(children: int, comparisons: Iterable[str]) -> tuple[str, str]:
    """Return SQL for the columns of the patterns l and r that these comparisons need, and for the weight of a pair."""
    weights, names = [str(model.convert_to_bits(model.compute_prior(children)))], set[str]()
    for name, level in zip(model.LEVELS, model.list_level_sql(model.build_splink_settings(children)), strict=True):
        if name in comparisons:
            # In the order of the levels' SQL: nothing to compare, then from the strongest to the weakest.
            bits = [0.0, *reversed([*model.list_weights(name, children).values()][:-1])]
            weights.append(f"{bits}[coalesce({level}, {len(bits) - 1}) + 1]")
            names |= set(COMPARED_COLUMN.findall(level))
    return ", ".join(f"{name[-1]}.{name[:-2]} AS {name}" for name in sorted(names)), " + ".join(weights)


def build_weighed_sql(children: int) -> str:
    """Return SQL: common tables of a step after which nothing is merged, for pupils and records without a pupil.

    `merged` (pattern, unit) are the units after the step, `known` (unit, pupil, setting, review) whose records each
    has, and `weighed` (unit_l, unit_r, weight) the pairs of a pupil and a unit without a pupil that share a token.
    """
    columns, weight = _build_weight_sql(children, model.LEVELS)
    return f"""
    {_MERGED}, known AS (
        SELECT unit, bool_or(source = 'eyfsp') AS pupil, bool_or(source = 'early_years_census') AS setting,
               bool_or(source = 'hv_reviews') AS review
          FROM rows JOIN merged USING (pattern) GROUP BY unit
    ), tokens AS (
        UNPIVOT (SELECT pattern, unit, pupil, {", ".join(EVIDENCE)}
                   FROM patterns JOIN merged USING (pattern) JOIN known USING (unit) WHERE pupil OR setting OR review)
        ON {", ".join(EVIDENCE)} INTO NAME kind VALUE token
    ), pairs AS (
        SELECT DISTINCT l.pattern AS pattern_l, r.pattern AS pattern_r, l.unit AS unit_l, r.unit AS unit_r
          FROM tokens l JOIN tokens r USING (kind, token) WHERE l.pupil AND NOT r.pupil
    ), weighed AS (
        SELECT unit_l, unit_r, {weight} AS weight
          FROM (SELECT unit_l, unit_r, {columns} FROM pairs
                  JOIN patterns l ON l.pattern = pattern_l JOIN patterns r ON r.pattern = pattern_r)
    )"""


def _select_numbered_sql(children: int) -> str:
    """Return SQL: the units in which services share an NHS number, with `numbered` (index into `NUMBERED`).

    A record is alike if it would be linked to a record of any other service in its unit without NHS numbers.
    """
    columns, weight = _build_weight_sql(children, [name for name in model.LEVELS if name != "nhs_number"])
    with_review, with_setting, with_both, of_services = range(1, len(cells.NUMBERED), 2)
    return f"""
    WITH {_MERGED}, of_units AS (SELECT unit, pattern, service, t_nhs FROM patterns JOIN merged USING (pattern)),
    pairs AS (
        SELECT unit, l.pattern AS pattern_l, r.pattern AS pattern_r, coalesce(l.t_nhs = r.t_nhs, false) AS one_number,
               {_build_any_of_sql("education")} AS of_pupil, {_build_any_of_sql("health")} AS of_review,
               {_build_any_of_sql("settings")} AS of_setting
          FROM of_units l JOIN of_units r USING (unit) WHERE l.service < r.service
         QUALIFY bool_or(one_number) OVER (PARTITION BY unit)
    ), compared AS (
        SELECT * EXCLUDE (pattern_l, pattern_r), {weight} + {FREE_BITS} >= 0 AS alike
          FROM (SELECT pairs.*, {columns} FROM pairs
                  JOIN patterns l ON l.pattern = pattern_l JOIN patterns r ON r.pattern = pattern_r)
    )
    SELECT unit, bool_or(one_number AND of_pupil AND of_review) AS review,
           bool_or(one_number AND of_pupil AND of_setting) AS setting,
           (review OR NOT setting) AND NOT bool_or(alike AND of_review)
           OR setting AND NOT bool_or(alike AND of_setting) AS unlike,
           CASE WHEN review AND setting THEN {with_both} WHEN setting THEN {with_setting}
                WHEN review THEN {with_review} ELSE {of_services} END + unlike::INTEGER AS numbered
      FROM compared GROUP BY unit
    """


def _build_any_of_sql(service: str) -> str:
    return f"'{service}' IN (l.service, r.service)"


def _select_near_sql(children: int) -> str:
    """Return SQL: the cells (unit, cell) of pupils not linked to both services, or with a further record near."""
    neither, setting_only, review_only = (cells.CELLS.index(cell) for cell in cells.NOT_LINKED)
    near_both, near_review, near_setting, review_alone, setting_alone = (cells.CELLS.index(cell) for cell in cells.NEAR)
    by_chance_both, by_chance_review, by_chance_setting = (cells.CELLS.index(cell) for cell in cells.NEAR_BY_CHANCE)
    return f"""
    WITH {build_weighed_sql(children)}, found AS (
        SELECT unit_l AS unit, bool_or(r.setting) AS s, bool_or(r.review) AS r
          FROM weighed JOIN known r ON r.unit = unit_r WHERE weight >= {NEAR_WEIGHT} GROUP BY unit_l
    )
    SELECT unit, CASE WHEN setting AND review THEN
                      CASE WHEN s AND r THEN {by_chance_both} WHEN r THEN {by_chance_review}
                           WHEN s THEN {by_chance_setting} END
                      WHEN setting THEN if(coalesce(r, false), {near_review}, {setting_only})
                      WHEN review THEN if(coalesce(s, false), {near_setting}, {review_only})
                      WHEN s AND r THEN {near_both} WHEN r THEN {review_alone} WHEN s THEN {setting_alone}
                      ELSE {neither} END AS cell
      FROM known LEFT JOIN found USING (unit) WHERE pupil AND cell IS NOT NULL
    """


def _compute_cells(settings: pa.Table, reviews: pa.Table, children: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the units linked to both services and the cell of each."""
    of_setting = reviews["of_setting"].to_numpy()
    # In the order of `PAIRS`.
    sides = [
        _extract_levels(reviews.filter(pa.array(~of_setting))),
        _extract_levels(settings),
        _extract_levels(reviews.filter(pa.array(of_setting))),
    ]
    both = np.intersect1d(sides[1][0], reviews["unit_l"].to_numpy())
    seen = [np.isin(both, unit) for unit, _ in sides]
    levels = np.full((len(both), len(cells.PAIRS), len(model.LEVELS)), -1)
    for pair, (unit, of_pair) in enumerate(sides):
        levels[seen[pair], pair] = of_pair[np.searchsorted(unit, both[seen[pair]])]
    # A pair without a pattern was too light for its pattern to be kept: several fields differ.
    return both, np.where(np.all(seen, axis=0), _classify_cells(levels, children), cells.CELLS.index(cells.SEVERAL))


def _extract_levels(links: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Return the units, sorted and unique, and the level of each model comparison (units, comparisons)."""
    levels = links["pattern"].combine_chunks().flatten().to_numpy().reshape(-1, len(model.LEVELS))
    unit, first = np.unique(links["unit_l"].to_numpy(), return_index=True)
    return unit, levels[first]


def _classify_cells(levels: np.ndarray, children: int) -> np.ndarray:
    """Return each child's cell from the level of each comparison for each pair (children, PAIRS, comparisons)."""
    place = {name: number for number, name in enumerate(model.LEVELS)}
    bits, differs = np.zeros(levels.shape), np.ones((*levels.shape[:2], len(cells.COMPARED)), bool)
    for name, number in place.items():
        weights = model.list_weights(name, children)
        # The figures were measured with weights of two decimals.
        bits[:, :, number] = np.round([*weights.values()], 2).astype(np.float32)[levels[:, :, number]]
        if name in cells.COMPARED:
            agrees = np.array([level is not None and level.startswith(_AGREES[name]) for level in weights])
            differs[:, :, cells.COMPARED.index(name)] = ~agrees[levels[:, :, number]]
    numbered = bits[:, 0, place["nhs_number"]] > 0
    differs &= ~(numbered[:, None] & np.all(differs == _OF_REVIEW, axis=1))[:, None, :]
    fields = np.any(differs, axis=1)
    weight = bits.sum(axis=2) - bits[:, :, place["nhs_number"]] + model.convert_to_bits(model.compute_prior(children))
    # A review linked by NHS number was not chosen by its weight, so only the other pair shows how much agreement
    # weighs.
    mean = np.where(numbered, weight[:, cells.PAIRS.index("pupil and setting")], weight.mean(axis=1))
    step = np.clip((mean - cells.LEAST_WEIGHT) // cells.WEIGHT_STEP, 0, cells.WEIGHTS - 1).astype(np.int64)
    cell = np.where(
        np.any(fields, axis=1), cells.CELLS.index(cells.SEVERAL), cells.CELLS.index(cells.ALL_AGREE[0]) + step
    )
    of_field = bits[:, :, [place[field] for field in cells.COMPARED]]
    lost = (np.array([_SAME_BITS[field] for field in cells.COMPARED]) - of_field) * differs
    for each in cells.ONE_DIFFERS:
        fields_here = ("surname", "forename") if each.field == cells.NAMES else (each.field,)
        shown = (np.array(cells.DIFFERS[each.record])[:, None] & np.isin(cells.COMPARED, fields_here))[None]
        mean, sizes = lost.sum(axis=(1, 2)) / np.sum(cells.DIFFERS[each.record]), np.array(cells.SIZES[each.field])
        size = sizes[np.searchsorted((NEAR_BITS, FAR_BITS)[: len(sizes) - 1], mean)]
        cell[np.all(differs == shown, axis=(1, 2)) & (size == each.size)] = cells.CELLS.index(str(each))
    return cell


_OF_REVIEW = np.array(cells.DIFFERS["the health visitor's record"])[:, None]
"""Differences in the review's record alone. They are ignored if the review was linked by NHS number, because such a
review is found whatever else it says."""
