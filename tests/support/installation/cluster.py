"""The part of a Kubernetes API that Dagster's run launcher uses: it takes Jobs, enforces roles and starts nothing."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from tests.support import serve

_VERBS = {"POST": "create", "GET": "get", "DELETE": "delete", "PUT": "update", "PATCH": "patch"}
_PATH = re.compile(r"/(?:api|apis/(?P<group>[a-z.]+))/v1/namespaces/(?P<namespace>[^/]+)/(?P<path>[^?]+)")

Right = tuple[str, str, str]
"""Namespace, resource with its group (`batch/jobs/status`, `pods`), verb."""


@dataclass
class Cluster:
    """A fake cluster: `rights` of the caller, and those `used` so far; tests set a Job's status."""

    rights: set[Right]
    used: set[Right] = field(default_factory=set)
    refused: set[Right] = field(default_factory=set)
    jobs: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    posted: list[dict[str, Any]] = field(default_factory=list)

    def answer(self, method: str, url: str, body: bytes) -> tuple[int, dict[str, Any]]:
        """Return the status and content of the response to a request."""
        parts = urlsplit(url)
        asked = _PATH.fullmatch(parts.path)
        assert asked, url
        kind, *rest = asked["path"].split("/")
        name, below = rest[0] if rest else "", "/".join(rest[1:])
        verb = "list" if method == "GET" and not name else _VERBS[method]
        resource = "/".join(part for part in (asked["group"], kind, below) if part)
        right = (asked["namespace"], resource, verb)
        if right not in self.rights:
            self.refused.add(right)
            return 403, _build_status(403, f"{verb} {resource} in {asked['namespace']} is forbidden")
        self.used.add(right)
        return self._do(verb, kind, asked["namespace"], name, parse_qs(parts.query), body)

    def _do(
        self, verb: str, kind: str, namespace: str, name: str, query: Mapping[str, list[str]], body: bytes
    ) -> tuple[int, dict[str, Any]]:
        if verb == "create":
            job = json.loads(body)
            job["metadata"]["namespace"] = namespace
            self.posted.append(job)
            self.jobs[namespace, job["metadata"]["name"]] = job | {"status": {"active": 1}}
            return 201, job
        if verb == "list":
            wanted = query.get("labelSelector", [""])[0].removeprefix("job-name==").removeprefix("job-name=")
            there = [each for at, each in self.jobs if at == namespace and each in wanted]
            pods = [{"metadata": {"name": f"{each}-x", "namespace": namespace}} for each in there]
            return 200, {"apiVersion": "v1", "kind": "PodList", "items": pods}
        if kind == "jobs" and (namespace, name) not in self.jobs:
            return 404, _build_status(404, f"{name} not found")
        if verb == "delete":
            self.jobs.pop((namespace, name), None)
            return 200, _build_status(200, "")
        return 200, self.jobs[namespace, name]


def _build_status(code: int, message: str) -> dict[str, Any]:
    return {"kind": "Status", "apiVersion": "v1", "code": code, "message": message}


def list_rights(roles: list[dict[str, Any]]) -> set[Right]:
    """Return the rights that Role manifests grant in their namespaces."""
    return {
        (role["metadata"]["namespace"], f"{group}/{resource}".lstrip("/"), verb)
        for role in roles
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


@contextmanager
def run_cluster(rights: set[Right], kubeconfig: Path) -> Iterator[Cluster]:
    """Run a cluster's API for the block and write `kubeconfig` for it."""
    cluster = Cluster(rights)

    class Handler(BaseHTTPRequestHandler):
        def _handle(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            code, content = cluster.answer(self.command, self.path, body)
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        do_GET = do_POST = do_DELETE = do_PUT = do_PATCH = _handle

    with serve(Handler) as address:
        named = {"name": "test", "cluster": {"server": address}}
        context = {"name": "test", "context": {"cluster": "test", "user": "test"}}
        config = {"clusters": [named], "contexts": [context], "users": [{"name": "test", "user": {}}]}
        whole = {"apiVersion": "v1", "kind": "Config", "current-context": "test"} | config
        kubeconfig.write_text(yaml.safe_dump(whole))
        yield cluster
