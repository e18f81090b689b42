"""Runs cohorts one after another in one process and one home folder, to see what each leaves in memory and storage.

    python -m bench.pipeline.cohorts FOLDER [--england] [--last 203031] [--cohorts 10]

FOLDER is created. Each cohort is landed, taken from landing to its own release and rebuilt into the analyst database;
its extracts are then removed. Prints one line per cohort: seconds, memory in use afterwards and at the peak, and the
size of Dagster's storage, the restricted and the release zone. Separate processes would start from nothing each time;
one process shows leaks.
"""

import argparse
import gc
import io
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path

from assets.home.installation import Installation
from assets.release.fix_release import ReleaseOptions
from bench.pipeline.commands import READINESS, measure_folders, measure_memory, reset_peak
from pipelines.run import run_cohort
from privacy.doors.environment import RETENTION
from privacy.keys import KeyRing
from sources.reference.cohorts import Cohort


def main() -> None:
    options = _read_options()
    root = options.folder
    root.mkdir(parents=True)
    os.environ[RETENTION] = str(_extend_retention(root))
    KeyRing.create(root / "keys", demonstration=True)
    folders = Installation.build(root / "landing", root / "home", root / "keys")
    print("| cohort | seconds | memory after, GiB | peak | Dagster, MiB | restricted, GiB | release, GiB |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for number, cohort in enumerate(_list_cohorts(options.last, options.cohorts), 1):
        synth = [READINESS, "synth", "--landing", str(root / "landing"), "--cohort", cohort.code, "--contract-names"]
        subprocess.run([*synth, *(["--england"] if options.england else [])], check=True, stdout=subprocess.DEVNULL)
        reset_peak()
        began = time.monotonic()
        with redirect_stdout(io.StringIO()):
            run_cohort(folders, cohort, f"2026.11.{number}", ReleaseOptions(), lambda _: None)
        seconds = time.monotonic() - began
        shutil.rmtree(root / "landing")
        gc.collect()
        held = measure_folders(root / "home")
        print(
            f"| {cohort.code} | {seconds:.0f} | {measure_memory('self', 'VmRSS'):.2f}"
            f" | {measure_memory('self', 'VmHWM'):.2f}"
            f" | {held['dagster'] * 1024:.1f} | {held['restricted']:.2f} | {held['release']:.2f} |",
            flush=True,
        )


def _read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--england", action="store_true", help="153 councils instead of eight")
    parser.add_argument("--last", default="203031", help="the latest cohort")
    parser.add_argument("--cohorts", type=int, default=10)
    return parser.parse_args()


def _list_cohorts(last: str, count: int) -> list[Cohort]:
    """Return this many cohorts ending with `last`, earliest first."""
    ends = int(last[:4]) + 1
    return [Cohort(f"{end - 1}{end % 100:02d}") for end in range(ends - count + 1, ends + 1)]


def _extend_retention(root: Path) -> Path:
    """Return the project's policy with a longer retention, because the earliest cohort here would have expired."""
    own = (Path(__file__).parents[2] / "privacy" / "retention.yaml").read_text(encoding="utf-8")
    policy = root / "retention.yaml"
    policy.write_text(re.sub(r"cohort_months: \d+", "cohort_months: 400", own), encoding="utf-8")
    return policy


if __name__ == "__main__":
    sys.exit(main())
