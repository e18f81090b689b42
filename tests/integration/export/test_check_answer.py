"""Answers are checked by the command and by the script of every bundle, which agree."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ndl_export.bundle.make import read_contents
from ndl_export.bundle.row_hashes import CHECK_FILE, ROW_HASHES_FILE, prove_rows, read_check_script
from ndl_export.files.signing import PUBLIC_KEY_FILE, get_public_pem
from ndl_export.tables import TABLES
from pipelines.cli import main
from tests.support.export.answers import build_answer

AGREES = "every figure is as it was published"
QUOTED = [(name, 1, table.measures[0].name) for name, table in TABLES.items()]


@pytest.fixture
def answer(bundle: Path, tmp_path: Path) -> Path:
    """An answer with a figure of every table."""
    return write_answer(tmp_path, build_answer(read_contents(bundle), QUOTED))


@pytest.fixture
def wrong(answer: Path, tmp_path: Path) -> Path:
    changed = json.loads(answer.read_bytes())
    changed["figures"][0]["value"] += 1
    return write_answer(tmp_path, changed, "wrong.json")


@pytest.fixture
def stranger(tmp_path: Path) -> Path:
    path = tmp_path / "stranger.pem"
    path.write_bytes(get_public_pem(Ed25519PrivateKey.generate()))
    return path


def write_answer(folder: Path, answer: dict[str, Any], name: str = "answer.json") -> Path:
    (folder / name).write_text(json.dumps(answer))
    return folder / name


def run_command(*arguments: object) -> tuple[int, str]:
    ran = CliRunner().invoke(main, ["check-answer", *map(str, arguments)])
    return ran.exit_code, ran.output


def run_script(script: Path, *arguments: object, path: str | None = None) -> tuple[int, str]:
    """Run it without any package of this installation."""
    command = [sys.executable, "-I", "-S", str(script), *map(str, arguments)]
    environment = os.environ | ({} if path is None else {"PATH": path})
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    return ran.returncode, ran.stdout


def test_the_evidence_covers_every_row_of_every_table(bundle: Path) -> None:
    tables = json.loads((bundle / ROW_HASHES_FILE).read_bytes())["tables"]
    assert {name: each["rows"] for name, each in tables.items()} == {
        name: pq.read_metadata(bundle / f"{name}.parquet").num_rows for name in TABLES
    }
    assert prove_rows(bundle, [("gld_headline", 3)]) == prove_rows(read_contents(bundle), [("gld_headline", 3)])


def test_the_command_checks_figures_and_signature(bundle: Path, answer: Path, wrong: Path, stranger: Path) -> None:
    key = bundle / PUBLIC_KEY_FILE
    assert run_command(answer, "--signer", key) == (
        0,
        f"{answer}: {AGREES}\nThe signature was checked with {key}.\n",
    )
    status, said = run_command(wrong, "--signer", key)
    assert status == 1
    assert said.startswith(f"{wrong}: WRONG\n  figure 1: value is ")
    assert run_command(answer, "--signer", stranger) == (
        1,
        f"{answer}: WRONG\n  evidence: SHA256SUMS was not signed with this key\n",
    )


def test_without_a_key_the_command_says_that_the_signature_was_not_checked(answer: Path) -> None:
    status, said = run_command(answer)
    assert status == 0
    assert "The signature was not checked, so anybody could have made the evidence." in said
    status, said = run_command(answer, "--json")
    assert json.loads(said) == {"answer": str(answer), "ok": True, "signature_checked": False, "problems": []}


def test_what_is_no_answer_or_key_ends_with_a_sentence(bundle: Path, answer: Path, tmp_path: Path) -> None:
    status, said = run_command(bundle / "README.md")
    assert (status, "is not JSON" in said) == (1, True)
    status, said = run_command(bundle / "datapackage.json")
    assert (status, "does not have the form of an answer" in said) == (1, True)
    assert run_command(answer, "--signer", bundle / "README.md")[0] == 1


def test_the_script_is_short_and_that_of_the_software(bundle: Path) -> None:
    assert (bundle / CHECK_FILE).read_bytes() == read_check_script()
    assert len(read_check_script().splitlines()) < 100


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_the_script_checks_the_same(bundle: Path, answer: Path, wrong: Path, stranger: Path) -> None:
    script, key = bundle / CHECK_FILE, bundle / PUBLIC_KEY_FILE
    for arguments in ((answer,), (answer, key)):
        status, said = run_script(script, *arguments)
        assert (status, said) == (0, f"E{AGREES[1:]}.\nThe signature was checked with {key}.\n")
    assert run_script(script, wrong)[0] == 1
    status, said = run_script(script, answer, stranger)
    assert (status, "SHA256SUMS was not signed with this key" in said) == (1, True)


def test_the_script_says_if_there_is_no_openssl_or_no_key(bundle: Path, answer: Path, tmp_path: Path) -> None:
    alone = Path(shutil.copy(bundle / CHECK_FILE, tmp_path))
    for status, said in (run_script(bundle / CHECK_FILE, answer, path=""), run_script(alone, answer)):
        assert status == 2
        assert "The signature was not checked, so anybody could have made the evidence." in said
