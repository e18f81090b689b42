"""Runs in its own environment: renders a chart with Helm's library, and checks manifests with Kubernetes' schemas.

render CHART VALUES   {"faults": [...], "manifests": [...]}
check < manifests     {"<version> <kind> <name>": "<fault>", ...}
"""

import json
import sys

import helm_python
import kubernetes_validate
import yaml

VERSIONS = ("1.27", "1.37")
"""The oldest version that the chart allows, and the newest with published schemas."""


def render(chart: str, values: dict) -> dict[str, list]:
    """Render a release `readiness` in the namespace of that name; if there are faults, there are no manifests."""
    faults = helm_python.lint(chart, values, strict=True, namespace="readiness")["errors"]
    if faults:
        return {"faults": faults, "manifests": []}
    files = helm_python.Chart.load(chart).render(values, name="readiness", namespace="readiness").values()
    return {"faults": [], "manifests": [each for text in files for each in yaml.safe_load_all(text) if each]}


def check(manifests: list[dict]) -> dict[str, str]:
    """Return faults by manifest; a field unknown to the schemas is a fault."""
    found = {}
    for version in VERSIONS:
        for manifest in manifests:
            try:
                kubernetes_validate.validate(manifest, version, strict=True)
            except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
                found[f"{version} {manifest['kind']} {manifest['metadata']['name']}"] = error.message
    return found


asked, *given = sys.argv[1:]
print(json.dumps(render(given[0], json.loads(given[1])) if asked == "render" else check(json.load(sys.stdin))))
