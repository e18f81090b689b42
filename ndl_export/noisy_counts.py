"""The noisy counts behind every figure, as they were drawn, with the plan they were drawn under.

`noise_plan_<family>.json` is the plan, byte for byte what the ledger holds the hash of: attributes with all their
categories, the marginals measured and the scale of the noise of each. `noisy_counts.parquet` has one row for each cell
measured. From the two anyone can make every table again; the recipe is in `methodology.md`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ndl_export.tables import FAMILIES

NOISY_COUNTS_FILE = "noisy_counts.parquet"
PLAN_FILES = {family: f"noise_plan_{family}.json" for family in FAMILIES}

SCHEMA = pa.schema(
    [
        pa.field(name, kind, nullable=False, metadata={"description": description})
        for name, kind, description in (
            ("family", pa.string(), "Family of tables; its plan is noise_plan_<family>.json"),
            ("measurement", pa.int32(), "Which of the plan's measured marginals, from 0"),
            ("attributes", pa.list_(pa.string()), "Attributes of the marginal; empty for the number of all"),
            ("categories", pa.list_(pa.string()), "The category of each attribute that the cell counts"),
            ("sigma", pa.float64(), "Scale of the discrete Gaussian noise, in children or responses"),
            ("noisy_count", pa.int64(), "Number counted plus noise; may be negative"),
        )
    ]
)


@dataclass(frozen=True)
class NoisyCounts:
    """The plan's document, and the noisy counts by measured marginal, shaped as the domains of its attributes."""

    plan: bytes
    counts: Mapping[tuple[str, ...], NDArray[np.int64]]

    @classmethod
    def read(cls, plan: bytes, cells: pa.Table, family: str) -> NoisyCounts:
        """From the files of a bundle. Raises ValueError where the cells are not those of the plan, in its order."""
        own = cells.filter(pc.equal(cells["family"], family))
        empty = {measured.attributes: np.zeros(measured.shape, dtype=np.int64) for measured in _measured(plan)}
        expected = cls(plan, empty).table(family)
        if not own.drop_columns(["noisy_count"]).equals(expected.drop_columns(["noisy_count"])):
            raise ValueError(f"the noisy counts of {family} are not those of its plan")
        drawn, counts, start = own["noisy_count"].to_numpy(), {}, 0
        for attributes, cell in empty.items():
            counts[attributes] = drawn[start : start + cell.size].reshape(cell.shape)
            start += cell.size
        return cls(plan, counts)

    def table(self, family: str) -> pa.Table:
        """One row a cell, measurement by measurement in order of the plan."""
        parts = [
            pa.table(
                {
                    "family": pa.repeat(family, cells := len(measured.cells)),
                    "measurement": pa.repeat(pa.scalar(number, pa.int32()), cells),
                    "attributes": pa.array([list(measured.attributes)] * cells, pa.list_(pa.string())),
                    "categories": pa.array(measured.cells, pa.list_(pa.string())),
                    "sigma": pa.repeat(measured.sigma, cells),
                    "noisy_count": pa.array(self.counts[measured.attributes].ravel()),
                },
                schema=SCHEMA,
            )
            for number, measured in enumerate(_measured(self.plan))
        ]
        return pa.concat_tables(parts)


def write_noisy_counts(folder: Path, noisy: Mapping[str, NoisyCounts], version: str) -> None:
    """Write the plans and the cells of every family into `folder`."""
    for family, entry in noisy.items():
        (folder / PLAN_FILES[family]).write_bytes(entry.plan)
    cells = pa.concat_tables([entry.table(family) for family, entry in noisy.items()])
    pq.write_table(
        cells.replace_schema_metadata({b"release_version": version.encode()}).combine_chunks(),
        folder / NOISY_COUNTS_FILE,
        version="2.6",
        compression="zstd",
        compression_level=9,
        write_statistics=False,
    )


def noisy_faults(plans: Mapping[str, bytes], cells: pa.Table | None, record: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with plans (by family) and cells, given the privacy record that states the plans' hashes."""
    stated = {family["family"]: family.get("plan_sha256") for family in record.get("families", ())}
    for family in FAMILIES:
        if family not in plans:
            yield f"the plan of {family} is missing"
        elif hashlib.sha256(plans[family]).hexdigest() != stated.get(family):
            yield f"{PLAN_FILES[family]} is not the plan that the privacy statement names"
        elif cells is not None:
            try:
                NoisyCounts.read(plans[family], cells, family)
            except (ValueError, KeyError, TypeError, pa.ArrowException) as error:
                yield f"{NOISY_COUNTS_FILE}: {error}"


@dataclass(frozen=True)
class _Measured:
    attributes: tuple[str, ...]
    sigma: float
    domains: tuple[tuple[str, ...], ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(domain) for domain in self.domains)

    @property
    def cells(self) -> list[tuple[str, ...]]:
        return list(product(*self.domains))


def _measured(plan: bytes) -> list[_Measured]:
    document = json.loads(plan)
    domains = {entry["name"]: tuple(entry["categories"]) for entry in document["family"]["attributes"]}
    return [
        _Measured(tuple(m["attributes"]), float(m["sigma"]), tuple(domains[name] for name in m["attributes"]))
        for m in document["measured"]
    ]
