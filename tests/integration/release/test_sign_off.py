"""A release waits for people at both points: nothing is charged before, and nothing of it is where readers look."""

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result

from assets.home.paths import Home
from assets.linkage.inputs import Extract, LinkageRecord, write_record
from assets.release import decision_sheet, fix_release, planning, requests_to_sign, sign_off
from assets.release.measure import measure_release, publish_bundle
from assets.release.release import CohortRelease, Release
from ndl_export.bundle import make, release_directory
from ndl_export.bundle.verify import verify
from ndl_export.facts.bundle_reader import read_contents
from ndl_export.facts.release_facts import InvalidPublisher, list_versions
from privacy.keys import DEMONSTRATION_FILE, KeyRing
from privacy.release import canonical, child_table, session, statement
from privacy.release.approval import SignOffs, WaitsForApproval
from privacy.release.plan import Plan
from privacy.release.policy import PolicyError, Stage, load_policy
from sources.contracts import CONTRACTS
from tests.support.installation.commands import invoke
from tests.support.release.homes import COHORT, VERSION, build_quality, copy_home, make_home, note_compared, note_taken
from tests.support.release.people import ANNA, BRAM, Signer, change_people, name_people, read_page, sign_page

pytestmark = pytest.mark.usefixtures("people_sign")

COUNCILS = ["halton", "leeds"]
REVISION = "2026.11.1"


def linked_home(folder: Path) -> Home:
    home = make_home(folder / "home", 200, COUNCILS)
    link(home, "1")
    return home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return linked_home(tmp_path)


def link(home: Home, file_mac: str) -> None:
    """The record of a linkage in which the deliveries have this MAC."""
    sent = dict.fromkeys(CONTRACTS, COUNCILS)
    extracts = {f"{council}/eyfsp": Extract(file_mac * 64, "e" * 64) for council in COUNCILS}
    write_record(home.get_cohort(COHORT), LinkageRecord(COUNCILS, sent, extracts))
    for council in COUNCILS:
        note_taken(home, build_quality(council, "eyfsp", mac=file_mac * 64))
    note_compared(home, 1.0, file_mac * 64, *extracts)


def approve(home: Home, who: Signer | None, *options: str) -> Result:
    """As somebody types it who reads the sheet first; without anybody, the sheet alone."""
    about = () if "--people" in options else ("--cohort", COHORT, "--release", VERSION)
    return sign_page(home, ["approve", *about, *options], who)


def measure(home: Home, keys: KeyRing, version: str = VERSION, share: float | None = None) -> None:
    measure_release(
        CohortRelease(home.get_cohort(COHORT), version), keys, COUNCILS, fix_release.ReleaseOptions(share=share)
    )


