"""The noisy counts behind every figure, as they were drawn, with the noise plan used.

`noise_plan_<family>.json` is the plan, byte for byte the document whose hash is in the ledger; a release of several
cohorts has one for each, `noise_plan_<family>_<cohort>.json`. `noisy_counts.parquet` has one row for each measured
cell. Anyone can recompute every table from these files; `methodology.md` explains how.

Figures of a release are made from the same noisy counts, so the interval of a sum needs the covariances of their noise.
`noise_covariance.parquet` has those of the two counts in `gld_headline` between all rows of one breakdown topic. They
depend on the noise plan alone and are the same for every council of a region, so a few numbers give the whole matrix:

    Cov(row i of council a, row j of council b) = same_...[i, j] if a is b,
                                                  apart_...[i, j] for two councils of a region, else 0
"""

import hashlib
import json
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ndl_export.files.whole_files import format_parquet
from ndl_export.tables import FAMILIES
from privacy.doors.shipped import read_yaml

NOISY_COUNTS_FILE = "noisy_counts.parquet"


def list_plan_files(cohorts: Collection[str]) -> dict[tuple[str, str], str]:
    """Return the file names of a release's plans, by cohort and family."""
    return {
        (cohort, family): f"noise_plan_{family}_{cohort}.json" if len(cohorts) > 1 else f"noise_plan_{family}.json"
        for cohort in sorted(cohorts)
        for family in FAMILIES
    }


_DESCRIPTIONS = read_yaml(Path(__file__).parent / "noise_columns.yaml")


def _build_schema(table: str, types: Mapping[str, pa.DataType]) -> pa.Schema:
    """Return the schema of a file; the type of a column not in `types` is a floating-point number."""
    return pa.schema(
        pa.field(name, types.get(name, pa.float64()), nullable=False, metadata={"description": description})
        for name, description in _DESCRIPTIONS[table].items()
    )


SCHEMA = _build_schema(
    "noisy_counts",
    dict.fromkeys(("cohort", "family"), pa.string())
    | dict.fromkeys(("attributes", "categories"), pa.list_(pa.string()))
    | {"measurement": pa.int32(), "noisy_count": pa.int64()},
)


@dataclass(frozen=True)
class NoisyCounts:
    """A plan document, and its noisy counts by marginal, each an array with one dimension per attribute."""

    plan: bytes
    counts: Mapping[tuple[str, ...], NDArray[np.int64]]

    @classmethod
    def read(cls, plan: bytes, cells: pa.Table, cohort: str, family: str) -> "NoisyCounts":
        """Read a family's counts from a bundle's files. Raises ValueError unless the cells are those of the plan."""
        own = cells.filter(pc.and_(pc.equal(cells["cohort"], cohort), pc.equal(cells["family"], family)))
        empty = {
            names: np.zeros(tuple(map(len, domains)), dtype=np.int64) for names, _, domains in _parse_measured(plan)
        }
        # Everything but the drawn numbers follows from the plan, so cells are compared with it whole, order included.
        expected = cls(plan, empty).build_table(cohort, family)
        if not own.drop_columns(["noisy_count"]).equals(expected.drop_columns(["noisy_count"])):
            raise ValueError(f"the noisy counts of {family}, cohort {cohort}, are not those of its plan")
        drawn, counts, start = own["noisy_count"].to_numpy(), {}, 0
        for attributes, cell in empty.items():
            # `product` varies the last attribute fastest, as does an array in C order.
            counts[attributes] = drawn[start : start + cell.size].reshape(cell.shape)
            start += cell.size
        return cls(plan, counts)

    def build_table(self, cohort: str, family: str) -> pa.Table:
        """Return one row per cell, by measurement in the order of the plan."""
        parts = [
            pa.table(
                {
                    "cohort": pa.repeat(cohort, count := math.prod(map(len, domains))),
                    "family": pa.repeat(family, count),
                    "measurement": pa.repeat(pa.scalar(number, pa.int32()), count),
                    "attributes": pa.array([list(names)] * count, pa.list_(pa.string())),
                    "categories": pa.array(list(product(*domains)), pa.list_(pa.string())),
                    "sigma": pa.repeat(sigma, count),
                    "noisy_count": pa.array(self.counts[names].ravel()),
                },
                schema=SCHEMA,
            )
            for number, (names, sigma, domains) in enumerate(_parse_measured(self.plan))
        ]
        return pa.concat_tables(parts)


