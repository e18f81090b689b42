"""Withdrawals: readers are told of one where named people have signed it, and then always."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import Result

from assets.home.paths import Home
from assets.home.signers import open_signature_log
from ndl_export.facts.directory_files import REGISTER_FILE
from ndl_export.facts.release_facts import WITHDRAWN_FILE, load_withdrawals
from tests.support.installation.commands import invoke
from tests.support.release.people import ANNA, BRAM, read_page, write_policy, write_publisher

FIRST, SECOND = "2026.11.0", "2026.12.0"
REASON, OTHER = "an extract was of another year", "it is not needed"
SAID = "does not say what people have signed of 2026.12.0, so nothing was sent"


@pytest.fixture
def home(two: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """Two releases whose publication was signed, and people who sign from now on."""
    home = Home(Path(shutil.copytree(two.parent, tmp_path / "home", symlinks=True)))
    monkeypatch.setenv("READINESS_POLICY", str(write_policy(tmp_path / "policy.yaml", [ANNA, BRAM], publication=2)))
    monkeypatch.setenv("READINESS_PUBLISHER", str(write_publisher(tmp_path / "publisher.yaml")))
    open_signature_log(home)
    return home


def withdraw(home: Home, *options: str, version: str = SECOND, reason: str = REASON) -> Result:
    return invoke("withdraw", version, "--reason", reason, "--home", home.root, *options)


def send(home: Home) -> Result:
    place = home.root.parent / "place"
    return invoke("publish", FIRST, "--to", place, "--home", home.root, "--yes")


def with_openssl(home: Home) -> str:
    """Anna's signature under the file to sign, made without the command."""
    to_sign = withdraw(home).output.partition("File to sign: ")[2].split("\n")[0]
    key, made = ANNA.write_key_file(home.root.parent / "people"), home.root.parent / "anna.sig"
    signing = ["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", str(key), "-in", to_sign, "-out", str(made)]
    subprocess.run(signing, check=True, capture_output=True)
    return str(made)


def signed_by_both(home: Home) -> None:
    first = withdraw(home, "--signature", with_openssl(home))
    assert "as privacy lead; 1 of 2. Another person must sign" in first.output
    key = str(BRAM.write_key_file(home.root.parent / "people"))
    second = withdraw(home, *read_page(withdraw(home).output), "--key", key)
    assert "as statistics lead; 2 of 2. Now withdraw it" in second.output


def test_a_release_is_withdrawn_once_as_many_have_signed_as_for_a_publication_and_not_before(home: Home) -> None:
    forged = {"withdrawn": [{"version": SECOND, "date": "2026-12-05", "reason": REASON}]}
    (home.release / WITHDRAWN_FILE).write_text(json.dumps(forged))
    sent = send(home)
    assert (sent.exit_code, SAID in sent.output) == (4, True)
    assert not (home.root.parent / "place").exists()
    (home.release / WITHDRAWN_FILE).unlink()
    waits = withdraw(home, "--yes")
    assert waits.exit_code == 4
    assert "needs the signatures of 2 people before it is withdrawn, and has none" in waits.output
    signature = with_openssl(home)
    for other in ({"reason": OTHER}, {"version": FIRST}):
        assert "the signature is of something else" in withdraw(home, "--signature", signature, **other).output
    signed_by_both(home)
    assert withdraw(home, "--yes", reason=OTHER).exit_code == 4
    assert load_withdrawals(home.release) == {}
    assert f"The current release is {FIRST}." in withdraw(home, "--yes").output
    assert "is withdrawn already" in withdraw(home, "--yes").output
    assert (load_withdrawals(home.release)[SECOND].reason, (home.release / "latest").resolve().name) == (REASON, FIRST)
    assert send(home).exit_code == 0
    assert json.loads((home.root.parent / "place" / "latest.json").read_bytes())["version"] == FIRST


def test_what_the_register_says_of_budgets_is_worked_out_before_it_is_sent(home: Home) -> None:
    """A file that says that nothing was spent, beside releases that were paid for."""
    forged = {"cohort": "202425", "unit": "child", "cap": 9.0, "spent": 0.0, "left": 9.0}
    (home.release / REGISTER_FILE).write_text(json.dumps({"requests": [], "budgets": [forged]}))
    sent = send(home)
    assert sent.exit_code == 0, sent.output
    told = json.loads((home.root.parent / "place" / REGISTER_FILE).read_bytes())
    assert [each["spent"] > 0 for each in told["budgets"] if each["unit"] == "child"] == [True]
    assert forged not in told["budgets"]


@pytest.mark.slow
def test_what_was_signed_is_sent_and_nothing_else(home: Home) -> None:
    """Neither with another reason, nor of another day, nor hidden."""
    signed_by_both(home)
    assert withdraw(home, "--yes").exit_code == 0
    path = home.release / WITHDRAWN_FILE
    (entry,) = json.loads(path.read_bytes())["withdrawn"]
    for changed in ([entry | {"reason": OTHER}], [entry | {"date": "2020-01-01"}], []):
        path.write_text(json.dumps({"withdrawn": changed}))
        sent = send(home)
        assert (sent.exit_code, SAID in sent.output) == (4, True), changed
    path.unlink()
    assert withdraw(home, "--yes").exit_code == 0, "it was signed, and is carried out again"
    assert json.loads(path.read_bytes())["withdrawn"] == [entry]
    assert send(home).exit_code == 0
