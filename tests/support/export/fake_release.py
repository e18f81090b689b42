"""Well-formed tables and facts of a release, generated from the definitions with a seed, without data.

Counts are products of one share per attribute and a size per council, so they are as consistent as the figures of a
real release: across tables, categories, shared totals and areas. Some shares are negative.
"""

import hashlib
import json
import math
import zlib
from collections.abc import Mapping, Sequence
from itertools import product
from operator import itemgetter
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ndl_export.bundle import checks, verify
from ndl_export.facts.noisy_counts import COVARIANCE_SCHEMA, NoisyCounts
from ndl_export.facts.on_request import RequestedTable
from ndl_export.facts.release_facts import ReleaseFacts, Thresholds, Version
from ndl_export.tables import FAMILIES, TABLES, Family, Measure, geography
from ndl_export.tables.rows import Children, Layout, list_rows
from ndl_export.tables.schema import (
    BREAK_COLUMN,
    MODEL_WITH_INTERVAL,
    ColumnRole,
    Flag,
    build_arrow_schema,
    count_decimals,
    get_column_name,
)
from privacy.release.statement import compute_inference
from sources.reference.code_lists import GOALS
from sources.reference.places import PILOT

COHORT = "202425"
EARLIER = "202324"
COHORTS = (EARLIER, COHORT)
BUNDLE_FILES = verify.list_bundle_files((COHORT,), PILOT)
"""Names of all files of a bundle of the pilot's councils and one cohort; the same for any cohort."""
PARAMETERS = {
    "pupil": {"rho": 0.185, "epsilon": 3.0, "delta": 1e-6},
    "health": {"rho": 0.03, "epsilon": 1.12, "delta": 1e-6},
    "parents": {"rho": 0.15, "epsilon": 2.67, "delta": 1e-6},
}
CHILD = {"rho": 0.215, "epsilon": 3.26, "delta": 1e-6}
RESPONSE = PARAMETERS["parents"]
JOINT = {"rho": 0.365, "epsilon": 4.39, "delta": 1e-6}


def fake_facts(
    version: str = "2026.11.0",
    councils: tuple[str, ...] = PILOT,
    missing: geography.Missing = MappingProxyType({}),
    earlier: Mapping[str, str] = MappingProxyType({}),
    paid: Mapping[str, str] = MappingProxyType({}),
) -> ReleaseFacts:
    """Return the facts of a release. `missing` applies to each cohort; `earlier` cohorts are added to `COHORT`, each
    with the release that measured it; `paid` has the ledger's entries by family."""
    cohorts = (*earlier, COHORT)
    return ReleaseFacts(
        version=version,
        published_on=f"{Version.parse(version).published_in}-03",
        cohorts=cohorts,
        councils=councils,
        privacy_record=fake_privacy_record(version, councils, earlier, paid),
        privacy_page="# Privacy statement\n\nMade up for a test.\n",
        noisy_counts={cohort: fake_noisy_counts(councils) for cohort in cohorts},
        publisher="A combined authority",
        contact="statistics@example.org",
        address="https://data.example.org/readiness",
        organisation="department-for-science-innovation-and-technology",
        status="These are made up.",
        thresholds=Thresholds(5.0, 15.0, 3.0),
        missing={cohort: {source: tuple(absent) for source, absent in missing.items()} for cohort in cohorts},
        noise_covariance=fake_noise_covariance(cohorts),
    )


def fake_noisy_counts(councils: tuple[str, ...]) -> dict[str, NoisyCounts]:
    counts = {("council",): np.arange(len(councils), dtype=np.int64) - 1}
    return {family: NoisyCounts(_build_plan(family, councils), counts) for family in FAMILIES}


def fake_noise_covariance(cohorts: Sequence[str]) -> pa.Table:
    """Return covariances between all rows of each topic: all different, with positive variances of every sum."""
    table = TABLES["gld_headline"]
    topic, *of_row = (entry.name for entry in table.filters)
    groups: dict[str, list[tuple[str, ...]]] = {}
    for row in list_rows(table, all_together=True):
        level = dict(zip((topic, *of_row), row.levels, strict=True))
        groups.setdefault(level[topic], []).append(tuple(level[name] for name in of_row))
    found = []
    for cohort, (named, levels) in product(cohorts, groups.items()):
        for (i, one), (j, other) in product(enumerate(levels), repeat=2):
            same = (200.0 + i if i == j else 2.0) + 1 / (2 + i + j)
            apart = -0.3 - 0.1 / (1 + i + j)
            gld = (same * 0.4 + 0.01 * i, same * 0.5, apart * 0.4 + 0.001 * j, apart * 0.5)
            found.append((cohort, "", named, *one, *other, same, *gld[:2], apart, *gld[2:]))
    columns = map(list, zip(*found, strict=True))
    return pa.table(dict(zip(COVARIANCE_SCHEMA.names, columns, strict=True)), schema=COVARIANCE_SCHEMA)


