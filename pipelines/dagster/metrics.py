"""`readiness metrics`: the state of an installation for Prometheus. No value is a count that releases measure."""

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import dagster as dg
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from assets.home.paths import Home
from assets.release.release import Release
from assets.release.sign_off import is_done
from pipelines.dagster import instance, jobs
from privacy.release.ledger_storage import EntryKind
from privacy.release.policy import Stage

_SUCCEEDED, _FAILED = dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE
_JOBS = [*(job.name for job in (*jobs.RESTRICTED_JOBS, *jobs.RELEASE_JOBS, jobs.returns_job)), "__ASSET_JOB"]
"""The last is Dagster's name for runs of assets without a job, started by the automation or the button Materialize."""

Sample = tuple[Iterable[str], float]
"""The values of the labels, and the figure."""


class InstallationCollector(Collector):
    """Collector for runs, deliveries, waiting releases, disks and budget; it reads everything again for each scrape."""

    def __init__(self, home: Home, folders: Iterable[tuple[str, Path]]) -> None:
        self._home, self._folders = home, tuple(folders)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield every metric. Raises `LedgerError` if the ledger is broken: a scrape that fails is an alarm, too."""
        yield from self._collect_runs()
        yield _build_gauge(
            "newest_delivery_timestamp_seconds", "When an extract last came in.", "source", self._collect_newest()
        )
        yield _build_gauge(
            "releases_waiting", "Releases that wait for people to sign.", "stage", self._collect_waiting()
        )
        free = [((name,), shutil.disk_usage(folder).free) for name, folder in self._folders if folder.is_dir()]
        yield _build_gauge("disk_free_bytes", "Free space on the disk of a folder.", "folder", free)
        ledger = self._home.open_ledger()
        accounts = [(entry.cohort, entry.unit) for entry in ledger.list_entries() if entry.kind == EntryKind.APPROVE]
        caps, left = ([(each, read(*each)) for each in accounts] for read in (ledger.get_cap, ledger.compute_remaining))
        yield _build_gauge("budget_cap_rho", "Approved privacy budget, rho.", "cohort unit", caps)
        yield _build_gauge("budget_remaining_rho", "Privacy budget left, rho.", "cohort unit", left)

    def _collect_runs(self) -> Iterator[GaugeMetricFamily]:
        with instance.open_history(self._home) as runs:
            for status, word in ((_SUCCEEDED, "success"), (_FAILED, "failure")):
                ended = {name: runs.get_run_records(_build_runs_filter(name, status), limit=1) for name in _JOBS}
                last = [((name,), found[0].end_time or 0) for name, found in ended.items() if found]
                yield _build_gauge(f"last_{word}_timestamp_seconds", f"When a job last ended in {word}.", "job", last)
            failed = [((name,), runs.get_runs_count(_build_runs_filter(name, _FAILED))) for name in _JOBS]
            about = "Failed runs in Dagster's history, from which retention removes."
            yield _build_gauge("runs_failed", about, "job", failed)

    def _collect_newest(self) -> Iterator[Sample]:
        for source in sorted((self._home.restricted / "quality").glob("source=*")):
            # from the files' times, so that no result of an intake is opened
            times = [path.stat().st_mtime for path in source.glob("cohort=*/*.json")]
            if times:
                yield (source.name.removeprefix("source="),), max(times)

    def _collect_waiting(self) -> Iterator[Sample]:
        # a decision sheet is written for everything that waits for signatures
        sheets = self._home.get_decision_sheet_path("", "").parent
        for stage in Stage:
            versions = [path.name.removesuffix(f"-{stage}.html") for path in sheets.glob(f"*-{stage}.html")]
            yield (stage,), sum(not is_done(Release(self._home, version), stage) for version in versions)


def _build_runs_filter(job: str, status: dg.DagsterRunStatus) -> dg.RunsFilter:
    return dg.RunsFilter(job_name=job, statuses=[status])


def _build_gauge(name: str, about: str, labels: str, samples: Iterable[Sample]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"readiness_{name}", about, labels=labels.split())
    for values, figure in samples:
        family.add_metric([str(value) for value in values], figure)
    return family
