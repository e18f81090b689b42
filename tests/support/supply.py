"""The scripts of `packaging/supply`, and the uv that they run."""

import importlib
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.support import PROJECT

FOLDER = PROJECT / "packaging" / "supply"


def load_script(name: str, folder: Path = FOLDER) -> ModuleType:
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    return importlib.import_module(name)


def run(name: str, *words: object, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a script as the Makefile does."""
    command = [sys.executable, str(FOLDER / name), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


@pytest.fixture(scope="session")
def uv() -> Path:
    """Return the Makefile's uv, or an installed one."""
    beside = Path(sys.prefix).parent / ".uv" / "bin" / "uv"
    found = beside if beside.is_file() else shutil.which("uv")
    if not found:
        pytest.skip("uv is not here")
    return Path(found)
