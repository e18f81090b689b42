"""The first intake settles whose signature counts; a demonstration is one of synthetic extracts alone."""

import shutil
from pathlib import Path

import dagster as dg
import pytest

from assets.catalogue.runs import note_councils, tag_partition_range
from assets.home.installation import Installation
from assets.home.paths import Home
from assets.home.signers import open_signature_log
from assets.intake.ingest import Intake
from pipelines.definitions import build_definitions
from pipelines.reports.doctor import examine
from privacy.keys import DEMONSTRATION_FILE, RESTRICTED, SIGNING_FILE, KeyRing
from privacy.release.approval import RecordedSigners, SignOffs
from sources.extract.landing import find
from tests.support.extracts import COHORT, build_row, format_rows
from tests.support.independent import write_extracts
from tests.support.release.people import ANNA, BRAM, Signer, write_policy

COUNCILS = ("halton", "leeds")
MALLORY = Signer.create("Mallory Unnamed")

pytestmark = pytest.mark.usefixtures("at_usual_moment")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    write_extracts(tmp_path / "landing", children=40, councils=COUNCILS)
    return Home(tmp_path / "home")


@pytest.fixture
def demonstration(tmp_path: Path) -> KeyRing:
    return KeyRing.create(tmp_path / "keys", demonstration=True)


def name(folder: Path, monkeypatch: pytest.MonkeyPatch, *signers: Signer) -> None:
    monkeypatch.setenv("READINESS_POLICY", str(write_policy(folder / "policy.yaml", signers)))


def ingest(home: Home, keys: KeyRing, council: str = "leeds") -> None:
    landing = home.root.parent / "landing"
    Intake(landing, home, keys).ingest(find(landing, council, "eyfsp", COHORT))


def recorded(home: Home) -> RecordedSigners:
    return SignOffs(home.open_ledger()).recorded


def test_the_first_intake_records_people_also_where_dagster_starts_it(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that who runs the pipeline does not name herself between intake and release."""
    name(tmp_path, monkeypatch, ANNA, BRAM)
    KeyRing.create(tmp_path / "keys")
    definitions = build_definitions(Installation(tmp_path / "landing", home, tmp_path / "keys"))
    with dg.DagsterInstance.ephemeral() as instance:
        known = note_councils(instance, COUNCILS)
        done = definitions.resolve_job_def("intake").execute_in_process(
            instance=instance,
            tags=tag_partition_range(["leeds"], COHORT, known),
            asset_selection=[dg.AssetKey(["restricted", "eyfsp"])],
        )
    assert done.success
    name(tmp_path, monkeypatch, MALLORY)
    open_signature_log(home)
    assert set(recorded(home).people) == {ANNA.person, BRAM.person}


def test_an_intake_without_a_ledger_keeps_whom_the_policy_named(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a code location of its own, which has neither the ledger nor the key that signs releases."""
    name(tmp_path, monkeypatch, ANNA)
    keys = KeyRing.create(tmp_path / "keys", demonstration=True)
    apart = Path(shutil.copytree(tmp_path / "keys", tmp_path / "apart"))
    for file in (SIGNING_FILE, DEMONSTRATION_FILE):
        (apart / file).unlink()
    ingest(home, KeyRing.load(apart, RESTRICTED))
    assert not (home.root / "ledger.sqlite").exists()
    name(tmp_path, monkeypatch, MALLORY)
    open_signature_log(home, keys)
    assert recorded(home).people == (ANNA.person,)


def is_said_to_be_demonstration(home: Home) -> bool:
    """Whether doctor calls the installation a demonstration."""
    found = examine(home.root, home.root.parent / "landing", home.root.parent / "keys")
    return any(each.sentence.startswith("a demonstration: ") for each in found)


def test_a_real_extract_ends_a_demonstration_for_good(home: Home, demonstration: KeyRing) -> None:
    """Also beside a marker, under the name of a synthetic one, and where that takes its place again."""
    ingest(home, demonstration)
    open_signature_log(home, demonstration)
    assert is_said_to_be_demonstration(home)
    path = home.root.parent / "landing" / "leeds" / "eyfsp" / f"{COHORT}.csv"
    synthetic = path.read_bytes()
    path.write_text(format_rows([build_row("eyfsp")] * 20))
    ingest(home, demonstration)
    path.write_bytes(synthetic)
    ingest(home, demonstration)
    open_signature_log(home, demonstration)
    assert recorded(home).people == ()
    assert not recorded(home).may_be_demonstration
    assert not is_said_to_be_demonstration(home)


def test_a_real_extract_in_parts_ends_it_as_well(home: Home, demonstration: KeyRing) -> None:
    part = home.root.parent / "landing" / "leeds" / "eyfsp" / COHORT / "2025-01.csv"
    part.parent.with_name(f"{COHORT}.csv").unlink()
    part.parent.mkdir()
    part.write_text(format_rows([build_row("eyfsp")] * 20))
    ingest(home, demonstration)
    open_signature_log(home, demonstration)
    assert recorded(home).people == ()
