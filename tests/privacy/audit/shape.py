"""D. Releases of different inputs differ only in their noisy integers.

OpenDP is replaced by a noise source that returns the same integers for any input. The bundles of the full, the
neighbouring and the empty child table must then be identical byte for byte: file list, keys, schemas, nulls, manifests,
sizes, signature. Times of charges and signatures, the ledger's random identity and the keyed identity of the input,
which hashes in the privacy statement cover, are fixed. With real noise, files, schemas, keys and numbers of rows must
also be identical.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from assets.home.paths import Home
from assets.release import measure
from assets.release.requests import planning as request_planning
from assets.release.requests.planning import Sizes
from ndl_export.bundle.verify import verify
from ndl_export.facts.bundle_reader import read_contents
from privacy.keys import KeyRing
from tests.support.release.doubles import Integers, SameNoise, hold_still
from tests.support.release.homes import make_home, make_release
from tests.support.release.requests import OF_EACH_FAMILY, SUPPLEMENT, ask
from tests.support.release.sizes import build_sizes


class DataBlindNoise(SameNoise):
    """A noise source that poses as OpenDP and returns integers that depend only on the number of the draw."""

    def draw(self, counts: Integers, sigma: float) -> Integers:
        return super().draw(np.full_like(counts, 40), 30.0)


def check_shape(folder: Path, rows: int, councils: Sequence[str], *, on_request: bool = False) -> None:
    """Raise AssertionError naming the first file of a release that differs between inputs; with `on_request`, also of a
    second one with requests."""

    def make(name: str, number: int) -> list[Path]:
        home = make_home(folder / name, number, councils)
        made = [make_release(home, keys, councils)]
        return [*made, _answer_requests(home, keys, councils)] if on_request else made

    keys = KeyRing.create(folder / "keys", demonstration=True)
    bundles = {}
    with hold_still(DataBlindNoise), patch.object(measure, "compute_input_mac", lambda *_: "a" * 64):
        for number in (rows, rows - 1, 0):
            bundles[number] = make(f"home{number}", number)
    for whole, neighbour, empty, drawn in zip(*bundles.values(), make("drawn", rows), strict=True):
        report = verify(empty)
        assert report.ok, f"an empty input does not publish every cell: {report}"
        for other in (neighbour, empty):
            _check_same(whole, other)
        _check_same_frame(empty, drawn)


def _answer_requests(home: Home, keys: KeyRing, councils: Sequence[str]) -> Path:
    """Answer requests, planned from the demonstration's sizes: noise that ignores data gives no group sizes."""

    def read_sizes(*arguments: Any) -> Sizes:
        return build_sizes(tuple(sorted(councils)), arguments[-1])

    with patch.object(request_planning, "_read_published_sizes", read_sizes):
        return make_release(home, keys, councils, SUPPLEMENT, reuse=True, requests=ask(home, *OF_EACH_FAMILY))


def _check_same(one: Path, other: Path) -> None:
    files, others = read_contents(one), read_contents(other)
    assert sorted(files) == sorted(others), "the list of files depends on the data"
    differing = sorted(name for name in files if files[name] != others[name])
    assert not differing, f"{', '.join(differing)} depend on the data by another way than the noisy counts"
    archives = [path.parent / f"{path.name}.zip" for path in (one, other)]
    assert archives[0].read_bytes() == archives[1].read_bytes(), "the archive depends on the data"


def _check_same_frame(one: Path, other: Path) -> None:
    assert sorted(read_contents(one)) == sorted(read_contents(other)), "the list of files depends on the noise"
    for name in (path.stem for path in one.glob("*.parquet")):
        tables = [pq.read_table(folder / f"{name}.parquet") for folder in (one, other)]
        assert tables[0].schema == tables[1].schema, f"the schema of {name} depends on data or noise"
        keys = [
            field.name for field in tables[0].schema if field.type == pa.string() and not field.name.endswith("_flag")
        ]
        assert tables[0].select(keys) == tables[1].select(keys), f"the rows of {name} depend on data or noise"
