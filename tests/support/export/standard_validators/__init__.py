"""The official validators of the standards that describe a bundle, in separate environments.

`<name>.in` and `<name>.txt` define an environment, created in `.validators/<name>` by `make validators`.
`<name>_faults.py` runs in it, reads folders of bundles, and prints the validators' messages as JSON by folder and file.
"""

from pathlib import Path

import pytest

from tests.support import PROJECT
from tests.support.areas import lacking


def program(environment: str, name: str = "python") -> Path:
    """Return a program of an environment; skip the test if the environment was not created."""
    found = PROJECT / ".validators" / environment / "bin" / name
    if not found.exists():
        pytest.skip(lacking("validators"))
    return found