def _build_plan(family: str, councils: tuple[str, ...]) -> bytes:
    """Return the part of a plan that a bundle reads: the number of children by council, measured once."""
    attributes = [{"name": "council", "categories": sorted(councils)}]
    measured = [{"attributes": ["council"], "sigma": 8.0}]
    return json.dumps({"family": {"name": family, "attributes": attributes}, "measured": measured}).encode()


def hash_plan(family: str, councils: tuple[str, ...]) -> str:
    return hashlib.sha256(_build_plan(family, councils)).hexdigest()


def fake_privacy_record(
    version: str,
    councils: tuple[str, ...] = PILOT,
    earlier: Mapping[str, str] = MappingProxyType({}),
    paid: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Any]:
    measured = {**earlier, COHORT: version}
    families = [
        {
            "cohort": cohort,
            "family": name,
            "privacy_unit": FAMILIES[name].unit,
            "charged_to": FAMILIES[name].unit,
            "mechanism": "discrete Gaussian",
            "noise_source": "opendp",
            "ledger_entry": paid.get(name, "ab" * 32),
            "plan_sha256": hash_plan(name, councils),
            **parameters,
        }
        for cohort in measured
        for name, parameters in PARAMETERS.items()
    ]
    return {
        "release": version,
        "cohorts": [
            {
                "cohort": cohort,
                "measured_in": origin,
                "privacy_parameters": dict(CHILD),
                "joint_parameters": dict(JOINT),
                "accounts": [
                    {"unit": "child", "privacy_parameters": dict(CHILD)},
                    {"unit": "response", "privacy_parameters": dict(RESPONSE)},
                ],
                "approvals": [],
            }
            for cohort, origin in measured.items()
        ],
        "inference": compute_inference(CHILD["rho"]),
        "neighbouring_relation": "one row added or removed",
        "trust_model": "central model",
        "registry": {"url_slug": f"made-up-{version}", "status": "Draft", "tier": 3},
        "deployment": {"basic": {"name": f"Made up, release {version}"}},
        "privacy_parameters": dict(CHILD),
        "joint_parameters": dict(JOINT),
        "families": families,
    }


def fake_tables(
    councils: tuple[str, ...] = PILOT,
    seed: int = 1,
    missing: geography.Missing = MappingProxyType({}),
    cohorts: tuple[str, ...] = (COHORT,),
    requested: Sequence[RequestedTable] = (),
) -> dict[str, pa.Table]:
    layouts = checks.build_table_layouts(councils, cohorts, dict.fromkeys(cohorts, missing), requested=requested)
    rng = np.random.default_rng(seed)
    sizes = {council: float(rng.integers(900, 9000)) + rng.normal() for council in sorted(councils)}
    shares = {name: _draw_shares(family, seed) for name, family in FAMILIES.items()}
    return {
        name: _draw_table(expected, sizes, shares[expected.table.family], seed) for name, expected in layouts.items()
    }


def _start_stream(seed: int, *names: str) -> np.random.Generator:
    """Return random numbers that stay the same whatever else is defined."""
    return np.random.default_rng([seed, *map(zlib.crc32, map(str.encode, names))])


def _draw_shares(family: Family, seed: int) -> dict[str, dict[str, float]]:
    """Return the share of each category, summing to 1 for each attribute and equal on both sides of shared totals."""
    shares = {}
    for attribute in family.attributes:
        stream = _start_stream(seed, family.name, attribute.name)
        values = stream.dirichlet(np.full(len(attribute.categories), 4.0))
        if attribute.categories[-1] == "Unknown":
            values[0] += values[-1] + 0.001
            values[-1] = -0.001
        shares[attribute.name] = dict(zip(attribute.categories, values.tolist(), strict=True))
    wanted: dict[str, dict[str, float]] = {}
    for shared in family.shared_totals:
        (name, (category,)), (other, others) = shared.left, shared.right
        wanted.setdefault(name, {})[category] = math.fsum(shares[other][each] for each in others)
    for name, fixed in wanted.items():
        scale = (1 - math.fsum(fixed.values())) / (1 - math.fsum(shares[name][each] for each in fixed))
        shares[name] = {each: share * scale for each, share in shares[name].items()} | fixed
    return shares


