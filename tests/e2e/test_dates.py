"""The path of `make demo` on days on which clocks and calendars go wrong, in time zones that have another day."""

import json
from pathlib import Path

import pytest

from ndl_export.bundle.verify import verify
from privacy.release.ledger import Ledger
from tests.support.installation.commands import run_readiness
from tests.support.rehearsals import REHEARSED

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("start", "zone", "cohort"),
    [
        ("2026-12-31T23:59:50", "Asia/Tokyo", "202425"),
        ("2028-02-29T20:00", "America/Los_Angeles", "202526"),
        ("2036-09-01", "America/Los_Angeles", "203435"),
    ],
)
def test_the_demonstration_is_made_on_any_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: str, zone: str, cohort: str
) -> None:
    monkeypatch.setenv("TZ", zone)
    monkeypatch.setenv(REHEARSED, "1")

    def run(*words: str) -> str:
        done = run_readiness(tmp_path, *words, simulated_date=start)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("synth", "--landing", "landing", "--cohort", cohort, "--scale", "0.02")
    run("run", "--cohort", cohort, "--create-keys")
    (bundle,) = (path.parent for path in (tmp_path / "home" / "release").glob("*.*.*/SHA256SUMS"))
    assert verify(bundle).ok, str(verify(bundle))
    assert bundle.name == f"{start[:4]}.{start[5:7]}.0"
    package = json.loads((bundle / "datapackage.json").read_text())
    assert package["created"][:10] == start[:10]
    ledger = Ledger(tmp_path / "home" / "ledger.sqlite")
    assert all(entry.recorded_at >= start for entry in ledger.list_entries())
    pages = [*bundle.rglob("*.html"), bundle / "README.md", bundle / "datapackage.json"]
    assert [page.name for page in pages if "The date is simulated." not in page.read_text()] == []
    assert run("run", "--cohort", cohort).count("unchanged") == 3
