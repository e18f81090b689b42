"""Published releases as they matter to requests: their plans, and figures of a requested table already published."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache, reduce
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets.home.errors import Refused
from assets.home.paths import Home
from assets.release.requests.planning import Known
from assets.release.requests.request import Request
from ndl_export.facts.directory_files import load_withdrawals
from ndl_export.facts.noisy_counts import list_plan_files
from ndl_export.facts.on_request import OnRequest
from ndl_export.facts.released import DATAPACKAGE_FILE, list_versions, read_bundle_facts
from ndl_export.facts.synthetic import PARQUET_FILE, QUALITY_PAGE, SYNTHETIC_FOLDER
from ndl_export.tables import FAMILIES, Table
from ndl_export.tables.definition import TOTAL
from ndl_export.tables.geography import Geography, list_geographies
from ndl_export.tables.model import COUNCIL, RateBlock
from ndl_export.tables.pupil import FAMILY
from ndl_export.tables.rows import Detail, Said, collect_statements
from ndl_export.tables.schema import ColumnRole, Flag, get_column_name
from privacy.release.plan import Plan


@dataclass(frozen=True, eq=False)
class Released:
    """A published release, as its bundle describes it."""

    version: str
    folder: Path
    cohorts: tuple[str, ...]
    on_request: OnRequest

    @property
    def synthetic_children(self) -> Path:
        """Folder of the synthetic children made from it, if any."""
        return self.folder.parent / SYNTHETIC_FOLDER / self.version

    def read_known(self, cohort: str) -> Known:
        names = list_plan_files(self.cohorts)
        base = {f: Plan.from_json((self.folder / names[cohort, f]).read_bytes()) for f in FAMILIES}
        measured = sorted(self.on_request.noisy_counts.items())
        on_request = tuple(Plan.from_json(counts.plan) for of, counts in measured if of.cohort == cohort)
        return Known.read(self.folder, cohort, base, on_request)


@dataclass(frozen=True)
class Published:
    """How many of a requested table's figures at full detail a release publishes, of how many, and in which tables."""

    figures: int
    of: int
    tables: tuple[str, ...]


def find_release(home: Home, requests: Sequence[Request], version: str | None) -> Released:
    """Return that release or the newest not withdrawn that has every requested cohort. Raises `Refused`."""
    wanted = {cohort for request in requests for cohort in request.cohorts}
    withdrawn = load_withdrawals(home.release)
    # an answer adds to a published release, so a withdrawn release cannot take one
    there = [str(each) for each in list_versions(home.release) if str(each) not in withdrawn]
    found = []
    for each in there:
        if version in (None, each):
            bundle = home.release / each
            package, _ = read_bundle_facts(bundle)
            found.append(Released(package["version"], bundle, tuple(package["cohorts"]), OnRequest.read_bundle(bundle)))
    fit = [each for each in found if wanted <= set(each.cohorts)]
    if fit:
        return fit[-1]
    if version and version not in there:
        raise Refused(f"there is no release {version} in {home.release}: {', '.join(there) or 'none was made'}")
    has = "; ".join(f"{each.version} has {', '.join(each.cohorts)}" for each in found) or "there is no release"
    raise Refused(
        f"no release in {home.release} has {'cohort' if len(wanted) == 1 else 'all of the cohorts'}"
        f" {', '.join(sorted(wanted))}: {has}. A table on request is made from a release that is published"
    )


def find_published(request: Request, release: Released, cohort: str, known: Known) -> Published:
    """Return which of its percentages at full detail are already published as requested, and not withheld."""
    councils = known.base[request.family].family.get_attribute(COUNCIL).categories
    areas = list_geographies(councils)[: None if request.geography == "councils" else 1]
    wanted = {
        next(each for each in figures if each[1] is not None)
        for levels, figures in collect_statements(request.table).items()
        if TOTAL not in levels
    }
    plan = known.base[request.family]
    there = {
        table: _list_published_figures(table, plan, areas, _list_withheld_rows(table, release, cohort))
        for table in FAMILIES[request.family].tables
    }
    for other in (each.table for each in release.on_request.tables if each.family == request.family):
        stated = set[Said]().union(*collect_statements(other).values())
        # the first area is that of all councils together
        there[other] = [stated if index == 0 or other.blocks[0].councils else set() for index in range(len(areas))]
    figures = sum(len(wanted & set().union(*(of[index] for of in there.values()))) for index in range(len(areas)))
    tables = tuple(table.name for table, of in there.items() if any(wanted & own for own in of))
    return Published(figures, len(wanted) * len(areas), tables)