NoisyByCohort = Mapping[str, Mapping[str, NoisyCounts]]
"""Noisy counts by cohort and family."""


def collect_plans(noisy: NoisyByCohort) -> dict[tuple[str, str], bytes]:
    """Return the plan documents, by cohort and family."""
    return {(cohort, family): entry.plan for cohort, own in sorted(noisy.items()) for family, entry in own.items()}


def build_noisy_files(noisy: NoisyByCohort, version: str) -> dict[str, bytes]:
    """Return the plans and the cells of every cohort and family, by file name."""
    names = list_plan_files(noisy.keys())
    cells = [each.build_table(cohort, family) for cohort, own in sorted(noisy.items()) for family, each in own.items()]
    # Plans are not formatted again: the ledger has the hash of these bytes.
    plans = {names[key]: plan for key, plan in collect_plans(noisy).items()}
    return plans | {NOISY_COUNTS_FILE: format_cells(pa.concat_tables(cells), version)}


def format_cells(cells: pa.Table, version: str) -> bytes:
    """Return the cells of release `version` as Parquet; the same numbers give the same bytes."""
    return format_parquet(cells.replace_schema_metadata({b"release_version": version.encode()}), write_statistics=False)


def find_noisy_faults(
    plans: Mapping[tuple[str, str], bytes], cells: pa.Table | None, record: Mapping[str, Any]
) -> Iterator[str]:
    """Yield errors in plans (by cohort and family) and cells, given the plan hashes in the privacy record."""
    stated = {
        (each["cohort"], each["family"]): each.get("plan_sha256")
        for each in record.get("families", ())
        if "measured_in" not in each
    }
    names = list_plan_files({cohort for cohort, _ in stated})
    for key, name in names.items():
        if key not in plans:
            yield f"the plan of {key[1]}, cohort {key[0]}, is missing"
        elif hashlib.sha256(plans[key]).hexdigest() != stated.get(key):
            yield f"{name} is not the plan that the privacy statement names"
        elif cells is not None:
            try:
                NoisyCounts.read(plans[key], cells, *key)
            except (ValueError, KeyError, TypeError, pa.ArrowException) as error:
                yield f"{NOISY_COUNTS_FILE}: {error}"


def _parse_measured(plan: bytes) -> list[tuple[tuple[str, ...], float, tuple[tuple[str, ...], ...]]]:
    """Return attributes, sigma and categories by attribute of every marginal that the plan measures."""
    document = json.loads(plan)
    domains = {entry["name"]: tuple(entry["categories"]) for entry in document["family"]["attributes"]}
    return [
        (tuple(m["attributes"]), float(m["sigma"]), tuple(domains[name] for name in m["attributes"]))
        for m in document["measured"]
    ]


NOISE_COVARIANCE_FILE = "noise_covariance.parquet"
COVARIANCE_KEYS = ("cohort", "region_code", "breakdown_topic", "breakdown", "sex", "other_breakdown", "other_sex")
COVARIANCE_COUNTS = ("children", "gld_children", "gld")
"""Pairs of counts, one of the row and one of the other row: children with children; children with a good level of
development with children; and children with a good level of development in both."""
WITHIN = ("same", "apart")

COVARIANCE_SCHEMA = _build_schema("noise_covariance", dict.fromkeys(COVARIANCE_KEYS, pa.string()))


def find_covariance_faults(covariance: pa.Table, cohorts: Collection[str]) -> Iterator[str]:
    """Yield errors in the form of the file; `readiness recompute` checks its numbers against the plans."""
    if not covariance.schema.equals(COVARIANCE_SCHEMA):
        yield "its columns are not those of the noise covariance"
    elif others := set(covariance["cohort"].to_pylist()) - set(cohorts):
        yield f"it has other cohorts than the release: {', '.join(sorted(others))}"
