"""One real run of the whole graph over extracts of another generator, and what its users then find."""

import datetime as dt
import gc
import json
import shutil
import subprocess
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from assets.home.paths import Home
from assets.linkage.row_numbers import RowNumbers
from ndl_export.bundle.verify import verify
from ndl_export.facts.bundle_reader import read_contents
from privacy.doors import clock
from privacy.keys import KeyRing
from privacy.services import SERVICES
from sources.reference.places import get_place
from tests.support.extracts import append, make_upn
from tests.support.independent import GOALS, Truth, write_extracts
from tests.support.installation.commands import run_readiness
from tests.support.installation.rig import Site, check_nothing_leaked
from tests.support.installation.traces import hash_files
from tests.support.planted import PROFILE, REVIEW
from tests.support.rehearsals import REHEARSED
from tests.support.release.people import read_page
from tests.support.returns.agreements import Recipients, write

pytestmark = pytest.mark.usefixtures("at_usual_moment")
COHORT = "202425"


@dataclass(frozen=True)
class Run:
    root: Path
    truth: Truth
    output: str

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def bundle(self) -> Path:
        return self.home / "release" / "2026.11.0"


def run_release(root: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return run_readiness(root, "run", "--cohort", COHORT, "--release", "2026.11.0", *more)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = tmp_path_factory.mktemp("run")
    truth = write_extracts(root / "landing", children=1600)
    # one child whose identifiers occur nowhere else, in an education and a health extract
    append(root / "landing" / "leeds" / "eyfsp" / f"{COHORT}.csv", PROFILE, PROFILE | {GOALS[0]: "9"})
    append(root / "landing" / "leeds" / "hv_reviews" / f"{COHORT}.csv", REVIEW)
    KeyRing.create(root / "keys", demonstration=True)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(REHEARSED, "1")
        done = run_release(root)
    assert done.returncode == 0, done.stdout + done.stderr
    assert Home(root / "home").rehearsed("2026.11.0").exists()
    return Run(root, truth, done.stdout + done.stderr)


def test_the_bundle_is_sound_holds_no_identifier_and_every_gld_figure_is_near_the_truth(run: Run) -> None:
    """Within twice the half-width of its 95% interval, which one honest figure in 10,000 is not."""
    report = verify(run.bundle, run.bundle / "public_key.pem")
    assert report.ok, str(report)
    (run.root / "output.txt").write_text(run.output)
    check_nothing_leaked(Site(run.root))
    table = pq.read_table(run.bundle / "gld_headline.parquet")
    con = duckdb.connect()
    con.register("headline", table)
    for council, children in run.truth.children.items():
        planted = council == "leeds"
        ((percent, lower, upper),) = con.execute(
            "SELECT gld_children_percent, gld_children_percent_lower_ci, gld_children_percent_upper_ci FROM headline"
            " WHERE new_la_code = ? AND breakdown_topic = 'Total' AND sex = 'Total'",
            [get_place(council).new_la_code],
        ).fetchall()
        expected = 100 * (run.truth.gld[council] + planted) / (children + planted)
        assert abs(percent - expected) <= upper - lower, council
        assert 0 < upper - lower < 30, council


def test_education_is_linked_to_health_visiting(run: Run) -> None:
    home, keys = Home(run.home), KeyRing.load(run.home.parent / "keys")
    links = RowNumbers(home.get_cohort(COHORT), keys).replace_keys(pq.read_table(home.get_cohort(COHORT).links))
    rows: dict[str, dict[str, list[tuple[str, int]]]] = defaultdict(lambda: defaultdict(list))
    for link in links.to_pylist():
        rows[link["child_id"]][link["source"]].append((link["council"], link["source_row"]))
    found = {(e, h) for child in rows.values() for e in child["eyfsp"] for h in child["hv_reviews"]}
    right = len(found & run.truth.pairs)
    assert 2 * right / (len(found) + len(run.truth.pairs)) > 0.97
    assert {"upn", "probabilistic", "none"} <= set(links["match_rule"].to_pylist())


def test_running_again_changes_no_byte_and_no_time_of_the_home_and_spends_nothing(run: Run) -> None:
    def state() -> dict[str, tuple[bytes | str, int]]:
        paths = (path for path in run.home.rglob("*") if path.is_file() or path.is_symlink())
        return {
            str(path): (str(path.readlink()) if path.is_symlink() else path.read_bytes(), path.lstat().st_mtime_ns)
            for path in paths
        }

    # a ledger that an earlier test left open here would keep its write-ahead log
    gc.collect()
    budget = run_readiness(run.root, "budget").stdout
    before = state()
    again = run_release(run.root)
    assert again.returncode == 0, again.stdout + again.stderr
    assert again.stdout.count("unchanged") == 3
    after = state()
    assert {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)} == set()
    assert run_readiness(run.root, "budget").stdout == budget
    assert budget.count("measured") == 3