def _list_withheld_rows(table: Table, release: Released, cohort: str) -> Collection[tuple[str, ...]]:
    """Return the rows of a published table that withhold a figure: code of the area, and level of each filter."""
    flags = [get_column_name(measure, ColumnRole.FLAG) for measure in table.measures]
    keys = ["area_code", *(each.name for each in table.filters)]
    rows = pq.read_table(release.folder / f"{table.name}.parquet", columns=["time_period", *keys, *flags])
    any_withheld = reduce(pc.or_kleene, (pc.fill_null(pc.equal(rows[flag], Flag.WITHHELD), False) for flag in flags))
    found = rows.filter(pc.and_(pc.equal(rows["time_period"], cohort), any_withheld)).select(keys)
    return set(zip(*(column.to_pylist() for column in found.columns), strict=True))


def _list_published_figures(
    table: Table, plan: Plan, areas: Sequence[Geography], withheld: Collection[tuple[str, ...]]
) -> list[set[Said]]:
    """Return the figures that one of the release's own tables publishes, by area; only counts of withheld rows."""
    detail = Detail.from_document(plan.detail) if plan.detail else None
    return [
        {
            figure
            for levels, figures in collect_statements(table).items()
            if detail is None or detail.is_row_published(table.name, levels, area)
            for figure in figures
            if figure[1] is None or (area.code, *levels) not in withheld
        }
        for area in areas
    ]


Facts = dict[str, Any]


def compute_synthetic_figures(request: Request, cohort: str, folder: Path) -> Facts | None:
    """Return the percentage of each row at full detail from synthetic children, for all councils.

    In a table of counts, a row is a percentage of the row with its last column at the total. Returns None without
    synthetic children, or if they lack an attribute of the table.
    """
    file = folder / PARQUET_FILE
    if request.family != FAMILY.name or not file.is_file():
        return None
    children = pq.read_table(file)
    children = children.filter(pc.equal(children["cohort"], cohort))
    lacking = any(not block.attributes <= {*children.column_names} for block in request.table.blocks)
    if lacking or not children.num_rows:
        return None
    held_out = json.loads((folder / DATAPACKAGE_FILE).read_bytes())["held_out"]
    statement = PurePosixPath(folder.parent.name, folder.name, QUALITY_PAGE)
    return {"statement": str(statement), "held_out": held_out, "rows": _count_rows(request, children)}


def _count_rows(request: Request, children: pa.Table) -> list[Facts]:
    (block,) = request.table.blocks

    @cache
    def is_in(attribute: str, categories: tuple[str, ...] | None) -> Any:
        if categories is None:
            return np.ones(children.num_rows, dtype=bool)
        return np.asarray(pc.is_in(children[attribute], value_set=pa.array(categories)))

    rows = []
    for chosen in product(*(axis.selections for axis in block.axes)):
        if TOTAL in (labels := [level.label for level in chosen]):
            continue
        sides = [is_in(axis.attribute, level.categories) for axis, level in zip(block.axes, chosen, strict=True)]
        whole = part = np.logical_and.reduce(sides)
        if isinstance(block, RateBlock):
            part = whole & is_in(*block.numerator)
        else:
            whole = np.logical_and.reduce([*sides[:-1], np.ones(children.num_rows, dtype=bool)])
        of = int(whole.sum())
        rows.append({"levels": labels, "of": of, "percent": round(100 * int(part.sum()) / of, 2) if of else None})
    return rows
