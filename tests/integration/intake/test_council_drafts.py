"""What a draft of a council file takes from values, and what it says of the sheet that it was read from."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from pipelines.cli import main
from sources.councils.council_file import load
from sources.errors import ExtractStopped
from sources.onboarding import sample
from tests.support.daily import first
from tests.support.extracts import upn
from tests.support.intake.files import as_csv, as_xlsx
from tests.support.intake.spreadsheets import as_ods, as_xls, as_xlsb

SURNAMES = "Thornton Ashby Camwell Elford Harley Kelwood Norfield O'Brien Pelworth Stanby Van-Dyke".split()
FORENAMES = "Amelia Noah Zoë Isla Leo Aisha Yusuf".split()
Row = dict[str, str]
Draft = Mapping[str, object]


def _children(change: Callable[[Row], Row] = lambda row: row) -> list[list[str]]:
    """A heading line and rows in the words of a council, after a change to each."""
    rows = [
        change(
            {
                "Unique pupil number": upn(800_000_000_000 + number),
                "Surname": SURNAMES[number % len(SURNAMES)],
                "Forename": FORENAMES[number % len(FORENAMES)],
                "Gender": "FM"[number % 2],
                "DOB": f"{1 + number % 28:02d}/{1 + number % 8:02d}/2020",
                "Postcode": f"BD{1 + number % 9} {number % 10}AP",
            }
        )
        for number in range(40)
    ]
    return [list(rows[0]), *(list(row.values()) for row in rows)]


def _whole(row: Row, heading: str) -> Row:
    name = f"{row.pop('Surname').upper()}, {row.pop('Forename')}"
    return {"Unique pupil number": row["Unique pupil number"], heading: name} | row


def _drafted(path: Path) -> tuple[Draft, str]:
    """What is drafted of a sample of the Profile, as it is read and as it is written."""
    done = CliRunner().invoke(main, ["council", "new", "bradford", "--sample", f"eyfsp={path}"])
    assert done.exit_code == 0, done.output
    assert not [name for name in (*SURNAMES, *FORENAMES) if name in done.stdout]
    own = path.with_name("bradford.yaml")
    own.write_text(done.stdout)
    load(own)
    return yaml.load(done.stdout, yaml.BaseLoader)["sources"]["eyfsp"], done.stdout


def _of(folder: Path, rows: list[list[str]]) -> tuple[Draft, str]:
    path = folder / "sample.csv"
    path.write_bytes(as_csv(rows))
    return _drafted(path)


@pytest.mark.parametrize("heading", ["Child name", "Surname", "Forename", "Name (last)", "Child Surname"])
def test_a_column_of_whole_names_is_parted_whatever_it_is_called(tmp_path: Path, heading: str) -> None:
    draft, _ = _of(tmp_path, _children(lambda row: _whole(row, heading)))
    assert draft["derived"] == {
        "surname": {"from": heading, "pattern": "^([^,]+),"},
        "forename": {"from": heading, "pattern": r",\s*(.+)$"},
    }
    assert not {"surname", "forename"} & set(draft["columns"])  # type: ignore[call-overload]


def test_names_the_other_way_round(tmp_path: Path) -> None:
    def change(row: Row) -> Row:
        return {"Surname": f"{row.pop('Forename')} {row.pop('Surname').upper()}"} | row

    draft, _ = _of(tmp_path, _children(change))
    assert draft["derived"]["forename"] == {"from": "Surname", "pattern": "^(.*?) +[A-Z]{2}[^a-z]*$"}  # type: ignore[index]


def test_a_whole_name_gives_what_no_column_of_its_own_does(tmp_path: Path) -> None:
    draft, _ = _of(tmp_path, _children(lambda row: row | {"Forename": f"{row['Surname']}, {row['Forename']}"}))
    assert draft["columns"]["surname"] == "Surname"  # type: ignore[index]
    assert draft["derived"] == {"forename": {"from": "Forename", "pattern": r",\s*(.+)$"}}


def test_towns_and_counties_are_no_names(tmp_path: Path) -> None:
    draft, _ = _of(tmp_path, _children(lambda row: row | {"Address line 3": "Bradford, West Yorkshire"}))
    assert "derived" not in draft
    assert {"surname": "Surname", "forename": "Forename"}.items() <= draft["columns"].items()  # type: ignore[attr-defined]


def test_postcodes_under_a_heading_of_dates_are_postcodes(tmp_path: Path) -> None:
    draft, text = _of(tmp_path, _children(lambda row: row | {"DOB": row["Postcode"], "Postcode": row["DOB"]}))
    columns = draft["columns"]
    assert (columns["postcode"], columns["date_of_birth"]) == ("DOB", "Postcode")  # type: ignore[index]
    assert text.count("# TODO check") == 2


def test_postcodes_alone_are_never_a_date_of_birth(tmp_path: Path) -> None:
    draft, text = _of(tmp_path, _children(lambda row: row | {"DOB": row["Postcode"]}))
    assert draft["columns"]["postcode"] == "Postcode"  # type: ignore[index]
    assert "date_of_birth" not in draft["columns"]  # type: ignore[operator]
    assert "TODO date_of_birth: required, no heading found" in text


@pytest.mark.parametrize("heading", ["Family name", "DOB", "Home postcode", "Given name"])
def test_numbers_of_pupils_are_known_under_any_heading(tmp_path: Path, heading: str) -> None:
    replaced = {"Family name": "Surname", "Home postcode": "Postcode", "Given name": "Forename"}

    def change(row: Row) -> Row:
        without = {name: value for name, value in row.items() if name != replaced.get(heading)}
        return without | {heading: row["Unique pupil number"], "Unique pupil number": ""}

    draft, _ = _of(tmp_path, _children(change))
    columns = draft["columns"]
    assert columns["upn"] == heading  # type: ignore[index]
    assert heading not in [columns[name] for name in columns if name != "upn"]  # type: ignore[index,attr-defined]


@pytest.mark.parametrize("suffix", first(2, [".xlsx", ".ods", ".xls", ".xlsb"]))
def test_the_draft_and_the_check_say_which_sheet_they_took(tmp_path: Path, suffix: str) -> None:
    rows = _children()
    sheets: dict[str, list[list[str]]] = {"About": [["This", "is"]], "Reception 2025": rows}
    path = tmp_path / f"sample{suffix}"

    def about(book: object) -> None:
        book.active.title = "Reception 2025"  # type: ignore[attr-defined]
        book.create_sheet("About", 0).append(["This", "is"])  # type: ignore[attr-defined]

    write = {".xls": as_xls, ".xlsb": as_xlsb, ".ods": as_ods}
    path.write_bytes(write[suffix](sheets) if suffix in write else as_xlsx(rows, about))
    draft, text = _drafted(path)
    assert "sheet" not in draft
    assert "sheet 2 has most columns; other sheets left aside: 1" in text
    assert not any(name in text for name in ("About", "Reception 2025"))
    assert load(tmp_path / "bradford.yaml").dialect("eyfsp").sheet is None
    told = CliRunner().invoke(main, ["council", "check", str(tmp_path / "bradford.yaml"), "--sample", f"eyfsp={path}"])
    assert "read from sheet 2; other sheets left aside: 1" in told.output


def test_a_draft_from_the_only_sheet_does_not_pin_its_name(tmp_path: Path) -> None:
    path = tmp_path / "sample.xls"
    path.write_bytes(as_xls({"Export 07": _children()}))
    draft, text = _drafted(path)
    assert "sheet" not in draft
    assert "# read from the one visible sheet" in text
    assert "Export 07" not in text


def test_a_packed_sample_is_unpacked_no_further_than_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before, all of it, in memory; and a damaged one was an error of the library."""
    monkeypatch.setattr(sample, "_MIB_SNIFFED", 2)
    path = tmp_path / "sample.csv.gz"
    path.write_bytes(gzip.compress(as_csv(_children()) + b"\n" * (8 << 20), 1)[:-500])
    assert sample.written(path) == (",", "utf-8")
    path.write_bytes(gzip.compress(as_csv(_children()))[:-20])
    with pytest.raises(ExtractStopped, match="breaks off or is damaged"):
        sample.written(path)
