"""Validators of the standards that a bundle is described in, each the standard's own, in environments of their own.

`<name>.in` and `<name>.txt` are an environment, made in `.validators/<name>` by `make validators`; `<name>_faults.py`
runs in it, is given folders of bundles, and prints as JSON, by folder and file, what the validators say.
"""

from pathlib import Path

import pytest

from tests.support import PROJECT
from tests.support.areas import lacking


def program(environment: str, name: str = "python") -> Path:
    """A program of an environment; skips the test where it was not made."""
    found = PROJECT / ".validators" / environment / "bin" / name
    if not found.exists():
        pytest.skip(lacking("validators"))
    return found
