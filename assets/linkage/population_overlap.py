"""Estimates what share of an earlier delivery's children each extract contains, without keeping the earlier tokens.

The linkage keeps a sample of every extract it linked: the lowest `SAMPLE` tokens, sealed to the linkage. Keyed tokens
are evenly distributed, so the lowest of two sets together are a sample of both, and the share found in each set
estimates their overlap (bottom-k sketch; Cohen and Kaplan, 2007), to within 0.05 at 0.8. Small extracts are kept whole.

An extract is compared with the delivery whose measurement was last signed off, or otherwise with the first one. So a
wrong file sent twice is not compared with itself, and many small changes add up.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
from pydantic import TypeAdapter

from assets.home.paths import CohortStore, ExtractStore, Home
from assets.home.processing_log import Key, Processing, list_intakes
from assets.intake.deliveries import TOKENS_KEY
from assets.linkage import tokens
from assets.linkage.inputs import Extract
from privacy.doors import sealed
from privacy.doors.files import promote, promote_all, write_json
from privacy.keys import KeyRing

SAMPLE = 1024
_TELLING = ("t_upn", "t_nhs", "t_surname_dob")
"""Tokens that identify the same child in two deliveries of one sender."""
_SAMPLED_AT_ONCE = 2
_MOSTLY = 0.5
"""Share of rows that must have a token for it to be compared."""


@dataclass(frozen=True)
class Overlap:
    """How an extract compares with an earlier delivery.

    `file_mac` and `sha256` (of its payload) identify the extract. `shared` is the share of the earlier delivery's
    children that it contains, 0 to 1, or None if there is none or it cannot be compared. `compared_with` is the MAC of
    the delivery that the next one will be compared with, unless this one is signed off.
    """

    file_mac: str
    sha256: str
    shared: float | None = None
    compared_with: str = ""


_OVERLAPS = TypeAdapter(dict[str, Overlap])
_Sample = tuple[np.ndarray, int]
"""The lowest tokens of a kind, sorted, and the number of distinct tokens."""


def read_overlaps(store: CohortStore) -> dict[str, Overlap]:
    """Return the result for each extract (`council/source`); none if the file is missing or damaged."""
    try:
        return _OVERLAPS.validate_json(store.overlaps.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}


def record_overlaps(store: CohortStore, keys: KeyRing, extracts: Mapping[str, Extract]) -> None:
    """Compare the extracts that changed since the last linkage with an earlier delivery, and sample them.

    Results are written before the samples, so that after a crash between the two no extract is compared with itself.
    """
    before = read_overlaps(store)
    other = {name: each for name, each in extracts.items() if name not in before or before[name].sha256 != each.sha256}
    with store.home.open_staging() as staging:

        def compare(name: str) -> Overlap:
            council, source = name.split("/")
            known, extract = before.get(name), extracts[name]
            own = store.get_extract(source, council)
            if known and known.compared_with == known.file_mac and own.newest_sample.exists():
                promote(own.newest_sample, own.token_sample)  # signed off since then
            shared = _write_sample(own, keys, staging / f"{source}.{council}")
            if known and known.file_mac == extract.file_mac:  # the same file with some rows removed
                return replace(known, sha256=extract.sha256)
            if known:
                return Overlap(extract.file_mac, extract.sha256, shared, known.compared_with)
            # A lost result must not make a replacement pass for a first delivery, so the sample and the log are
            # checked too.
            is_first = not own.token_sample.exists() and not is_replacement(store.home, own.key, extract.file_mac)
            return Overlap(extract.file_mac, extract.sha256, shared, extract.file_mac if is_first else "")

        with ThreadPoolExecutor(_SAMPLED_AT_ONCE) as threads:
            changed = dict(zip(other, threads.map(compare, other), strict=True))
        now = {name: changed.get(name) or before[name] for name in extracts}
        if now != before:
            write_json(store.overlaps, {name: asdict(entry) for name, entry in now.items()})
        samples = []
        for name, entry in changed.items():
            council, source = name.split("/")
            own, is_baseline = store.get_extract(source, council), entry.compared_with == entry.file_mac
            samples.append((staging / f"{source}.{council}", own.token_sample if is_baseline else own.newest_sample))
        promote_all(samples)


def is_replacement(home: Home, key: Key, file_mac: str) -> bool:
    """Return whether a different delivery of the extract was ever taken in. Raises `LogBroken`."""
    taken = (line.file_mac for line in list_intakes(home).get(key, ()) if line.what == Processing.INTAKE)
    return any(each != file_mac for each in taken)


def set_baseline(store: CohortStore) -> None:
    """Make today's extracts the baseline for later deliveries, because a measurement of them was signed off.

    The next linkage moves their samples into place, because only a linkage may write in the tokens zone.
    """
    known = read_overlaps(store)
    now = {name: replace(entry, compared_with=entry.file_mac) for name, entry in known.items()}
    if now != known:
        write_json(store.overlaps, {name: asdict(entry) for name, entry in now.items()})


def _write_sample(store: ExtractStore, keys: KeyRing, made: Path) -> float | None:
    """Write the sample of an extract; return the share of the baseline's children in it, or None if not comparable."""
    file = tokens.open_tokens(store, keys)
    columns = [name for name in _TELLING if name in file.schema_arrow.names]
    rows, made_under = file.read(columns=columns), sealed.read_metadata(file).get(TOKENS_KEY, "")
    least: dict[str, _Sample] = {}
    for name in columns:
        if len(rows) * _MOSTLY <= len(rows) - rows[name].null_count:
            values = pc.unique(rows[name].drop_null()).to_numpy(zero_copy_only=False).astype(np.uint64)
            least[name] = np.sort(values)[:SAMPLE], len(values)
    described = {TOKENS_KEY: made_under} | {name: str(number) for name, (_, number) in least.items()}
    listed = pa.table({name: pa.array([values], pa.list_(pa.uint64())) for name, (values, _) in least.items()})
    # The sample consists of tokens, so it is sealed like them.
    seal = sealed.build_encryption(keys.get_private_key("tokens").public_key())
    pyarrow.parquet.write_table(listed.replace_schema_metadata(described), made, encryption_properties=seal)
    earlier = store.token_sample
    return _estimate_shared(_read(earlier, keys, made_under), least) if earlier.exists() else None


