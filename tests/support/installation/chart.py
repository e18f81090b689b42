"""The chart as rendered by Helm, and the messages of Kubernetes' schemas about manifests (`make validators`)."""

import functools
import json
import subprocess
from typing import Any

from tests.support import PROJECT
from tests.support.export.standard_validators import find_program

CHART = PROJECT / "packaging" / "kubernetes"
_PROGRAM = PROJECT / "tests" / "support" / "export" / "standard_validators" / "kubernetes_chart.py"

Manifest = dict[str, Any]


@functools.cache
def _render(values: str) -> str:
    return _run("render", str(CHART), values)


def lint(**values: Any) -> list[str]:
    """Return the faults that Helm finds in the chart, with `values` added to the shipped ones."""
    return json.loads(_render(json.dumps(values)))["faults"]


def render_manifests(**values: Any) -> list[Manifest]:
    """Return the manifests of a release `readiness` in the namespace `readiness`."""
    return json.loads(_render(json.dumps(values)))["manifests"]


def find_faults(manifests: list[Manifest]) -> dict[str, str]:
    """Return the faults of manifests by Kubernetes' oldest and newest schemas; an unknown field is a fault."""
    return json.loads(_run("check", stdin=json.dumps(manifests)))


def _run(*arguments: str, stdin: str = "") -> str:
    command = [find_program("kubernetes"), _PROGRAM, *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=True).stdout


def find_manifest(kind: str, name: str, namespace: str = "readiness") -> Manifest:
    """Return the one manifest of this kind and name in a namespace."""
    wanted = {"name": name, "namespace": namespace}
    (found,) = (
        each for each in render_manifests() if each["kind"] == kind and wanted.items() <= each["metadata"].items()
    )
    return found


def list_pods(manifests: list[Manifest]) -> dict[str, Manifest]:
    """Return the pod specifications of Deployments, CronJobs and Jobs, by kind, namespace and name."""
    found = {}
    for each in manifests:
        spec = each.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if "template" in spec:
            meta = each["metadata"]
            found[f"{each['kind']} {meta['namespace']}/{meta['name']}"] = spec["template"]["spec"]
    return found


def list_secrets(pod: Manifest) -> set[str]:
    found = {volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume}
    for container in pod["containers"]:
        found |= {each["secretRef"]["name"] for each in container.get("envFrom", ()) if "secretRef" in each}
        values = [each["valueFrom"] for each in container.get("env", ()) if each.get("valueFrom")]
        found |= {value["secretKeyRef"]["name"] for value in values}
    return found


def list_claims(pod: Manifest) -> dict[str, bool]:
    """Return the volume claims that a pod mounts, and whether it may write to them."""
    of = {v["name"]: v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"] if "persistentVolumeClaim" in v}
    mounts = [mount for container in pod["containers"] for mount in container["volumeMounts"]]
    return {of[each["name"]]: not each.get("readOnly", False) for each in mounts if each["name"] in of}


def list_unrestricted(pod: Manifest) -> set[str]:
    """Return the ways in which a pod fails Kubernetes' Pod Security standard `restricted`, as far as they can apply to
    our pods, and our further rule of a read-only root file system."""
    wrong = {key for key in ("hostNetwork", "hostPID", "hostIPC") if pod.get(key)}
    kinds = {kind for volume in pod["volumes"] for kind in volume if kind != "name"}
    wrong |= kinds - {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "secret"}
    own = pod["securityContext"]
    if not own.get("runAsNonRoot") or not own.get("runAsUser"):
        wrong.add("root")
    if own.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        wrong.add("seccomp")
    for container in [*pod["containers"], *pod.get("initContainers", ())]:
        held = container.get("securityContext", {})
        if held.get("allowPrivilegeEscalation") is not False or held.get("privileged") or held.get("runAsUser") == 0:
            wrong.add("privileges")
        if held.get("capabilities") != {"drop": ["ALL"]}:
            wrong.add("capabilities")
        if held.get("readOnlyRootFilesystem") is not True:
            wrong.add("root file system")
    return wrong
