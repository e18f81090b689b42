"""Which share of the children of an extract is in the one that replaced it, without keeping the tokens of the first.

Of every extract that was linked, the linkage keeps a sample: the least `SAMPLE` of its tokens, sealed to itself beside
the tokens. Tokens are keyed, and so drawn evenly; the least of two sets together are a sample of both, of which the
share in each estimates how much they overlap (bottom-k sketch; Cohen and Kaplan, 2007), to within 0.05 at 0.8. Small
extracts are in their samples whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
from pydantic import TypeAdapter

from assets.home.paths import Home
from assets.intake.deliveries import TOKENS_KEY
from assets.linkage import tokens
from assets.linkage.inputs import Extract
from privacy.doors import sealed
from privacy.doors.files import promote_all, write_json
from privacy.keys import KeyRing

SAMPLE = 1024
_TELLING = ("t_upn", "t_nhs", "t_surname_dob")
"""Tokens by which children of two deliveries of one sender are known again."""
_SAMPLED_AT_ONCE = 2
_MOSTLY = 0.5
"""Share of its rows that must have a token for it to be compared."""


@dataclass(frozen=True)
class Replaced:
    """Of an extract: the sample that was taken of it (`file_mac`, `sha256` of its payload), and where it replaced
    another, which share of that one's children it holds, 0 to 1."""

    file_mac: str
    sha256: str
    shared: float | None = None


_REPLACED = TypeAdapter(dict[str, Replaced])
_Sample = tuple[np.ndarray, int]
"""The least tokens of a kind, in order, and how many different ones there are."""


def replaced(home: Home, cohort: str) -> dict[str, Replaced]:
    """What is known of each extract (`council/source`)."""
    path = home.replaced(cohort)
    return _REPLACED.validate_json(path.read_bytes()) if path.exists() else {}


def note_replaced(home: Home, cohort: str, keys: KeyRing, extracts: Mapping[str, Extract]) -> None:
    """Compare the extracts that changed since the last linkage with what they replaced, and sample them anew. What was
    found is written before the samples: after a death between, nothing is compared with its own."""
    before = replaced(home, cohort)
    other = {name: each for name, each in extracts.items() if name not in before or before[name].sha256 != each.sha256}
    with home.staging() as staging:

        def compared(name: str) -> Replaced:
            council, source = name.split("/")
            made, known, extract = staging / f"{source}.{council}", before.get(name), extracts[name]
            shared = _sampled(home, keys, source, cohort, council, made)
            if known and known.file_mac == extract.file_mac:  # other rows of the same file: some were removed
                shared = known.shared
            return Replaced(extract.file_mac, extract.sha256, shared)

        with ThreadPoolExecutor(_SAMPLED_AT_ONCE) as threads:
            changed = dict(zip(other, threads.map(compared, other), strict=True))
        now = {name: changed.get(name) or before[name] for name in extracts}
        if now != before:
            write_json(home.replaced(cohort), {name: asdict(entry) for name, entry in now.items()})
        sampled = {made: made.name.split(".") for made in staging.iterdir()}
        samples = ((made, home.token_sample(source, cohort, council)) for made, (source, council) in sampled.items())
        promote_all(list(samples))


def _sampled(home: Home, keys: KeyRing, source: str, cohort: str, council: str, made: Path) -> float | None:
    """Write the sample of an extract to `made`; the share of the children of the last sample that are in it, where the
    two can be compared."""
    file = tokens.opened(home, keys, source, cohort, council)
    columns = [name for name in _TELLING if name in file.schema_arrow.names]
    rows, made_under = file.read(columns=columns), sealed.metadata(file).get(TOKENS_KEY, "")
    least = {name: _least(rows[name]) for name in columns if len(rows) * _MOSTLY <= len(rows) - rows[name].null_count}
    said = {TOKENS_KEY: made_under} | {name: str(number) for name, (_, number) in least.items()}
    listed = pa.table({name: pa.array([values], pa.list_(pa.uint64())) for name, (values, _) in least.items()})
    seal = sealed.sealed_to(keys.opens("tokens").public_key())
    pyarrow.parquet.write_table(listed.replace_schema_metadata(said), made, encryption_properties=seal)
    last = home.token_sample(source, cohort, council)
    return _shared(_read(last, keys, made_under), least) if last.exists() else None


def _least(column: pa.ChunkedArray) -> _Sample:
    values = pc.unique(column.drop_null()).to_numpy(zero_copy_only=False).astype(np.uint64)
    return np.sort(values)[:SAMPLE], len(values)


def _read(path: Path, keys: KeyRing, made_under: str) -> dict[str, _Sample]:
    """A sample of tokens that were made as those of now; none where they were made otherwise."""
    try:
        file = sealed.opened(path, keys.opens("tokens"))
    except (sealed.NotForThisKey, pa.ArrowException, OSError):
        return {}
    said, table = sealed.metadata(file), file.read()
    if said.get(TOKENS_KEY) != made_under:
        return {}
    return {name: (table[name][0].values.to_numpy(), int(said[name])) for name in table.column_names}


def _shared(before: Mapping[str, _Sample], now: Mapping[str, _Sample]) -> float | None:
    """Estimated share of the children of `before` that are in `now`: the least by any kind of token that both have,
    since another child may have come under a number, and another number to a child."""
    kinds = [name for name in _TELLING if name in before and name in now]
    return min((_overlap(before[name], now[name]) for name in kinds), default=None)


def _overlap(before: _Sample, now: _Sample) -> float:
    """Share of the tokens of `before` that are in `now`, from the samples of both."""
    (mine, mine_all), (theirs, theirs_all) = before, now
    least = np.union1d(mine, theirs)[:SAMPLE]
    if not mine_all or not len(least):
        return 1.0
    overlap = float((np.isin(least, mine) & np.isin(least, theirs)).mean())
    return min(1.0, overlap / (1 + overlap) * (mine_all + theirs_all) / mine_all)
