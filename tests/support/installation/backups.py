"""A small installation with a measured release, people with their own keys, and backups made by the command."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import Result

from assets.home.paths import Home
from assets.home.processing_log import Processing, record
from privacy.doors.age import create_identity
from privacy.keys import KeyRing
from tests.support.installation.commands import build_settings, invoke
from tests.support.release.anchored import Books

_LEDGER = shutil.ignore_patterns("ledger.sqlite*")


@dataclass(frozen=True)
class Safe:
    """An installation (`home`, `keys`) and, off its machine, two people's private keys and disks for backups."""

    root: Path

    @classmethod
    def for_installation(cls, root: Path) -> Safe:
        """Create the keys and disks for an existing installation."""
        made = cls(root)
        for person in ("operator", "custodian"):
            create_identity(made.get_identity(person))
            (root / "disks" / person).mkdir(parents=True)
        return made

    @classmethod
    def for_small_installation(cls, root: Path) -> Safe:
        """Create an installation with a release, a few files, and no rows."""
        made = cls.for_installation(root)
        KeyRing.create(made.keys)
        books = Books.for_folder(made.home.root)
        books.release("2026.11.0")
        record(books.home, Processing.LINKAGE, cohort="202425")
        for name in ("tokens/source=eyfsp/cohort=202425/leeds.parquet", "restricted/quality/a/b.json"):
            path = made.home.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(name.encode() * 9000)
        (made.home.release / "latest").symlink_to("2026.11.0")
        return made

    @property
    def home(self) -> Home:
        return Home(self.root / "home")

    @property
    def keys(self) -> Path:
        return self.root / "keys"

    @property
    def books(self) -> Books:
        return Books(self.home)

    def get_identity(self, person: str) -> Path:
        return self.root / "people" / f"{person}.key"

    def get_recipient(self, person: str) -> str:
        return self.get_identity(person).read_text().split()[3]

    def get_disk(self, part: str) -> Path:
        return self.root / "disks" / self.get_person(part)

    @staticmethod
    def get_person(part: str) -> str:
        return "custodian" if part == "keys" else "operator"

    def make_backup(self, part: str, *options: str) -> Path:
        made = self.run_command(
            "backup", part, "--into", self.get_disk(part), "--json", *self.build_recipient_option(part), *options
        )
        assert made.exit_code == 0, made.output
        return Path(json.loads(made.stdout)["file"])

    def build_recipient_option(self, part: str) -> tuple[str, str]:
        return "--recipient", self.get_recipient(self.get_person(part))

    def restore(self, part: str, file: Path, *options: Any) -> Result:
        return self.run_command("restore", part, file, "--identity", self.get_identity(self.get_person(part)), *options)

    def run_command(self, *words: Any) -> Result:
        return invoke(*words, env=build_settings(self.root))

    def copy_home(self) -> Path:
        """Copy the home folder as a file backup does: everything except the ledger."""
        return Path(shutil.copytree(self.home.root, self.root / "copy", symlinks=True, ignore=_LEDGER))

    def put_back(self) -> None:
        if self.home.root.exists():
            shutil.rmtree(self.home.root)
        shutil.copytree(self.root / "copy", self.home.root, symlinks=True, copy_function=shutil.copy)

    def lose_ledger(self) -> None:
        for path in self.home.root.glob("ledger.sqlite*"):
            path.unlink()


def read_tree(root: Path) -> dict[str, bytes]:
    """Return every file of a home folder except the ledger's and the log's, which keep changing."""
    found = {path.relative_to(root).as_posix(): path for path in root.rglob("[!.]*") if path.is_file()}
    gone = ("ledger.sqlite", "restricted/processing_log", "restricted/turns", "dagster/")
    return {name: path.read_bytes() for name, path in found.items() if not name.startswith(gone)}
