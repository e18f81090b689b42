"""Runs in pods of their own on Kubernetes (extra `kubernetes`): the launcher that `packaging/kubernetes` names."""

import dagster as dg
from dagster_k8s import K8sRunLauncher
from dagster_k8s.container_context import K8sContainerContext


class PodLauncher(K8sRunLauncher):
    """A Kubernetes Job for each run, as the code location of the run describes it, and nobody else.

    Dagster's own launcher follows the run's tag `dagster-k8s/config` as well, which whoever starts a run may write:
    another image, another secret, or an environment without the ledger's URL, so that a release is charged nowhere.
    """

    def get_container_context_for_run(self, dagster_run: dg.DagsterRun) -> K8sContainerContext:
        return K8sContainerContext.create_for_run(dagster_run, self, include_run_tags=False)
