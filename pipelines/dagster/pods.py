"""Runs in separate pods on Kubernetes (extra `kubernetes`): the launcher that `packaging/kubernetes` names."""

import dagster as dg
from dagster_k8s import K8sRunLauncher
from dagster_k8s.container_context import K8sContainerContext


class PodLauncher(K8sRunLauncher):
    """Launcher of one Kubernetes Job per run, configured only by the run's code location.

    Dagster's own launcher also follows the tag `dagster-k8s/config`, which anyone who starts a run can write: another
    image, another secret, or an environment without the ledger's URL, so that a release is charged nowhere.
    """

    def get_container_context_for_run(self, dagster_run: dg.DagsterRun) -> K8sContainerContext:
        return K8sContainerContext.create_for_run(dagster_run, self, include_run_tags=False)