def _draw_table(
    expected: Layout, sizes: Mapping[str, float], shares: Mapping[str, Mapping[str, float]], seed: int
) -> pa.Table:
    area_sizes = np.array([math.fsum(sizes[council] for council in area.councils) for area in expected.areas])

    def draw_estimates(measure: str) -> NDArray[np.float64]:
        of_row = [
            _compute_share(row.counts[measure], shares) if measure in row.counts else np.nan for row in expected.rows
        ]
        return np.array(of_row)[expected.row_of] * area_sizes[expected.area_of]

    columns: dict[str, pa.Array] = {name: expected.keys[name] for name in expected.keys.column_names}
    columns[BREAK_COLUMN.name] = expected.breaks
    for measure in expected.table.measures:
        applies = expected.find_applying(measure.name)
        absent = ~(applies & expected.available)
        symbols = np.where(applies, Flag.NOT_AVAILABLE.value, Flag.NOT_APPLICABLE.value)
        if measure.is_count:
            columns |= _count_columns(measure, draw_estimates(measure.name), absent, symbols)
        else:
            stream = _start_stream(seed, expected.table.name, measure.name)
            columns |= _build_ratio_columns(measure, absent, symbols, _find_quoted(expected), stream)
    schema = build_arrow_schema(expected.table)
    return pa.table(columns).select(schema.names).cast(schema)


def _compute_share(counted: Children, shares: Mapping[str, Mapping[str, float]]) -> float:
    return math.prod(
        math.fsum(shares[name][each] for each in sorted(categories))
        for name, categories in sorted(counted, key=itemgetter(0))
    )


def _count_columns(
    measure: Measure, estimate: NDArray[np.float64], absent: NDArray[np.bool_], symbols: NDArray[np.str_]
) -> dict[str, pa.Array]:
    shown = np.maximum(np.rint(np.nan_to_num(estimate)), 0).astype(np.int64)
    return {
        get_column_name(measure, ColumnRole.FIGURE): pa.array(shown, mask=absent),
        get_column_name(measure, ColumnRole.ESTIMATE): pa.array(estimate, mask=absent),
        get_column_name(measure, ColumnRole.LOWER): pa.array(np.maximum(estimate - 12.5, 0), mask=absent),
        get_column_name(measure, ColumnRole.UPPER): pa.array(np.maximum(estimate + 12.5, 0), mask=absent),
        get_column_name(measure, ColumnRole.FLAG): _build_flags(np.where(absent, symbols, "")),
    }


_QUOTED_TOPICS = ("Total", "Free school meal eligibility")


def _find_quoted(expected: Layout) -> NDArray[np.bool_]:
    """Return the rows whose figures tests quote: of Leeds and all councils, about most topics, and every total."""
    keys = expected.keys
    topics = keys["breakdown_topic"] if "breakdown_topic" in keys.column_names else keys["area_name"]
    names, topics = (column.to_numpy(zero_copy_only=False).astype(str) for column in (keys["area_name"], topics))
    is_of_area = np.isin(names, ("Leeds", "Pilot councils"))
    return (is_of_area & (np.isin(topics, _QUOTED_TOPICS) | (topics == names))) | (topics == "Total")


def _build_ratio_columns(
    measure: Measure,
    absent: NDArray[np.bool_],
    symbols: NDArray[np.str_],
    quoted: NDArray[np.bool_],
    rng: np.random.Generator,
) -> dict[str, pa.Array]:
    largest = float(measure.kind.most or len(GOALS))
    half_width = rng.exponential(largest * 0.04, len(absent))
    half_width = np.where(quoted, np.minimum(half_width, largest * 0.04), half_width)
    value = rng.uniform(0.0, largest, len(absent))
    missed = (half_width > 0.045 * largest) & (measure.name == "linked_children_percent")
    wide = [half_width > 0.15 * largest, half_width > 0.05 * largest]
    flag = np.select([*wide, missed], ["withheld", "u", "linkage"], "")
    least = float(measure.kind.least)
    lower, upper = np.maximum(value - half_width, least), np.minimum(value + half_width, largest)
    model = dict(zip(MODEL_WITH_INTERVAL, (value, lower, upper), strict=True)) if measure.modelled else {}
    return {get_column_name(measure, role): pa.array(values, mask=absent) for role, values in model.items()} | {
        get_column_name(measure, ColumnRole.FIGURE): pa.array(
            np.where(flag == "u", np.round(value, count_decimals(measure, "u")), np.round(value, measure.decimals)),
            mask=absent | (flag == "withheld"),
        ),
        get_column_name(measure, ColumnRole.LOWER): pa.array(lower, mask=absent),
        get_column_name(measure, ColumnRole.UPPER): pa.array(upper, mask=absent),
        get_column_name(measure, ColumnRole.FLAG): _build_flags(np.where(absent, symbols, flag)),
    }


def _build_flags(symbols: NDArray[np.str_]) -> pa.Array:
    return pa.array(symbols, mask=symbols == "")
