"""Publishers that this reader knows: the keys that signed the releases at a place, as ssh knows hosts.

Whoever runs a server can replace a release, its sums and its key. So the key is given, or is remembered when a place is
read for the first time, and a release with another key is refused. The newest version and the withdrawals are
remembered as well, because the lists of a release directory are not signed: a server could leave out a new release, or
a withdrawal.
"""

from collections.abc import Collection
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from ndl_export.facts.release_facts import Version
from ndl_export.files import whole_files

NOT_CHECKED = "Signature not checked"


class UnknownPublisher(Exception):
    """Releases that may not be the publisher's; the message says why, and what to do."""


class _Known(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    keys: list[str]
    newest: str
    withdrawn: list[str]


_FORM = TypeAdapter(dict[str, _Known])


class Trust:
    """Which keys may have signed the releases at a place: those given, or those in the file from an earlier reading.

    `given` are fingerprints. Without a `file` nothing is remembered. Raises `UnknownPublisher` if it cannot be read.
    """

    def __init__(self, place: str, given: Collection[str] = (), file: Path | None = None) -> None:
        self._place, self._given, self._file, self._found = place, frozenset(given), file, set[str]()
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
            source = "that was given" if self._given else f"that was remembered for {self._place}"
            raise UnknownPublisher(
                f"{self._place}, release {version}: signed with the key {fingerprint}, not with the one {source}. It"
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
                    f"{self._place}: {', '.join(sorted(gone))} was there, or withdrawn, at an earlier reading, and"
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
        found = _Known(keys=sorted(self._found), newest=newest, withdrawn=sorted(withdrawn))
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            every = {name: each.model_dump() for name, each in (self._every | {self._place: found}).items()}
            whole_files.write_whole(self._file, whole_files.format_json(every))
        except OSError:
            return False
        return True
