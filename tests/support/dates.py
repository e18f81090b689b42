"""Runs tests on days on which clocks and calendars go wrong, in time zones that have another day: `make test-dates`.

The tests' own clock (`tests.conftest`) begins at each of these moments. So does the machine's, if libfaketime is
installed (Debian: `libfaketime`), for whatever does not ask the project's clock.
"""

import datetime as dt
import os
import subprocess
import sys
from pathlib import Path

MOMENTS = {
    "2026-12-31T23:59:50+00:00": "Asia/Tokyo",
    "2027-09-01T00:00:10+00:00": "America/Los_Angeles",
    "2028-02-29T12:00:00+00:00": "Asia/Tokyo",
    "2036-12-01T12:00:00+00:00": "America/Los_Angeles",
}
"""Time zones of the moments at which the tests begin: a new year, a new cohort, a leap day, ten years on."""


def main() -> None:
    """Run pytest with the given arguments at each moment, and exit with 1 if tests failed at one."""
    failed = []
    for moment, zone in MOMENTS.items():
        print(f"{moment}, {zone}:", flush=True)
        environment = os.environ | {"READINESS_TEST_MOMENT": moment, "TZ": zone} | _build_false_clock(moment)
        if subprocess.run([sys.executable, "-m", "pytest", *sys.argv[1:]], env=environment).returncode:
            failed.append(moment)
    sys.exit(f"Tests failed at {', '.join(failed)}." if failed else 0)


def _build_false_clock(moment: str) -> dict[str, str]:
    """Return the settings of libfaketime that put the machine's clock at a moment; none if it is not installed."""
    libraries = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not libraries:
        return {}
    ahead = dt.datetime.fromisoformat(moment) - dt.datetime.now(dt.UTC)
    # seconds from now rather than a moment, which each process would count from its own start
    return {
        "LD_PRELOAD": str(libraries[0]),
        "FAKETIME": f"{ahead.total_seconds():+.0f}s",
        # locks and timeouts count on the monotonic clock
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


if __name__ == "__main__":
    main()
