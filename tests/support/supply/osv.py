"""A fake OSV server that returns a test's advisories."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Advisories = Mapping[str, str]
"""Identifier of the advisory for any version of a distribution, by its name."""


@contextmanager
def osv_server(advisories: Advisories, status: int = 200) -> Iterator[str]:
    """Run a server with these advisories, or one that returns the error `status` for everything; yield its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            queries = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
            names = (query["package"]["name"] for query in queries)
            self._say({"results": [{"vulns": [{"id": advisories[n]}]} if n in advisories else {} for n in names]})

        def do_GET(self) -> None:
            named = self.path.rpartition("/")[2]
            event = {"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99"}]}
            of = [name for name, each in advisories.items() if each == named]
            affected = [{"package": {"name": name, "ecosystem": "PyPI"}, "ranges": [event]} for name in of]
            when = "2026-01-01T00:00:00Z"
            common = {"summary": "planted", "details": "planted", "modified": when, "published": when}
            self._say({"id": named, "aliases": [f"CVE-of-{named}"], "affected": affected, **common})

        def _say(self, content: object) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
