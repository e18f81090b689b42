"""`withdrawn.json`: which releases of a release directory are withdrawn, since when and why.

It stands beside the bundles, which never change. People sign each withdrawal, and the file is compared with what they
signed before it is sent; the file itself is not signed, and whoever serves it answers for it.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ndl_export.facts.release_facts import Version
from ndl_export.files.whole_files import indented_json, write_whole
from privacy.doors.typed import is_line

WITHDRAWN_FILE = "withdrawn.json"


class UnreadableWithdrawals(Exception):
    """The file is not as `record` writes it; the message names it."""


@dataclass(frozen=True)
class Withdrawal:
    """A withdrawn release: its version, the day as 2026-11-25, and the reason, one line of text."""

    version: str
    date: str
    reason: str

    @property
    def sentence(self) -> str:
        """What readers are told, with a full stop."""
        said = self.reason if self.reason.endswith((".", "!", "?")) else f"{self.reason}."
        return f"Release {self.version} was withdrawn on {self.date}: {said}"


def withdrawals(release_dir: Path) -> dict[str, Withdrawal]:
    """Every withdrawal by version; empty where there is no file. Raises `UnreadableWithdrawals`."""
    path = release_dir / WITHDRAWN_FILE
    return read_withdrawals(path.read_bytes(), str(path)) if path.exists() else {}


def read_withdrawals(content: bytes, name: str) -> dict[str, Withdrawal]:
    """Every withdrawal by version in the content of the file of that name. Raises `UnreadableWithdrawals`."""
    try:
        found = [Withdrawal(**entry) for entry in json.loads(content)["withdrawn"]]
        for each in found:
            Version.parse(each.version)
            dt.date.fromisoformat(each.date)
            if not is_line(each.reason):
                raise ValueError
    except (ValueError, TypeError, KeyError):
        raise UnreadableWithdrawals(
            f"{name} must list, under 'withdrawn', objects with version, date (2026-11-25) and reason, and nothing else"
        ) from None
    return {each.version: each for each in found}


def record(release_dir: Path, known: Mapping[str, Withdrawal], *added: Withdrawal) -> None:
    """Write the file with these withdrawals more."""
    every = sorted([*known.values(), *added], key=lambda each: Version.parse(each.version))
    content = {"withdrawn": [asdict(each) for each in every]}
    write_whole(release_dir / WITHDRAWN_FILE, indented_json(content))