def _read(path: Path, keys: KeyRing, made_under: str) -> dict[str, _Sample]:
    """Return a sample; empty if its tokens were made differently or the file is damaged."""
    try:
        file = sealed.open_sealed(path, keys.get_private_key("tokens"))
    except (sealed.NotForThisKey, pa.ArrowException, OSError):
        return {}
    metadata, table = sealed.read_metadata(file), file.read()
    # Tokens made in another way share nothing, and the right file would look like a wrong one.
    if metadata.get(TOKENS_KEY) != made_under:
        return {}
    return {name: (table[name][0].values.to_numpy(), int(metadata[name])) for name in table.column_names}


def _estimate_shared(before: Mapping[str, _Sample], now: Mapping[str, _Sample]) -> float | None:
    """Estimate the share of the children of `before` that are in `now`.

    This is the lowest share over all kinds of token, because identifiers and children are sometimes reassigned.
    """
    kinds = [name for name in _TELLING if name in before and name in now]
    return min((_estimate_overlap(before[name], now[name]) for name in kinds), default=None)


def _estimate_overlap(before: _Sample, now: _Sample) -> float:
    """Estimate the share of the tokens of `before` that are in `now`, from the samples of both."""
    (mine, mine_all), (theirs, theirs_all) = before, now
    least = np.union1d(mine, theirs)[:SAMPLE]
    # An empty delivery has no child that could be missing.
    if not mine_all or not len(least):
        return 1.0
    # With J, the Jaccard index of the two sets, they share J / (1 + J) times the sum of their sizes.
    overlap = float((np.isin(least, mine) & np.isin(least, theirs)).mean())
    return min(1.0, overlap / (1 + overlap) * (mine_all + theirs_all) / mine_all)
