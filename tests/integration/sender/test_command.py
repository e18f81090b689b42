"""What the sender sees, and that no identifier is in anything that is written or said."""

import json
from pathlib import Path

import click
import pytest

from assets.pseudonymise.tokens_file import MANIFEST_KEY
from pipelines import cli, council_cli
from privacy.keys import SENDER_KEYS, KeyRing
from tests.support.extracts import build_row, format_rows, make_upn
from tests.support.installation.commands import invoke
from tests.support.intake.desk import COHORT, EYFSP_HEADER, Desk, build_eyfsp
from tests.support.intake.files import build_children
from tests.support.intake.sender import Sender, build_reviews, put, unseal
from tests.support.intake.spreadsheets import build_ods

PLANTED = {
    "surname": "Zzyzxwick",
    "forename": "Quixolinda",
    "postcode": "L99 9ZZ",
    "date_of_birth": "2020-02-27",
    "nhs_number": "9434765919",
    "local_patient_id": "PQ-77123",
}
SURNAME_TOKEN = b"t_surname_dob"
WORDS = {
    variant.encode()
    for word in [*PLANTED.values(), "27/02/2020"]
    for variant in (word, word.upper(), word.lower(), word.replace(" ", ""))
}


def test_no_identifier_is_written_or_printed(sender: Sender, keys: KeyRing) -> None:
    rows = [PLANTED, PLANTED | {"review": PLANTED["surname"]}, PLANTED | {"asq3_communication": PLANTED["forename"]}]
    done = sender.run(sender.write(build_reviews(*[{}] * 9, *rows), "hv_reviews"))
    assert done.exit_code == 0
    written = [path for path in sender.get_out("hv_reviews").rglob("*") if path.is_file()]
    assert len(written) == 3
    for path in written:
        content = path.read_bytes()
        if path.suffix == ".parquet":
            assert SURNAME_TOKEN not in content
            file = unseal(path, keys)
            content += file.read().to_pandas().to_csv().encode() + str(file.metadata.metadata).encode()
        assert not [word for word in WORDS if word in content], path
    assert not [word for word in WORDS if word in done.output.encode()]


def test_rows_of_a_sheet_are_numbered_as_in_the_sheet(sender: Sender) -> None:
    path = sender.write("").with_suffix(".ods")
    path.with_suffix(".csv").unlink()
    path.write_bytes(
        build_ods({"Reception": [["Leeds"], [], *build_children(*[{}] * 9, {"com_e01": "3"})], "Notes": [["a"]]})
    )
    done = sender.run(path)
    assert "Read from sheet 1, whose row numbers are given; other sheets left aside: 1" in done.stdout
    assert "Rows 13\n" in done.stdout
    assert "no cell can be checked for a formula" in done.stdout
    assert "13,com_e01-invalid,com_e01,reject,false" in (sender.get_out() / f"{COHORT}.quarantine.csv").read_text()


def test_the_same_file_gives_the_same_rows_sealed_anew(sender: Sender, keys: KeyRing) -> None:
    extract = sender.write(build_eyfsp(*[{}] * 9, {"com_e01": "3"}))
    sealed = set()

    def state() -> dict[str, object]:
        tokens = sender.pseudonymise(extract)
        sealed.add(tokens.read_bytes())
        found: dict[str, object] = {path.name: path.read_bytes() for path in sender.get_out().iterdir()}
        return found | {tokens.name: unseal(tokens, keys).read()}

    first = state()
    assert sorted(first) == [f"{COHORT}.{end}" for end in ("manifest.json", "quarantine.csv", "tokens.parquet")]
    assert state() == first
    assert len(sealed) == 2
    tokens = sender.get_out() / f"{COHORT}.tokens.parquet"
    inside = json.loads(unseal(tokens, keys).metadata.metadata[MANIFEST_KEY.encode()])
    assert inside == json.loads((sender.get_out() / f"{COHORT}.manifest.json").read_text())
    assert inside["key_fingerprints"] == {name: keys.fingerprints[name] for name in SENDER_KEYS}
    assert (inside["council"], inside["source"], inside["cohort"]) == ("leeds", "eyfsp", COHORT)
    assert (inside["rows_read"], inside["rows_kept"], inside["rows_rejected"]) == (10, 9, 1)
    assert inside["headings"]["upn"] == "upn"
    assert inside["postcode_directory_sha256"]


def test_a_council_file_of_the_senders_own(sender: Sender, pipeline: Desk) -> None:
    own = sender.root / "leeds.yaml"
    own.write_text("council: leeds\nsources:\n  eyfsp:\n    columns: {upn: Our Number, surname: Last}\n")
    header = ",".join(EYFSP_HEADER)
    text = build_eyfsp().replace(header, header.replace("upn", "Our Number").replace("surname", "Last"))
    extract = sender.root / "my export.csv"
    extract.write_text(text)
    more = ["--council-file", str(own), "--source", "eyfsp", "--cohort", COHORT]
    done = sender.run(extract, *more, out=sender.get_out())
    assert done.exit_code == 0, done.output
    put(sender.get_out() / f"{COHORT}.tokens.parquet", pipeline)
    assert pipeline.take("eyfsp").headings["upn"] == "Our Number"


def test_a_file_elsewhere_needs_its_council_source_and_cohort(sender: Sender) -> None:
    extract = sender.root / "export.csv"
    extract.write_text(build_eyfsp())
    options: list[str] = []
    for option, value in (("--council", "leeds"), ("--source", "eyfsp"), ("--cohort", COHORT)):
        done = sender.run(extract, *options, out=sender.get_out())
        assert done.exit_code == 2
        assert f"give {option}: it can be left out only for a file like landing/<council>/" in done.stderr
        options += [option, value]
    assert sender.run(extract, *options, out=sender.get_out()).exit_code == 0


