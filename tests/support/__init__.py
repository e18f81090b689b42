"""Support code for tests: builders of extracts and releases, fixtures, doubles, servers and validators. No tests.

Fixture modules are imported by the `conftest.py` of each folder that uses them.
"""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]


def find_free_port() -> int:
    """Return a port of this machine that was free a moment ago."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def serve(handler: type[BaseHTTPRequestHandler], **options: Any) -> Iterator[str]:
    """Answer requests with instances of the handler, which get the options and log nothing; yield the address."""
    quiet = type("Quiet", (handler,), {"log_message": lambda *_: None})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(quiet, **options)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def get_environment_without_settings() -> dict[str, str]:
    """Return this process's environment without the settings of an installation."""
    return {name: value for name, value in os.environ.items() if not name.startswith("READINESS_")}
