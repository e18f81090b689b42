"""Support code for tests: builders of extracts and releases, fixtures, doubles, servers and validators. No tests.

Fixture modules are imported by the `conftest.py` of each folder that uses them.
"""

import os
import socket
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    """Return a port of this machine that was free a moment ago."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def environment_without_settings() -> dict[str, str]:
    """Return this process's environment without the settings of an installation."""
    return {name: value for name, value in os.environ.items() if not name.startswith("READINESS_")}