@pytest.mark.parametrize(
    ("text", "message", "noted"),
    [
        ("", "the file is empty", 0),
        ("a,b\n1,2\n", "missing column", 0),
        (build_eyfsp(*[{"la_code": "340"}] * 6, {}), "6 of 7 rows: The local authority code", 0),
        (build_eyfsp(*[{"com_e01": "9"}] * 3), "no usable row", 3),
        (build_eyfsp(*[{"com_e01": "9"}] * 30, *[{}] * 50), "More than 20% of the rows were rejected", 30),
        (build_eyfsp(*[{"date_of_birth": "2019-03-07"}] * 20), "This looks like 2023/24: 20 of 20 dates of birth", 0),
        (format_rows([build_row("school_census")] * 3), "this looks like your school census", 0),
    ],
)
def test_an_extract_that_the_pipeline_would_refuse_gives_no_tokens(
    sender: Sender, text: str, message: str, noted: int
) -> None:
    done = sender.run(sender.write(text))
    assert done.exit_code == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(sender.root.rglob("*.tokens.parquet"))
    assert not list(sender.root.rglob(".working-*"))
    quarantine = sender.get_out() / f"{COHORT}.quarantine.csv"
    assert (quarantine.read_text().count("com_e01-invalid") if noted else 0) == noted


@pytest.mark.parametrize(
    ("directory", "message"),
    [
        ("postcode,imd_decile,IMD_Edition\nLS1 4AP,3,2025\nLS1 4AQ,4,2025\n", ""),
        ("postcode,imd_decile,IMD_Edition\nLS1 4AP,3,\nLS1 4AQ,4,2025\n", ""),
        ("postcode,imd_decile,IMD_Edition\nLS1 4AP,3,2019\nLS1 4AQ,4,2025\n", "of the Indices of Deprivation 2025"),
        ("a,b\n1,2\n", "must be a CSV file with the columns postcode and imd_decile"),
    ],
)
def test_a_postcode_directory_is_of_the_edition_that_is_published(sender: Sender, directory: str, message: str) -> None:
    sender.directory.write_text(directory)
    done = sender.run(sender.write(build_eyfsp()), "--postcode-directory", str(sender.directory))
    assert done.exit_code == bool(message), done.stderr
    assert message in done.stderr
    assert "2019" not in done.stderr


def test_tokens_are_neither_overwritten_by_another_source_nor_pseudonymised_again(sender: Sender) -> None:
    out = sender.root / "all"
    assert sender.run(sender.write(build_eyfsp()), out=out).exit_code == 0
    tokens = out / f"{COHORT}.tokens.parquet"
    before = tokens.read_bytes()
    refused = sender.run(sender.write(build_reviews(), "hv_reviews"), out=out)
    assert "give each council and source a folder of its own" in refused.stderr
    done = sender.run(tokens, "--council", "leeds", "--source", "eyfsp", "--cohort", COHORT, out=out)
    assert "already holds tokens" in done.stderr
    assert tokens.read_bytes() == before


def test_the_linker_key_is_not_used_and_warned_of(sender: Sender, key_folder: Path, keys: KeyRing) -> None:
    extract = sender.write(build_eyfsp())
    before = unseal(sender.pseudonymise(extract), keys).read()
    done = sender.run(extract, "--postcode-directory", str(sender.directory), keys=key_folder)
    assert "holds linker.key, which a sender must not have" in done.stderr
    assert unseal(sender.get_out() / f"{COHORT}.tokens.parquet", keys).read() == before


def test_weak_exposed_and_missing_keys_are_refused(sender: Sender, tmp_path: Path) -> None:
    KeyRing.create(tmp_path / "weak", at_sender=True)
    path, sound = tmp_path / "weak" / "linkage.key", (tmp_path / "weak" / "linkage.key").read_bytes()
    for content, mode, message in (
        (b"\0" * 32, 0o600, "is not random"),
        (sound, 0o644, "can be read by others"),
        (sound, 0, "is missing; ask whoever runs the pipeline for the senders' keys"),
    ):
        path.write_bytes(content)
        path.chmod(mode) if mode else path.unlink()
        done = sender.run(sender.write(build_eyfsp()), keys=path.parent)
        assert (done.exit_code, message in done.stderr) == (1, True)
        assert not sender.get_out().exists()


def test_the_councils_tool_makes_senders_keys_alone(tmp_path: Path) -> None:
    groups = (cli.main, council_cli.main)
    assert len({group.get_command(click.Context(group), "pseudonymise") for group in groups}) == 1
    done = invoke("keys", "create", tmp_path / "keys", tool=council_cli.main)
    assert done.exit_code == 0, done.output
    assert sorted(path.stem for path in (tmp_path / "keys").iterdir()) == sorted((*SENDER_KEYS, "epoch"))
    shown = invoke("keys", "show", tmp_path / "keys", tool=council_cli.main)
    assert shown.output == done.output


def test_a_file_that_looks_like_another_councils_is_reported(sender: Sender) -> None:
    theirs = build_eyfsp(*[{"upn": make_upn(344_200_024_000 + number)} for number in range(20)])
    done = sender.run(sender.write(theirs))
    assert done.exit_code == 0
    assert "This looks like Wirral’s: 20 of 20 pupil numbers (UPN) were given out there" in done.stdout
