"""The scripts of `packaging/supply`, and the uv that they run."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.support import PROJECT

FOLDER = PROJECT / "packaging" / "supply"


def script(name: str) -> ModuleType:
    """A script as a module."""
    if str(FOLDER) not in sys.path:
        sys.path.append(str(FOLDER))
    return importlib.import_module(name)


def run(name: str, *words: object, **options: object) -> subprocess.CompletedProcess[str]:
    """A script as the Makefile runs it."""
    command = [sys.executable, str(FOLDER / name), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]


@pytest.fixture(scope="session")
def uv() -> Path:
    """The uv of the Makefile, or one that is installed."""
    beside = Path(sys.prefix).parent / ".uv" / "bin" / "uv"
    found = beside if beside.is_file() else shutil.which("uv")
    if not found:
        pytest.skip("uv is not here")
    return Path(found)
