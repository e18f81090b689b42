"""Folders may be called anything: every command works where names hold quotes, spaces, signs and letters of others."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization

from pipelines.cli import main
from privacy.keys import KeyRing
from sources.extract.landing import find
from tests.support import PROJECT
from tests.support.daily import mark_slow_after
from tests.support.independent import write_extracts
from tests.support.installation.commands import build_settings, run_readiness
from tests.support.returns.agreements import Recipients, write

COHORT, VERSION, NEXT = "202425", "2026.11.0", "2026.11.1"
COUNCILS = ("leeds", "wirral")
NAME = "O'Brien's 100% höme"
FURTHER_NAMES = "/".join(("a & b", "a;b=c&d", 'a "quoted" name', "[a-z]* {b}", "cohort=202324"))
"""Folders within folders: each name is in the path of every file."""


class Place:
    """An installation whose folders all lie in one of an odd name."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True)
        self.landing, self.home, self.keys = root / "landing", root / "home", root / "keys"

    def says(self, *arguments: str | Path, status: int = 0) -> str:
        """What a command prints, which must end with this status."""
        environment = {name: value for name, value in build_settings(self.root).items() if name != "READINESS_LANDING"}
        done = CliRunner().invoke(main, [str(argument) for argument in arguments], env=environment)
        assert done.exit_code == status, (arguments, done.output, done.exception)
        return done.output

    def run(self, version: str, *more: str) -> None:
        """In a process of its own, as people do it."""
        done = run_readiness(self.root, "run", "--cohort", COHORT, "--release", version, *more)
        assert done.returncode == 0, done.stdout + done.stderr

    def file(self, council: str, source: str) -> Path:
        return self.landing / council / source / f"{COHORT}.csv"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / NAME)


@pytest.mark.slow
def test_the_whole_path_in_a_folder_with_an_odd_name(place: Place) -> None:
    write_extracts(place.landing, children=240, councils=COUNCILS)
    place.run(VERSION, "--create-keys")
    bundle = place.home / "release" / VERSION
    assert f"release {VERSION}" in place.says("verify", bundle)
    assert "what the noisy counts give" in place.says("recompute", bundle)
    assert COHORT in place.says("budget")
    assert "Good level of" in place.says("plan", "--cohort", COHORT, "--landing", place.landing)
    assert "Leeds" in place.says("status", "--landing", place.landing, "--cohort", COHORT)
    assert "eyfsp" in place.says(
        "link", "explain", "--cohort", COHORT, "eyfsp/leeds/1", "school_census/leeds/1", "--json"
    )
    _returns_are_made_and_opened(place)
    _a_child_is_forgotten(place)
    place.run(NEXT, "--share", "0.2")
    assert NEXT in place.says("diff", VERSION, NEXT)
    _releases_are_published_and_withdrawn(place)
    assert "Nothing is past its retention period" in place.says("retention", "--landing", place.landing)
    assert "leeds/hv_reviews" in place.says("shred", "--landing", place.landing, "--yes")
    assert not place.file("leeds", "hv_reviews").exists()
    place.says("doctor", "--landing", place.landing)
    assert "None was changed or removed" in place.says("log", "--verify")


def _returns_are_made_and_opened(place: Place) -> None:
    recipients, agreements = Recipients(place.root / "recipients"), place.root / "agreements"
    for council in COUNCILS:
        write(agreements, council, recipients)
    place.says("returns", "make", "--cohort", COHORT, "--agreements", agreements)
    signer, out = place.root / "signer.pem", place.root / "opened"
    public = KeyRing.load(place.keys).signing_key.public_key()
    signer.write_bytes(public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    made = place.home / "restricted" / "returns" / "leeds" / "hv_reviews" / f"{COHORT}.age"
    options = ["--extract", place.file("leeds", "hv_reviews"), "--key", recipients.get_key("leeds", "health")]
    place.says("returns", "open", made, *options, "--signer", signer, "--out", out)
    assert {path.suffix for path in out.iterdir()} == {".csv", ".xlsx", ".html"}
    assert "leeds/hv_reviews" in place.says("returns", "log")


def _a_child_is_forgotten(place: Place) -> None:
    row = ["--cohort", COHORT, "--council", "leeds", "--source", "eyfsp", "--row", "1"]
    assert "Would be removed" in place.says("forget", *row, "--landing", place.landing, status=4)
    removed = place.says("forget", *row, "--landing", place.landing, "--objection", "--yes")
    assert "Removed" in removed
    assert str(place.file("leeds", "eyfsp")) in removed


def _releases_are_published_and_withdrawn(place: Place) -> None:
    to = place.root / "published"
    to.mkdir()
    for version in (VERSION, NEXT):
        place.says("publish", version, "--to", to, "--yes")
    assert (to / VERSION / "SHA256SUMS").read_bytes() == (place.home / "release" / VERSION / "SHA256SUMS").read_bytes()
    place.says("withdraw", VERSION, "--reason", "A council corrected its file.", "--yes")
    place.says("publish", NEXT, "--to", to, "--yes")


@pytest.mark.parametrize("name", mark_slow_after(1, [NAME, FURTHER_NAMES]))
def test_a_council_drafts_its_file_and_pseudonymises_an_extract_there(tmp_path: Path, name: str) -> None:
    place = Place(tmp_path / name)
    place.says("synth", "--landing", place.landing, "--cohort", COHORT, "--scale", "0.002")
    assert (place.root / "truth.parquet").exists()
    landed = find(place.landing, "leeds", "hv_reviews", COHORT)
    file = shutil.copy(PROJECT / "sources" / "councils" / "leeds.yaml", place.root)
    place.says("council", "check", file, "--sample", landed.path)
    (place.root / "draft").mkdir()
    place.says("council", "new", "leeds", "--sample", landed.path, "--out", place.root / "draft" / "leeds.yaml")
    assert (place.root / "draft" / "leeds.yaml").exists()
    place.says("keys", "create", place.keys)
    directory, out = place.landing / "reference" / "postcode_directory.csv", place.root / "out"
    place.says("pseudonymise", landed.path, "--council-file", file, "--postcode-directory", directory, "--out", out)
    assert (out / f"{COHORT}.tokens.parquet").exists()
