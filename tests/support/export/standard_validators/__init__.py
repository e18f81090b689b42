"""The official validators of the standards that describe a bundle, in separate environments.

`<name>.in` and `<name>.txt` define an environment, created in `.validators/<name>` by `make validators`.
`<name>_faults.py` runs in it, reads folders of bundles, and prints the validators' messages as JSON by folder and file.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support import PROJECT
from tests.support.areas import describe_missing


def find_program(environment: str, name: str = "python") -> Path:
    """Return a program of an environment; skip the test if the environment was not created."""
    found = PROJECT / ".validators" / environment / "bin" / name
    if not found.exists():
        pytest.skip(describe_missing("validators"))
    return found


def run_validator(environment: str, script: str, *arguments: Path) -> Any:
    """Return what a script of this folder prints as JSON on its last line, run in the environment of that name."""
    command = [find_program(environment), Path(__file__).parent / script, *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])