def test_a_clock_that_was_put_back_a_day_changes_nothing_and_hides_no_new_file(run: Run, tmp_path: Path) -> None:
    root = Path(shutil.copytree(run.root, tmp_path / "put back", symlinks=True))
    yesterday = {"simulated_date": (clock.now() - dt.timedelta(days=1)).isoformat()}
    again = run_readiness(root, "run", "--cohort", COHORT, **yesterday)
    assert again.returncode == 0, again.stdout + again.stderr
    assert again.stdout.count("unchanged") == 3
    assert "readiness: The date is simulated. Today is" in again.stderr
    path = root / "landing" / "leeds" / "eyfsp" / f"{COHORT}.csv"
    append(path, PROFILE | {"upn": make_upn(800_000_000_771), "surname": "Ollerenshaw"})
    status = run_readiness(root, "status", "--cohort", COHORT, **yesterday).stdout
    assert "The next run takes in 1 landed extract first, of: Leeds" in " ".join(status.split())
    more = run_readiness(root, "run", "--cohort", COHORT, "--until", "intake", **yesterday)
    assert more.returncode == 0, more.stdout + more.stderr
    quality = json.loads((root / f"home/restricted/quality/source=eyfsp/cohort={COHORT}/leeds.json").read_text())
    assert quality["taken_at"] < clock.format_now()
    assert "something was recorded at" in run_readiness(root, "doctor", **yesterday).stdout
    assert read_contents(root / "home" / "release" / "2026.11.0") == read_contents(run.bundle)


@pytest.mark.slow
def test_a_missing_council_must_be_said_and_is_stated(tmp_path: Path) -> None:
    root, bundle = tmp_path / "missing", tmp_path / "missing" / "home" / "release" / "2026.11.0"
    write_extracts(root / "landing", children=150, councils=("leeds", "sefton", "wirral"))
    KeyRing.create(root / "keys", demonstration=True)
    profile = root / "landing" / "wirral" / "eyfsp" / f"{COHORT}.csv"
    profile.rename(tmp_path / profile.name)
    (root / "landing" / "sefton" / "hv_reviews" / f"{COHORT}.csv").unlink()
    refused = run_release(root)
    assert refused.returncode == 1
    assert "no EYFS Profile extract from wirral" in refused.stderr
    assert "Wirral: no EYFS Profile since 31 July 2025" in refused.stdout
    asked = run_readiness(root, "status", "--cohort", COHORT)
    said = " ".join(asked.stdout.split())
    assert "would need --allow-missing for: Wirral (no EYFS Profile since 31 July 2025)" in said
    held = run_release(root, "--allow-missing")
    assert held.returncode == 4
    names = ("wirral/eyfsp/due-and-missing", "sefton/hv_reviews/due-and-missing")
    assert all(name in held.stderr for name in names)
    options = [option for name in names for option in ("--hold", name)]
    key = str(root / "keys" / "demo-approver.pem")
    page = read_page(run_readiness(root, "accept", "--cohort", COHORT).stdout)
    options += ["--reason", "They will not come.", *page, "--key", key]
    accepted = run_readiness(root, "accept", "--cohort", COHORT, *options)
    assert accepted.returncode == 0, accepted.stderr
    allowed = run_release(root, "--allow-missing")
    assert allowed.returncode == 0, allowed.stderr
    assert verify(bundle).ok, str(verify(bundle))
    readme = (bundle / "README.md").read_text()
    assert "- Wirral: no EYFS Profile; its rows in `gld_headline`" in readme
    assert "- Sefton: no health-visitor reviews; its rows in `asq3_outcomes`" in readme
    package = json.loads((bundle / "datapackage.json").read_text())
    # noise may show as well that a review is not sent: these extracts have the two-year review alone
    sources = {name: absent for name, absent in package["missing"][COHORT].items() if "/" not in name}
    assert sources == {"eyfsp": ["wirral"], "hv_reviews": ["sefton"]}
    headline = pq.read_table(bundle / "gld_headline.parquet").to_pandas()
    assert set(headline[headline.children_count_flag == "x"].la_name) == {"Wirral"}

    before = read_contents(bundle)
    again = run_release(root, "--allow-missing")
    assert again.returncode == 0, again.stderr
    (tmp_path / profile.name).rename(profile)
    # what comes after the charge is for the next release
    late = run_release(root)
    assert late.returncode == 0, late.stderr
    assert read_contents(bundle) == before


@pytest.mark.slow
def test_no_byte_of_a_release_changes_whether_returns_are_made_or_not(run: Run, tmp_path: Path) -> None:
    root = Path(shutil.copytree(run.root, tmp_path / "returned", symlinks=True))
    home, recipients, agreements = Home(root / "home"), Recipients(root / "recipients"), root / "agreements"

    def digests() -> dict[str, str]:
        found = hash_files(home.release) | hash_files(home.get_cohort(COHORT).linked)
        return {name: digest for name, digest in found.items() if not name.endswith("readiness.duckdb")}

    assert not home.returns.exists()
    before = digests()
    for council in run.truth.children:
        write(agreements, council, recipients)
    made = run_readiness(root, "returns", "make", "--cohort", COHORT, "--agreements", agreements)
    assert made.returncode == 0, made.stderr
    assert len(list(home.returns.glob("*/*/*.age"))) == len(SERVICES) * len(run.truth.children)
    assert digests() == before
    shutil.rmtree(home.release)
    again = run_readiness(root, "run", "--cohort", COHORT, "--release", "2026.11.0", agreements=agreements)
    assert again.returncode == 0, again.stderr
    assert digests() == before
