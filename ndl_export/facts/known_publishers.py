"""Publishers that this reader knows: the keys that signed the releases at a place, as ssh knows hosts.

Whoever runs a server can replace a release, its sums and its key. So the key is given, or is remembered when a place is
read for the first time, and a release with another key is refused. The newest version and the withdrawals are
remembered as well, because the lists of a release directory are not signed: a server could leave out a new release, or
a withdrawal.
"""

import hashlib
import json
from collections.abc import Collection, Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from ndl_export.facts.release_facts import DATAPACKAGE_FILE, Version, list_versions, load_withdrawals
from ndl_export.files import signing, whole_files

SIGNED = (signing.SUMS_FILE, signing.SIGNATURE_FILE, signing.PUBLIC_KEY_FILE)
"""Files that say who signed a release, and what."""
_MOST_ROWS, _LARGEST_TABLES = 2_000_000, 2**29
"""Limits of the rows, and of the unpacked bytes, of a release's tables: the pilot's have 10,000 rows."""
NOT_CHECKED = "Signature not checked"


class UnknownPublisher(Exception):
    """Releases that may not be the publisher's; the message says why, and what to do."""


class _KnownPublishers(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    keys: list[str]
    newest: str
    withdrawn: list[str]


_FORM = TypeAdapter(dict[str, _KnownPublishers])


class Trust:
    """Which keys may have signed the releases at a place: those given, or those in the file from an earlier reading.

    `given` are fingerprints. Without a `file` nothing is remembered. Raises `UnknownPublisher` if it cannot be read.
    """

    def __init__(self, place: str, given: Collection[str] = (), file: Path | None = None) -> None:
        self.place, self._given, self._file, self._found = place, frozenset(given), file, set[str]()
        try:
            self._every = _FORM.validate_json(file.read_bytes()) if file and file.exists() else {}
        except (OSError, ValidationError):
            raise UnknownPublisher(
                f"{file} cannot be read, so it is not known who may sign: mend or remove it"
            ) from None
        self._known = self._every.get(place)

    def check_key(self, version: str, fingerprint: str) -> None:
        """Raise `UnknownPublisher` if a release is signed with a key that is neither given nor remembered."""
        expected = self._given or frozenset(self._known.keys if self._known else ())
        if expected and fingerprint not in expected:
            source = "that was given" if self._given else f"that was remembered for {self.place}"
            raise UnknownPublisher(
                f"{self.place}, release {version}: signed with the key {fingerprint}, not with the one {source}. It"
                " may be somebody else's. If the publisher confirms the key by another channel, give it with --signer"
            )
        self._found.add(fingerprint)

    def conclude(self, versions: Collection[str], withdrawn: Collection[str]) -> str:
        """Remember the keys, and return a sentence on whether the signatures were checked.

        Raises `UnknownPublisher` if a release or a withdrawal that was seen before is gone.
        """
        if self._known:
            gone = {self._known.newest} - {*versions, *withdrawn}
            gone |= {each for each in self._known.withdrawn if each in versions and each not in withdrawn}
            if gone:
                raise UnknownPublisher(
                    f"{self.place}: {', '.join(sorted(gone))} was there, or withdrawn, at an earlier reading, and"
                    " is not any more. The server may hide the newest state. If the publisher confirms it, remove the"
                    f" place from {self._file}"
                )
        keys = ", ".join(sorted(self._found))
        is_remembered = self._remember(versions, withdrawn)
        if self._given:
            return f"Signature checked with the key that was given: {keys}."
        if self._known:
            return f"Signature checked with the key that was remembered for this place: {keys}."
        then = "It is remembered: later readings are checked against it" if is_remembered else "It was not remembered"
        return f"{NOT_CHECKED}: the key {keys} is new here. {then}. Compare it with the publisher's, or give --signer."

    def _remember(self, versions: Collection[str], withdrawn: Collection[str]) -> bool:
        """Write what was found to the file, and return whether that was possible."""
        if self._file is None:
            return False
        seen = {*versions, *([self._known.newest] if self._known else [])}
        newest = str(max(map(Version.parse, seen)))
        found = _KnownPublishers(keys=sorted(self._found), newest=newest, withdrawn=sorted(withdrawn))
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            every = {name: each.model_dump() for name, each in (self._every | {self.place: found}).items()}
            whole_files.write_whole(self._file, whole_files.format_json(every))
        except OSError:
            return False
        return True


def check_releases(release_dir: Path, trust: Trust) -> str:
    """Check every release of a directory with one or more; return a sentence on whether the signatures were checked.

    Raises `UnreadableWithdrawals`, `UnknownPublisher`, and ValueError if a release is not as it was signed.
    """
    versions = list(map(str, list_versions(release_dir)))
    for version in versions:
        try:
            _check_bundle(release_dir / version, trust)
        except (ValueError, OSError, pa.ArrowException) as error:
            raise ValueError(f"{trust.place}, release {version}: {error}") from None
    return trust.conclude(versions, load_withdrawals(release_dir))


def _check_bundle(bundle: Path, trust: Trust) -> None:
    """Raise ValueError if a bundle is not as it was signed, or `UnknownPublisher` if it is signed by somebody else."""
    there = {path.relative_to(bundle).as_posix(): path for path in bundle.rglob("*") if path.is_file()}
    sums, fingerprint = signing.read_signed({name: there[name].read_bytes() for name in SIGNED if name in there})
    trust.check_key(bundle.name, fingerprint)
    expected = sums.keys() | set(signing.UNCOVERED)
    changed = [name for name in sums if name in there and _compute_sum(there[name]) != sums[name]]
    if wrong := sorted({*changed, *(expected ^ there.keys())}):
        raise ValueError(f"not as in {signing.SUMS_FILE}: {', '.join(wrong)}")
    # Under another name, a withdrawn release would look like one that is not.
    if json.loads(there[DATAPACKAGE_FILE].read_bytes())["version"] != bundle.name:
        raise ValueError("its files are those of another release")
    _check_rows(path for name, path in there.items() if name.endswith(".parquet"))


def _compute_sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_rows(paths: Iterable[Path]) -> None:
    """Raise ValueError if Parquet files say that they unpack to more than a release has, before a row is read."""
    rows = size = 0
    for path in paths:
        with pq.ParquetFile(path) as opened:
            found = opened.metadata
        rows += found.num_rows
        size += sum(found.row_group(group).total_byte_size for group in range(found.num_row_groups))
    if rows > _MOST_ROWS or size > _LARGEST_TABLES:
        raise ValueError(
            f"its tables have more than {_MOST_ROWS:,} rows or {_LARGEST_TABLES:,} bytes, so they were not read"
        )
