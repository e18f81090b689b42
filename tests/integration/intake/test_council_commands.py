"""`readiness council`: drafts and checks of council files are right, and disclose no identifier."""

import gzip
import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import yaml
from click.testing import Result
from hypothesis import given, strategies as st

from sources import contracts, errors, synthetic
from sources.councils.council_file import load_council_file, read_council_file
from sources.onboarding import sample as sampling
from sources.reference.code_lists import GOALS
from tests.support.extracts import make_upn
from tests.support.installation.commands import invoke
from tests.support.intake.desk import Desk
from tests.support.intake.files import build_csv

ROWS = 60
FORENAMES = "Amelia Noah Zoë Isla Leo Aisha Yusuf Freya Jack Ivy".split()
SURNAMES = "Thornton Ashby Camwell Elford Harley Kelwood Norfield Pelworth Stanby Yorkton Ingham Farson".split()
SECRETS = ("Qwyjibo", "Zebediah", "LS99 1QX", make_upn(900_000_000_001), "999 123 4567", "2020-03-29", "29/03/2020")
Run = Callable[..., Result]


@pytest.fixture
def readiness(monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object, exit_code: int = 0) -> Result:
        result = invoke("council", *arguments)
        assert result.exit_code == exit_code, result.output
        written = [Path(str(argument)) for argument in arguments if str(argument).endswith(".yaml")]
        said = [result.output, *(path.read_text() for path in written if path.exists())]
        assert not any(secret in text for secret in SECRETS for text in said)
        return result

    return run


@pytest.fixture(scope="module")
def landing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pilot") / "landing"
    synthetic.generate(folder, "202425", scale=0.1)
    return folder


def _write(path: Path, rows: list[dict[str, str]], delimiter: str = ",", encoding: str = "utf-8") -> Path:
    path.write_bytes(build_csv([list(rows[0]), *(list(row.values()) for row in rows)], encoding, delimiter=delimiter))
    return path


def _children() -> list[dict[str, str]]:
    """EYFS Profile rows of Bradford in contract form; the last child's identifiers are `SECRETS`."""
    rows = [
        {
            "la_code": "380",
            "estab": "2001",
            "upn": make_upn(800_000_000_000 + number),
            "surname": SURNAMES[number % len(SURNAMES)],
            "forename": FORENAMES[number % len(FORENAMES)],
            "sex": "FM"[number % 2],
            "date_of_birth": f"2020-{1 + number % 8:02d}-{1 + number % 28:02d}",
            "postcode": f"BD{1 + number % 9} {number % 10}AP",
        }
        | dict.fromkeys(GOALS, "12"[number % 3 > 0])
        for number in range(ROWS)
    ]
    names = ("surname", "forename", "postcode", "upn")
    rows[-1] |= dict(zip(names, SECRETS, strict=False)) | {"date_of_birth": "2020-03-29"}
    return rows


@pytest.mark.slow
@pytest.mark.parametrize("council", ["halton", "st-helens"])
def test_a_draft_of_known_headings_is_nearly_whole(readiness: Run, landing: Path, tmp_path: Path, council: str) -> None:
    """A pilot council's extracts, as if they were Bradford's."""
    samples = {source: next((landing / council / source).iterdir()) for source in contracts.CONTRACTS}
    named = [text for source, path in samples.items() for text in ("--sample", f"{source}={path}")]
    readiness("new", "E08000032", *named, "--out", tmp_path / "bradford.yaml")
    drafted = read_council_file(tmp_path / "bradford.yaml").sources
    for source, truth in load_council_file(council).sources.items():
        found = drafted[source]
        assert {column: found.columns.get(column) for column in truth.columns} == dict(truth.columns)
        if samples[source].suffix != ".parquet":
            assert found.delimiter == truth.delimiter
        assert found.date_formats == truth.date_formats
        for column, codes in found.codes.items():
            theirs = {value.lower(): code for value, code in truth.codes.get(column, {}).items()}
            assert {value.lower(): code for value, code in codes.items()}.items() <= theirs.items()