@pytest.fixture(scope="module")
def made(keys: KeyRing, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home whose release was measured, and whose bundle waits for a signature; to be read and not written."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patched:
        name_people(folder, patched, [ANNA, BRAM])
        patched.setattr(fix_release, "_check_current_extracts", lambda *_: None)
        home = linked_home(folder)
        approve(home, ANNA)
        measure(home, keys)
        with pytest.raises(WaitsForApproval):
            publish_bundle(CohortRelease(home.get_cohort(COHORT), VERSION), keys)
    return home


@pytest.fixture
def unpublished(made: Home, tmp_path: Path) -> Home:
    return copy_home(made, tmp_path)


def test_a_policy_that_is_exchanged_while_it_is_read_charges_nothing(
    home: Home, keys: KeyRing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a named pipe can: the plan is made of one, and the gate reads the other, which people signed."""
    approve(home, ANNA)
    planned, content = CohortRelease.find_plan, yaml.safe_load((tmp_path / "policy.yaml").read_text())
    for account in content["accounts"].values():
        account["split"] = {family: rho / 2 for family, rho in account["split"].items()}
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(content))

    def exchanged(*about: Any) -> Plan:
        with monkeypatch.context() as meanwhile:
            meanwhile.setenv("READINESS_POLICY", str(tmp_path / "other.yaml"))
            return planned(*about)

    monkeypatch.setattr(CohortRelease, "find_plan", exchanged)
    with pytest.raises(PolicyError, match="the policy changed while the release was planned"):
        measure(home, keys)
    assert home.open_ledger().list_entries() == []


def test_nothing_is_charged_or_drawn_before_it_is_signed(home: Home, keys: KeyRing) -> None:
    with pytest.raises(WaitsForApproval, match=r"run: readiness approve --home .* --cohort 202425 --release 2026"):
        measure(home, keys)
    assert home.open_ledger().list_entries() == []
    assert not list(home.restricted.glob("measurements/**/*.json"))
    assert home.get_decision_sheet_path(VERSION, "measurement").exists()


@pytest.mark.slow
def test_it_goes_on_when_it_is_signed_and_is_held_until_it_is_signed_again(home: Home, keys: KeyRing) -> None:
    assert "1 of 1" in approve(home, ANNA).output
    measure(home, keys)
    assert "nothing left to measure: approve its bundle, with --publish" in approve(home, BRAM).output
    (cap, *_) = home.open_ledger().list_entries()
    (signature,) = re.findall(r"approved by ([0-9a-f]{64})", cap.note)
    assert cap.kind == "APPROVE"
    assert signature in {line.entry_hash for line in home.open_ledger().sign_offs()}
    with pytest.raises(WaitsForApproval, match=r"1 person before it is published, and has none: its bundle is made"):
        publish_bundle(CohortRelease(home.get_cohort(COHORT), VERSION), keys)
    assert (home.held / VERSION / "SHA256SUMS").exists()
    assert [path.name for path in home.held.iterdir()] == [VERSION]  # packed once it is published
    assert list_versions(home.release) == []
    assert not [path for path in home.release.rglob("*") if path.is_file()]
    assert not [path for path in (home.held, *home.held.rglob("*")) if path.stat().st_mode & 0o077]
    assert "1 of 1" in approve(home, BRAM, "--publish").output
    held = read_contents(home.held / VERSION)
    bundle = publish_bundle(CohortRelease(home.get_cohort(COHORT), VERSION), keys)
    assert bundle == home.release / VERSION
    assert read_contents(bundle) == held
    assert all((home.release / f"{VERSION}.{kind}").is_file() for kind in ("zip", "tar"))
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in (bundle, *bundle.rglob("*")))
    assert not list(home.held.iterdir())
    sign_off.check_publication(Release(home, VERSION))


def test_another_delivery_after_the_signature_needs_another(home: Home, keys: KeyRing) -> None:
    assert "has no bundle" in approve(home, ANNA, "--publish").output
    approve(home, ANNA)
    link(home, "2")
    with pytest.raises(WaitsForApproval, match="this differs: halton/eyfsp, leeds/eyfsp"):
        measure(home, keys)
    assert home.open_ledger().list_entries() == []
    assert approve(home, ANNA).exit_code == 0
    measure(home, keys)


def test_who_writes_herself_into_the_policy_changes_nothing_before_the_others_sign_it(
    home: Home, keys: KeyRing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mallory = Signer.create("Mallory Unnamed")
    approve(home, BRAM)
    name_people(tmp_path, monkeypatch, [mallory])
    assert "no recorded signer" in approve(home, mallory, "--share", "0.9").output
    assert "no recorded signer" in approve(home, mallory, "--people").output
    with pytest.raises(WaitsForApproval, match=r"The policy names other people than the ledger records.* --people"):
        measure(home, keys, share=0.9)
    message = approve(home, ANNA, "--people").output
    assert "Signed: the change of people, as privacy lead; 1 of 1." in message
    assert "there is no change to sign" in approve(home, None, "--people").output
    assert approve(home, mallory, "--share", "0.9").exit_code == 0


def test_what_moved_after_the_sheet_was_read_is_not_signed(home: Home, keys: KeyRing) -> None:
    """The operator asks for another share once the lead has read the sheet."""
    read = read_page(approve(home, None).output)
    key = ANNA.write_key_file(home.root.parent / "people")
    command = ("approve", "--home", home.root, "--cohort", COHORT, "--release", VERSION, "--key", key)
    for options, message in (
        ((*read, "--share", "0.9"), "the page is not the one that was read"),
        (("--share", "0.9"), "--sheet SHA256"),
    ):
        refused = invoke(*command, *options)
        assert (refused.exit_code != 0, message in refused.output) == (True, True)
    assert SignOffs(home.open_ledger()).approvals == []
    assert invoke(*command, *read, "--share", "0.9").exit_code == 1
    assert invoke(*command, *read, "--share", "1").exit_code == 0


def test_it_is_signed_on_a_persons_own_machine(home: Home, keys: KeyRing, tmp_path: Path) -> None:
    written = approve(home, None).output
    sheet, to_sign = (
        home.get_decision_sheet_path(VERSION, "measurement"),
        written.partition("File to sign: ")[2].split("\n")[0],
    )
    own = tmp_path / "own-machine"
    key = str(BRAM.write_key_file(own))
    taken = shutil.copy(to_sign, own / "to-sign")
    assert canonical.compute_sha256(sheet.read_bytes()) in Path(taken).read_text()
    command = ["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", key, "-in", "to-sign", "-out", "signature"]
    subprocess.run(command, cwd=own, check=True, capture_output=True)
    swapped = approve(home, None, "--share", "0.9", "--signature", str(own / "signature"))
    assert "the signature is of something else" in swapped.output
    found = approve(home, None, "--share", "1", "--signature", str(own / "signature"))
    assert "as statistics lead; 1 of 1" in found.output, found.output
    (ready,) = sign_off.list_ready_releases(home)
    assert (ready.stage, ready.release, ready.cohort, ready.options.share) == (Stage.MEASUREMENT, VERSION, COHORT, 1.0)
    measure(home, keys)
    assert sign_off.list_ready_releases(home) == []


def test_a_demonstration_beside_a_real_policy_spends_nothing(
    home: Home, keys: KeyRing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor where the policy is left out afterwards: the ledger knows who signs."""
    with pytest.raises(WaitsForApproval):
        measure(home, keys)
    monkeypatch.delenv("READINESS_POLICY")
    monkeypatch.delenv("READINESS_PUBLISHER")
    with pytest.raises(InvalidPublisher):
        measure(home, keys)
    monkeypatch.setenv("READINESS_PUBLISHER", str(tmp_path / "publisher.yaml"))
    with pytest.raises(WaitsForApproval, match="1 person before it is measured, and has none"):
        measure(home, keys)
    assert approve(home, ANNA).exit_code == 0
    assert home.open_ledger().list_entries() == []


def test_another_sets_demonstration_key_in_a_real_key_set_signs_nothing(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("READINESS_POLICY", "")
    KeyRing.create(tmp_path / "real")
    KeyRing.create(tmp_path / "demonstration", demonstration=True)
    shutil.copy(tmp_path / "demonstration" / DEMONSTRATION_FILE, tmp_path / "real")
    with pytest.raises(WaitsForApproval, match="name people in the policy first"):
        measure(home, KeyRing.load(tmp_path / "real"))
    assert home.open_ledger().list_entries() == []


@pytest.mark.slow
def test_what_is_measured_is_read_back_and_published_again_without_anybody(
    unpublished: Home, keys: KeyRing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = unpublished.get_cohort(COHORT)
    approve(unpublished, ANNA, "--publish")
    before = read_contents(publish_bundle(CohortRelease(store, VERSION), keys))
    name_people(tmp_path, monkeypatch, [BRAM])
    change_people(unpublished, ANNA)
    measure(unpublished, keys)
    assert read_contents(publish_bundle(CohortRelease(store, VERSION), keys)) == before
    shutil.rmtree(unpublished.release)
    assert read_contents(publish_bundle(CohortRelease(store, VERSION), keys)) == before
    with pytest.raises(WaitsForApproval, match=REVISION):
        measure(unpublished, keys, REVISION, 0.05)


@pytest.mark.slow
def test_a_held_bundle_that_was_changed_is_not_published(unpublished: Home, keys: KeyRing) -> None:
    approve(unpublished, ANNA, "--publish")
    (unpublished.held / VERSION / "README.md").write_text("Other figures.")
    assert "is not as it was made" in approve(unpublished, BRAM, "--publish").output
    bundle = publish_bundle(CohortRelease(unpublished.get_cohort(COHORT), VERSION), keys)
    assert "Other figures." not in (bundle / "README.md").read_text()


def test_a_file_that_the_sums_do_not_name_is_not_signed_with_the_others(tmp_path: Path) -> None:
    """Such as one more page of the site, under the sums that people signed."""
    sums = f"{hashlib.sha256(b'Figures.').hexdigest()}  README.md\n"
    (site := tmp_path / "bundle" / "site").mkdir(parents=True)
    for name, content in (("README.md", "Figures."), ("SHA256SUMS", sums), ("SHA256SUMS.sig", "")):
        (site.parent / name).write_text(content)
    assert make.hash_sums(site.parent) == hashlib.sha256(sums.encode()).hexdigest()
    (site / "figures.html").write_text("Other figures.")
    with pytest.raises(release_directory.BundleRefused, match="is not as it was made"):
        make.hash_sums(site.parent)


@pytest.mark.slow
def test_a_bundle_that_was_put_into_the_release_directory_by_hand_is_not_sent(unpublished: Home, keys: KeyRing) -> None:
    for path in unpublished.held.iterdir():
        path.replace(unpublished.release / path.name)
    target = unpublished.root.parent / "target"
    sent = invoke("publish", VERSION, "--home", unpublished.root, "--to", target, "--yes")
    assert sent.exit_code == 4
    assert "before it is published" in sent.output
    assert not target.exists()
    with pytest.raises(WaitsForApproval, match="before it is published"):
        publish_bundle(CohortRelease(unpublished.get_cohort(COHORT), VERSION), keys)
    assert not (unpublished.release / "latest").exists()


def test_the_sheet_is_what_is_signed_and_tells_no_count(home: Home, keys: KeyRing) -> None:
    shown = approve(home, ANNA).output
    sheet = home.get_decision_sheet_path(VERSION, "measurement")
    assert canonical.compute_sha256(sheet.read_bytes()) in shown
    request = requests_to_sign.build_measurement_request(Release(home, VERSION))
    assert decision_sheet.render_sheet(home, request) == sheet.read_text()
    (line,) = (line for line in home.open_ledger().sign_offs() if '"kind":"approval"' in line.content)
    assert canonical.compute_sha256(sheet.read_bytes()) in line.content
    measure(home, keys)
    published = r"<h2 id=\"say\">.*?(?=<h2 id=)"
    text = re.sub(rf"<style>.*?</style>|<svg.*?</svg>|{published}", " ", sheet.read_text(), flags=re.DOTALL)
    text = re.sub(r"<[^>]+>", " ", text)
    assert "can be used" in sheet.read_text()
    assert "can be used" not in text, "how many rates are published is public, and follows from the plan alone"
    shown_numbers = {int(found) for found in re.findall(r"(?<![\w.,])\d{2,}(?![\w.,%])", text.replace(",", ""))}
    plan = planning.plan_family("pupil", COUNCILS, load_policy())
    counted = child_table.count_cells(home.get_cohort(COHORT).get_confidential_path("pupil"), plan)
    cells = {int(cell) for counts in counted.values() for cell in counts.ravel() if cell >= 60}
    assert not shown_numbers & cells


@pytest.mark.slow
def test_who_signed_stands_in_the_statement_by_role_and_by_name_only_where_that_is_public(
    home: Home, keys: KeyRing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    public = Signer("Carla Openwood", "chief statistician", BRAM.key, public=True)
    name_people(tmp_path, monkeypatch, [ANNA, public], measurement=2)
    approve(home, ANNA)
    approve(home, public)
    measure(home, keys)
    with pytest.raises(WaitsForApproval):
        publish_bundle(CohortRelease(home.get_cohort(COHORT), VERSION), keys)
    record = json.loads((home.held / VERSION / "privacy_statement.json").read_text())
    message = [(each["role"], each["name"]) for each in record["cohorts"][0]["approvals"]]
    assert message == [("privacy lead", ""), ("chief statistician", "Carla Openwood")]
    sheet = canonical.compute_sha256(home.get_decision_sheet_path(VERSION, "measurement").read_bytes())
    assert not [name for name, content in read_contents(home.held / VERSION).items() if sheet[:16].encode() in content]
    page = statement.render_privacy_page(record)
    assert "Carla Openwood" in page
    assert not [
        path for path in (home.held / VERSION).rglob("*") if path.is_file() and b"Quillfeather" in path.read_bytes()
    ]


class Killed(BaseException):
    """A process that ends at once."""


def killed(*_: object) -> None:
    raise Killed


@pytest.mark.slow
@pytest.mark.parametrize("step", ["_write_archives", "refresh", "_discard"])
def test_a_publication_that_broke_off_is_finished(
    unpublished: Home, keys: KeyRing, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """At whatever step: the next run finds it approved, and nobody has to sign again."""
    store = unpublished.get_cohort(COHORT)
    approve(unpublished, ANNA, "--publish")
    with monkeypatch.context() as broken:
        broken.setattr(make, step, killed)
        with pytest.raises(Killed):
            sign_off.publish_approved(CohortRelease(store, VERSION), keys)
    bundle = publish_bundle(CohortRelease(store, VERSION), keys)
    assert verify(bundle).ok
    assert {path.name for path in unpublished.release.iterdir()} >= {
        VERSION,
        f"{VERSION}.zip",
        f"{VERSION}.tar",
        "latest",
    }
    assert not [path for path in unpublished.held.iterdir() if VERSION in path.name]


def test_a_charge_that_a_crash_left_open_needs_the_signature_still_to_count(
    home: Home, keys: KeyRing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    approve(home, ANNA)
    with monkeypatch.context() as broken:
        broken.setattr(session, "measure", killed)
        with pytest.raises(Killed):
            measure(home, keys)
    name_people(tmp_path, monkeypatch, [BRAM])
    change_people(home, ANNA)
    with pytest.raises(WaitsForApproval):
        measure(home, keys)
    assert not list(home.restricted.glob("measurements/**/*.json"))


def test_the_sheet_says_how_many_links_are_missed_and_what_that_means_for_the_figures(
    home: Home, tmp_path: Path
) -> None:
    """In bands, and with what the policy does from this limit on."""
    ends = [{"group": "Leeds", "share": 0.02}, {"group": "Halton", "share": 0.11}]
    missed = {"share": 0.062, "lower": 0.031, "upper": 0.093, "groups": [{"topic": "council", "ends": ends}]}
    few = {"share": 0.004, "lower": 0.0, "upper": 0.008, "groups": []}
    report = {"missed_links": {"review": missed, "setting": few}, "headline": {"Both": 340.0, "Neither": 49.0}}
    home.get_cohort(COHORT).linkage_report.write_text(json.dumps(report))
    shown = " ".join(re.sub(r"<[^>]+>", " ", read_sheet(home)).split())
    assert "Links to a review that are missed, estimated: 5% and more (95% interval: 1% to 5% to 5% and more)" in shown
    assert "by council up to 5% and more (Halton). Above 5% every figure about linked children is flagged" in shown
    assert "Links to a setting that are missed, estimated: under 1% (95% interval: none to under 1%)." in shown
    assert re.search(r"at most: (.*?)\.", shown)[1] == "both ± 500, neither ± 100"
    content = yaml.safe_load((tmp_path / "policy.yaml").read_text())
    content["reliability"]["withheld_missed_links"] = 0.06
    (tmp_path / "policy.yaml").write_text(yaml.safe_dump(content))
    home.release_record(VERSION).unlink()
    assert "The policy withholds every figure about linked children from 6% on." in read_sheet(home)


def read_sheet(home: Home) -> str:
    """The page of the request to measure."""
    approve(home, None)
    return home.get_decision_sheet_path(VERSION, "measurement").read_text(encoding="utf-8")