@pytest.mark.slow
def test_the_afternoon(readiness: Run, tmp_path: Path, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dialect unlike any pilot's: draft, a few edits, check, and the intake gives the tokens of the contract form."""
    tokens = "source_row, sex, com_e01, exp_e17, term_of_birth, COLUMNS('^t_')"
    desk.land(_write(tmp_path / "plain.csv", _children()).read_bytes(), council="bradford")
    desk.take(council="bradford")
    expected = desk.list_kept(council="bradford", columns=tokens)

    labels = {"1": "Not yet", "2": "Exp", "A": "Absent"}
    theirs = [
        {
            "LA/Estab": f"{row['la_code']}/{row['estab']}",
            "Learner ref": row["upn"],
            "Name": f"{row['surname'].upper()}, {row['forename']}",
            "Recorded as": {"F": "Woman", "M": "Man"}[row["sex"]],
            "Birth day": row["date_of_birth"][8:],
            "Birth month": row["date_of_birth"][5:7],
            "Birth year": row["date_of_birth"][:4],
            "Outward code": row["postcode"].split()[0],
            "Inward code": row["postcode"].split()[1],
        }
        | {f"Goal {number} result": labels[row[goal]] for number, goal in enumerate(GOALS, 1)}
        for row in _children()
    ]
    sample = _write(tmp_path / "sample.csv", theirs, delimiter="|", encoding="windows-1252")
    folder = tmp_path / "councils"
    folder.mkdir()
    path = folder / "bradford.yaml"
    readiness("new", "Bradford", "--source", "eyfsp", "--sample", sample, "--out", path)
    first = readiness("check", path, "--sample", f"eyfsp={sample}", "--cohort", "202425", exit_code=1)
    assert "MISSING" in first.output
    assert "Not yet (20)" in first.output

    text = path.read_text()
    for before, after in (
        ("      # TODO sex: required", "      sex: Recorded as\n      # sex: required"),
        ("        # TODO Not yet:", '        Not yet: "1"\n        # Not yet:'),
        ("    codes:\n", "    codes:\n      sex: {Woman: F, Man: M}\n"),
    ):
        assert before in text
        text = text.replace(before, after, 1)
    path.write_text(text)
    undecided = readiness("check", path, "--sample", f"eyfsp={sample}", "--cohort", "202425", exit_code=1)
    assert "marked TODO on line" in undecided.output
    path.write_text(re.sub(r" *# TODO.*", "", path.read_text()))
    clean = readiness("check", path, "--sample", f"eyfsp={sample}", "--cohort", "202425")
    assert "0 to be rejected" in clean.output
    assert "The intake would take this file." in clean.output
    assert "map the refused values" not in clean.output

    monkeypatch.setenv("READINESS_COUNCILS", str(folder))
    desk.land(sample.read_bytes(), council="bradford")
    assert desk.take(council="bradford").rows_rejected == 0
    assert desk.list_kept(council="bradford", columns=tokens) == expected


@pytest.fixture
def council_yaml(tmp_path: Path) -> Callable[[str], Path]:
    def write(content: str) -> Path:
        path = tmp_path / "bradford.yaml"
        path.write_text("council: bradford\nsources:\n  eyfsp:\n" + content)
        return path

    return write


def _renamed(rows: list[dict[str, str]], **names: str) -> list[dict[str, str]]:
    return [{names.get(column, column): value for column, value in row.items()} for row in rows]


def _checked(readiness: Run, path: Path, sample: Path, exit_code: int = 0) -> tuple[dict, dict]:
    arguments = ("check", path, "--sample", f"eyfsp={sample}", "--cohort", "202425")
    readiness(*arguments, exit_code=exit_code)
    (report,) = json.loads(readiness(*arguments, "--json", exit_code=exit_code).stdout)["samples"]
    return report, {column["column"]: column for column in report["columns"]}


@pytest.mark.slow
def test_check_says_what_becomes_of_each_column(
    readiness: Run, tmp_path: Path, council_yaml: Callable[[str], Path]
) -> None:
    rows = _renamed(_children(), sex="Gender", upn="Number", postcode="Lives at")
    for row, value in zip(rows, ["Girl"] * 6 + ["Boy"] * 5 + ["Rare"], strict=False):
        row["Gender"] = value
    for row in rows[:3]:
        row["Number"] = "A" + row["Number"][1:]
    for row in rows[:6]:
        row["date_of_birth"] = "29/03/2020"
    rows[20]["mat_e12"] = "A"
    sample = _write(tmp_path / "sample.csv", [row | {"Notes": "Qwyjibo"} for row in rows])
    path = council_yaml("    columns: {upn: Number, sex: Gender, postcode: Lives at}\n    constants: {urn: 1}\n")
    report, columns = _checked(readiness, path, sample, exit_code=1)
    assert (report["rows"], report["rejected"], report["cohort"]) == (ROWS, 13, "202425")
    assert columns["upn"]["headings"] == ["Number"]
    assert columns["upn"]["refused"] == pytest.approx(3 / ROWS)
    assert (columns["upn"]["shape"], columns["upn"]["refused_shape"]) == ("A999999999999", None)
    assert columns["postcode"]["shape"] == "AA9 9AA"
    assert columns["surname"]["shape"] == "3-12 letters"
    assert columns["date_of_birth"]["refused_shape"] == "99/99/9999"
    assert (columns["urn"]["origin"], columns["academic_year"]["origin"]) == ("constant", "missing")
    assert columns["sex"]["refused_values"] == {"values": [["Girl", 6], ["Boy", 5]], "others": 1}
    assert [(rule["rule"], rule["rows"]) for rule in report["rules"]] == [("goals-a-in-all-or-none", 1)]
    assert ["Notes", None] in report["unused"]
    assert report["stops"] == [f"13 of {ROWS} rows would be rejected, more than 20%"]


@pytest.mark.slow
@pytest.mark.parametrize("heading", ["Family name", "Column 7"])
def test_values_of_a_column_that_is_not_of_codes_are_not_shown(
    readiness: Run, tmp_path: Path, council_yaml: Callable[[str], Path], heading: str
) -> None:
    """A code is mapped to a column of names, some of which many rows share."""
    rows = _renamed(_children(), sex="x", surname=heading)
    for row in rows[:8]:
        row[heading] = "Qwyjibo"
    for number, row in enumerate(rows[8:]):
        row[heading] = SURNAMES[number % len(SURNAMES)] + "abcdefg"[number % 7]
    rows = [row | {"surname": "x"} for row in rows]
    sample = _write(tmp_path / "sample.csv", rows)
    _, columns = _checked(readiness, council_yaml(f"    columns: {{sex: {heading}}}\n"), sample, exit_code=1)
    assert columns["sex"]["refused_values"]["values"] == []
    assert columns["sex"]["refused_values"]["others"] > 1


@pytest.mark.slow
@pytest.mark.parametrize("source", ["eyfsp", "hv_reviews"])
def test_a_file_without_headings_shows_nothing_of_its_first_row(readiness: Run, tmp_path: Path, source: str) -> None:
    rows = [{str(index): value for index, value in enumerate(row.values())} for row in _children()[::-1]]
    first = [*SECRETS[:4], "1", "2", "x"]
    path = tmp_path / "sample.csv"
    path.write_text("\n".join([",".join(first), *(",".join(row.values()) for row in rows)]) + "\n")
    result = readiness("new", "bradford", "--sample", f"{source}={path}", exit_code=1)
    assert "the first line holds data, not headings" in result.output


@pytest.mark.slow
def test_a_header_line_that_runs_into_a_row_quotes_nothing_of_it(readiness: Run, tmp_path: Path) -> None:
    rows = _children()
    path = tmp_path / "sample.csv"
    lines = [",".join([*rows[0], *SECRETS[:2]]), *(",".join(row.values()) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    result = readiness("new", "bradford", "--sample", f"eyfsp={path}", exit_code=1)
    assert "no row has as many fields as the header line" in result.output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("narnia", "--sample", "{sample}"), "not the name of an English authority"),
        (("bradford",), "give a sample"),
        (("bradford", "--sample", "eyfs={sample}"), "'eyfs' is not a source"),
        (("bradford", "--sample", "eyfsp=nowhere.csv"), "nowhere.csv does not exist"),
        (("bradford", "--sample", "eyfsp={sample}", "--sample", "eyfsp={sample}"), "two samples of eyfsp"),
        (("bradford", "--sample", "{sample}", "--out", "{folder}/leeds.yaml"), "must be called bradford.yaml"),
        (("bradford", "--sample", "{sample}", "--out", "{folder}/bradford.yaml"), "never overwritten"),
    ],
)
def test_what_new_cannot_do_is_said(readiness: Run, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    sample = _write(tmp_path / "sample.csv", _renamed(_children(), sex="Gender"))
    (tmp_path / "bradford.yaml").write_text("council: bradford\nsources: {}\n")
    filled = (argument.format(sample=sample, folder=tmp_path) for argument in arguments)
    names_nothing = message.startswith(("not the name", "'eyfs'"))
    assert message in readiness("new", *filled, exit_code=2 if names_nothing else 1).output


@pytest.mark.slow
@given(st.text(min_size=1, max_size=60).filter(str.strip))
def test_any_text_of_a_sample_reads_back_from_a_draft(text: str) -> None:
    scalar = sampling.format_scalar(text)
    written = f"a: {{from: {scalar}, b: [{scalar}, c]}}   # {scalar}\n"
    assert yaml.load(written, yaml.BaseLoader) == {"a": {"from": text, "b": [text, "c"]}}


Row = dict[str, str]
Draft = Mapping[str, object]
HEADINGS = {
    "upn": "Unique pupil number",
    "surname": "Surname",
    "forename": "Forename",
    "sex": "Gender",
    "date_of_birth": "DOB",
    "postcode": "Postcode",
}


def _in_words(change: Callable[[Row], Row] = lambda row: row) -> list[list[str]]:
    """A heading line and rows in the words of a council, after a change to each."""
    children = [row | {"date_of_birth": "/".join(reversed(row["date_of_birth"].split("-")))} for row in _children()]
    rows = [change({heading: row[name] for name, heading in HEADINGS.items()}) for row in children]
    return [list(rows[0]), *(list(row.values()) for row in rows)]


def _whole(row: Row, heading: str) -> Row:
    name = f"{row.pop('Surname').upper()}, {row.pop('Forename')}"
    return {"Unique pupil number": row["Unique pupil number"], heading: name} | row


def _drafted(path: Path) -> tuple[Draft, str]:
    """What is drafted of a sample of the Profile, as it is read and as it is written."""
    done = invoke("council", "new", "bradford", "--sample", f"eyfsp={path}")
    assert done.exit_code == 0, done.output
    assert not [name for name in (*SURNAMES, *FORENAMES) if name in done.stdout]
    own = path.with_name("bradford.yaml")
    own.write_text(done.stdout)
    read_council_file(own)
    return yaml.load(done.stdout, yaml.BaseLoader)["sources"]["eyfsp"], done.stdout


WHOLE_NAME = {
    heading: (
        lambda row, heading=heading: _whole(row, heading),
        {"surname": {"from": heading, "pattern": "^([^,]+),"}, "forename": {"from": heading, "pattern": r",\s*(.+)$"}},
        {"surname": None, "forename": None},
    )
    for heading in ("Child name", "Surname", "Forename", "Name (last)", "Child Surname")
}
DRAFTS: dict[str, tuple[Callable[[Row], Row], Draft | None, dict[str, str | None]]] = {
    **WHOLE_NAME,
    "pupil numbers under a heading of names": (
        lambda row: (
            {name: value for name, value in row.items() if name != "Surname"}
            | {"Family name": row["Unique pupil number"], "Unique pupil number": ""}
        ),
        None,
        {"upn": "Family name"},
    ),
    "names the other way round": (
        lambda row: {"Surname": f"{row.pop('Forename')} {row.pop('Surname').upper()}"} | row,
        {
            "surname": {"from": "Surname", "pattern": "([A-Z]{2}[^a-z]*)$"},
            "forename": {"from": "Surname", "pattern": "^(.*?) +[A-Z]{2}[^a-z]*$"},
        },
        {},
    ),
    "postcodes under a heading of dates": (
        lambda row: row | {"DOB": row["Postcode"], "Postcode": row["DOB"]},
        None,
        {"postcode": "DOB", "date_of_birth": "Postcode"},
    ),
    "postcodes and no date of birth": (
        lambda row: row | {"DOB": row["Postcode"]},
        None,
        {"postcode": "Postcode", "date_of_birth": None},
    ),
}
"""A change to each row, and the derived columns and headings that are drafted; None is absent."""


@pytest.mark.parametrize("name", DRAFTS)
def test_values_outrank_headings(tmp_path: Path, name: str) -> None:
    change, derived, columns = DRAFTS[name]
    path = tmp_path / "sample.csv"
    path.write_bytes(build_csv(_in_words(change)))
    draft, text = _drafted(path)
    assert draft.get("derived") == derived
    drafted: Draft = draft["columns"]
    assert {column: drafted.get(column) for column in columns} == columns
    assert len(set(drafted.values())) == len(drafted)
    if name == "postcodes under a heading of dates":
        assert text.count("# TODO check") == 2
    if name == "postcodes and no date of birth":
        assert "TODO date_of_birth: required, no heading found" in text


def test_a_packed_sample_is_unpacked_no_further_than_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "_MIB_SNIFFED", 2)
    path = tmp_path / "sample.csv.gz"
    path.write_bytes(gzip.compress(build_csv(_in_words()) + b"\n" * (8 << 20), 1)[:-500])
    assert sampling.detect_encoding(path) == "utf-8"
    path.write_bytes(gzip.compress(build_csv(_in_words()))[:-20])
    with pytest.raises(errors.ExtractStopped, match="is cut off or damaged"):
        sampling.detect_encoding(path)


@pytest.mark.slow
def test_help_needs_no_heavy_import() -> None:
    heavy = "{'duckdb', 'pyarrow', 'pandas', 'dagster', 'great_expectations'}"
    code = f"import sys, pipelines.cli; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
