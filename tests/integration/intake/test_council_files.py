"""Council files: the eight are sound, every mistake is reported with its line, derived columns read as any other."""

import re
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, strategies as st

from privacy.doors.sql import quote_text
from sources.councils import dialect
from sources.councils.council_file import SHIPPED, InvalidCouncilFile, load_council_file, read_council_file
from sources.errors import ExtractStopped
from sources.reference.places import UnknownCouncil, load_places, resolve
from tests.support.intake.desk import Desk, build_eyfsp, build_reviews


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of council files outside the package."""
    folder = tmp_path / "councils"
    folder.mkdir()
    monkeypatch.setenv("READINESS_COUNCILS", str(folder))
    return folder


def test_every_authority_is_found_by_name_and_code() -> None:
    assert len(load_places()) == 153
    for entry in load_places().values():
        for name in (entry.council, entry.la_name, entry.la_name.upper(), entry.old_la_code, entry.new_la_code):
            assert resolve(name) is entry
    with pytest.raises(UnknownCouncil, match="perhaps 'bradford'"):
        resolve("Bradfrod")


IN_EYFSP = "council: leeds\nsources:\n  eyfsp:\n    "
MISTAKES = [
    ("", 1, "the file is empty"),
    ("- leeds\n", 1, "must be a mapping"),
    ("council: [", 1, "not readable as YAML"),
    ("council: leeds\nsources:\n\teyfsp: {}\n", 3, "found character '\\t'"),
    ("council: leeds\n", 1, "sources: is missing"),
    ("council: halton\nsources: {}\n", 1, "council: is 'halton' and the file is called leeds.yaml"),
    ("council: leads\nsources: {}\n", 1, "perhaps 'leeds'"),
    ("council: leeds\nsources: {}\nsource: {}\n", 3, "perhaps 'sources'"),
    ("council: leeds\nsources: {eyfs: {}}\n", 2, "sources: 'eyfs' is not a key here; perhaps 'eyfsp'"),
    ("council: leeds\nsources: {}\nsources: {}\n", 3, "'sources' is there twice, first on line 2"),
    (IN_EYFSP + "columns: upn\n", 4, "must be a mapping of contract columns"),
    (IN_EYFSP + "columns: {upnn: X}\n", 4, "'upnn' is not a column of eyfsp; perhaps 'upn'"),
    (IN_EYFSP + "columns: {upn: }\n", 4, "columns.upn: is empty"),
    (IN_EYFSP + "columns:\n      upn: X\n      surname: x\n", 6, "mapped to upn and to surname"),
    (IN_EYFSP + "columns: {urn: Estab}\n", 4, "'Estab' is the contract's name of another column"),
    (IN_EYFSP + "codes: {sex: {Boy: B}}\n", 4, "'B' is not a code of the contract (it may be F, M)"),
    (IN_EYFSP + "codes:\n      sex:\n        Boy: M\n        BOY: M\n", 7, "letter case makes no difference"),
    (IN_EYFSP + "codes: {sex: {1.0: M}}\n", 4, "write '1'"),
    (IN_EYFSP + "codes: {sex: {'': M}}\n", 4, "a blank value needs no code"),
    (IN_EYFSP + "codes: {surname: {Unknown: X}}\n", 4, "can only be mapped to ''"),
    (IN_EYFSP + "constants: {surname: X}\n", 4, "not the same in every row"),
    (IN_EYFSP + "constants: {la_code: 340}\n", 4, "'340' is not Leeds's code; it is 383 or E08000035"),
    (IN_EYFSP + "reviews: [12M]\n", 4, "goes with hv_reviews alone"),
    ("council: leeds\nsources:\n  hv_reviews:\n    reviews: [12M, 2Y]\n", 4, "'2Y' is not a code of the contract"),
    ("council: leeds\nsources:\n  hv_reviews:\n    reviews: []\n", 4, "is an empty list"),
    (IN_EYFSP + "columns: {sex: S}\n    constants: {sex: M}\n", 5, "sex is under columns too"),
    (IN_EYFSP + "delimiter: ';;'\n", 4, "must be one character, not 2"),
    (IN_EYFSP + "delimiter: \\t\n", 4, "in double quotes"),
    (IN_EYFSP + "delimiter: x\n", 4, "a character that parts columns"),
    (IN_EYFSP + "encoding: windows-125\n", 4, "perhaps 'windows-1252'"),
    (IN_EYFSP + "date_format: DD/MM/YYYY\n", 4, "write '%d/%m/%Y'"),
    (IN_EYFSP + "date_format: '%d/%m'\n", 4, "does not give the day, the month and the year"),
    (IN_EYFSP + "date_format: ['%d/%m/%Y', '%m/%d/%Y']\n", 4, "read the same text as different dates"),
    (IN_EYFSP + "date_format: []\n", 4, "is an empty list"),
    (IN_EYFSP + "date_formats: {sex: '%d/%m/%Y'}\n", 4, "the column is no date; dates are date_of_birth"),
    (IN_EYFSP + "derived: {sex: {from: A}}\n", 4, "does not say how it is made"),
    (IN_EYFSP + "derived: {sex: {from: A, patern: (x)}}\n", 4, "perhaps 'pattern'"),
    (IN_EYFSP + "derived: {sex: {from: A, pattern: (x)(y)}}\n", 4, "exactly one capture group"),
    (IN_EYFSP + "derived: {sex: {from: A, pattern: '(?<=a)(b)'}}\n", 4, "not a pattern (RE2)"),
    (IN_EYFSP + "derived: {sex: {join: [A]}}\n", 4, "needs two headings or more"),
    (IN_EYFSP + "derived: {sex: {join: [A, B], blank: N}}\n", 4, "'blank' does not go with 'join'"),
    (IN_EYFSP + "derived: {sex: {first_of: [A, B], from: A, characters: 1}}\n", 4, "has characters and first_of"),
    (IN_EYFSP + "derived: {sex: {from: A, characters: 4-2}}\n", 4, "two positions from 1"),
]


@pytest.mark.parametrize(("text", "line", "sentence"), MISTAKES)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, text: str, line: int, sentence: str) -> None:
    path = tmp_path / "leeds.yaml"
    path.write_text(text)
    with pytest.raises(InvalidCouncilFile) as stopped:
        read_council_file(path)
    found = [problem for problem in stopped.value.problems if sentence in problem.sentence]
    assert [problem.line for problem in found] == [line], str(stopped.value)
    assert str(found[0]).startswith(f"leeds.yaml:{line}:{found[0].column}: ")


def test_a_file_that_is_not_text_or_not_an_authority_is_named(tmp_path: Path) -> None:
    (tmp_path / "leeds.yaml").write_bytes(b"council: leeds\nsources: {} # caf\xe9\n")
    with pytest.raises(InvalidCouncilFile, match=r"leeds\.yaml:2:1: .*not UTF-8"):
        read_council_file(tmp_path / "leeds.yaml")
    (tmp_path / "bradfrod.yaml").write_text("council: bradford\nsources: {}\n")
    with pytest.raises(InvalidCouncilFile, match=r"after an English authority.*perhaps 'bradford'"):
        read_council_file(tmp_path / "bradfrod.yaml")


def test_the_operators_folder_comes_first_and_is_read_anew(own_folder: Path) -> None:
    path = own_folder / "leeds.yaml"
    path.write_text(IN_EYFSP + "columns: {upn: Number}\n")
    assert load_council_file("leeds").get_dialect("eyfsp").columns == {"upn": "Number"}
    path.write_text(IN_EYFSP + "columns: {upn: Other number}\n")
    assert load_council_file("leeds").get_dialect("eyfsp").columns == {"upn": "Other number"}
    assert load_council_file("halton").get_dialect("eyfsp").delimiter == ";"
    path.rename(own_folder / "Leeds.yml")
    with pytest.raises(InvalidCouncilFile, match=r"must be called leeds\.yaml"):
        load_council_file("leeds")


def test_a_file_says_which_reviews_are_sent(own_folder: Path) -> None:
    assert load_council_file("leeds").reviews is None
    reading = load_council_file("leeds").get_dialect("hv_reviews").sha256
    text = (SHIPPED / "leeds.yaml").read_text().replace("  hv_reviews:\n", "  hv_reviews:\n    reviews: 2-2.5Y\n")
    (own_folder / "leeds.yaml").write_text(text)
    assert load_council_file("leeds").reviews == ("2-2.5Y",)
    assert load_council_file("leeds").get_dialect("hv_reviews").sha256 == reading  # the extract is not read again


def test_a_file_that_is_invalid_or_derives_from_nothing_stops_the_extract(own_folder: Path, desk: Desk) -> None:
    (own_folder / "leeds.yaml").write_text(IN_EYFSP + "delimiter: ab\n    encoding: x\n")
    desk.land(build_eyfsp())
    with pytest.raises(ExtractStopped, match=r"leeds\.yaml:4:16, leeds\.yaml:5:15; `readiness council check"):
        desk.take()
    (own_folder / "leeds.yaml").write_text(IN_EYFSP + "derived: {sex: {first_of: [Legal sex, Known sex]}}\n")
    desk.land(build_eyfsp().replace("sex", "Legal sexe", 1))
    with pytest.raises(ExtractStopped, match=r"column 'sex', perhaps renamed to column [0-9]+; 'sex'\. Add") as stopped:
        desk.take()
    own = r"'Legal sex' .sex., perhaps renamed to 'Legal sexe'; 'Known sex' .sex."
    assert re.search(own, stopped.value.for_sender)


AMBIGUOUS = [("%d/%m/%Y", "%m/%d/%Y"), ("%d%m%y", "%y%m%d"), ("%d-%b-%y", "%y-%b-%d")]
TOGETHER = [("%d/%m/%Y", "%d/%m/%y"), ("%Y%m%d", "excel"), ("%d %b %Y", "%d %B %Y"), ("%d/%m/%Y", "%d/%m/%Y %H:%M")]


def test_lists_of_date_formats_that_leave_a_doubt_are_refused() -> None:
    assert all(dialect.find_ambiguity(formats) for formats in AMBIGUOUS)
    assert not any(dialect.find_ambiguity(formats) for formats in TOGETHER)


@pytest.mark.parametrize(
    ("formats", "text", "date"),
    [
        (("%d/%m/%Y",), "29/02/2020", "2020-02-29"),
        (("%d/%m/%Y", "%d/%m/%y"), "29/02/20", "2020-02-29"),
        (("excel",), "43890", "2020-02-29"),
        (("%Y%m%d", "excel"), "20200229", "2020-02-29"),
        (("%d-%b-%Y",), "29-FEB-2020", "2020-02-29"),
        (("%d/%m/%Y",), "02/29/2020", "mended 2020-02-29"),
        (("%d/%m/%Y",), "O1/l2/2O19", "mended 2019-12-01"),
        (("%Y-%m-%d",), "2020-0G-|S", "mended 2020-06-15"),
        (("%d-%b-%Y",), "31-SOL-2020", None),
        (("%Y-%m-%d",), "2020-31-02", None),
    ],
)
def test_dates_are_read_by_their_formats_or_mended(formats: tuple[str, ...], text: str, date: str | None) -> None:
    assert not any(map(dialect.find_format_fault, formats))
    read, mended = (
        dialect.build_date_sql(quote_text(text), formats),
        dialect.build_mended_date_sql(quote_text(text), formats),
    )
    (found,) = duckdb.execute(f"SELECT coalesce({read}::VARCHAR, 'mended ' || {mended}::VARCHAR)").fetchall()
    assert found == (date,)


derive = dialect.Derived.model_validate


def _value(derived: dialect.Derived, *inputs: str | None) -> str | None:
    columns = {name: f"c{index}" for index, name in enumerate(derived.inputs)}
    names = ", ".join(columns.values())
    marks = ", ".join(["?::VARCHAR"] * len(inputs))
    ((value,),) = duckdb.execute(
        f"SELECT {derived.build_sql(columns)} FROM (VALUES ({marks})) AS rows({names})", list(inputs)
    ).fetchall()
    return None if value is None else str(value)


@pytest.mark.parametrize(
    ("derived", "inputs", "value"),
    [
        (derive({"from": "n", "pattern": "^([^,]+),"}), ["THORNTON, Amelia"], "THORNTON"),
        (derive({"from": "n", "pattern": r"(\d+)m"}), ["ASQ-3 27m"], "27"),
        (derive({"from": "n", "pattern": r"(\d+)m"}), ["none"], None),
        (derive({"from": "n", "pattern": r"(\d+)m"}), [None], None),
        (derive({"join": ("y", "m", "d"), "with": "-"}), ["2020", "2", "29"], "2020-2-29"),
        (derive({"join": ("a", "b"), "with": " "}), ["LS1", None], None),
        (derive({"first_of": ("a", "b")}), [None, "F"], "F"),
        (derive({"first_of": ("a", "b")}), ["M", "F"], "M"),
        (derive({"from": "a", "characters": "4-7"}), ["3832001"], "2001"),
        (derive({"from": "a", "characters": "4-7"}), ["383"], None),
        (derive({"from": "a", "filled": "Y", "blank": "N"}), ["01/02/2022"], "Y"),
        (derive({"from": "a", "filled": "Y", "blank": "N"}), [None], "N"),
        (derive({"from": "a", "filled": "Y", "blank": ""}), [None], None),
    ],
)
def test_operations(derived: dialect.Derived, inputs: list[str | None], value: str | None) -> None:
    assert _value(derived, *inputs) == value


HOSTILE = st.text(st.sampled_from("'\";-/*\\x$ {}()?%\n\t\x00é)") | st.characters(codec="utf-8"), max_size=12)


@given(HOSTILE, HOSTILE.filter(bool), HOSTILE)
def test_texts_of_a_council_file_never_become_sql(separator: str, filled: str, cell: str) -> None:
    assert _value(derive({"join": ("a", "b"), "with": separator}), cell, "z") == f"{cell}{separator}z"
    assert _value(derive({"from": "a", "filled": filled, "blank": separator}), cell) == filled
    assert _value(derive({"from": "a", "filled": filled, "blank": separator}), None) == (separator or None)


@given(HOSTILE, HOSTILE)
def test_a_pattern_is_refused_or_runs_as_a_pattern(start: str, cell: str) -> None:
    pattern = f"{start}(x+)"
    if dialect.find_pattern_fault(pattern) is None:
        assert re.fullmatch("x*", _value(derive({"from": "a", "pattern": pattern}), cell + "x") or "")


@pytest.mark.parametrize(
    ("formats", "written"),
    [
        ("date_format: '%d/%m/%Y'", "29/02/2020"),
        ("date_format: excel", "43890"),
        ("date_format: '%m/%d/%Y'\n    date_formats: {date_of_birth: ['%d/%m/%Y', '%d/%m/%y']}", "29/02/20"),
    ],
)
def test_formats_of_a_file_and_of_a_column(own_folder: Path, desk: Desk, formats: str, written: str) -> None:
    (own_folder / "leeds.yaml").write_text(IN_EYFSP + f"{formats}\n    columns: {{sex: S}}\n")
    desk.land(build_eyfsp({"date_of_birth": written}, {"date_of_birth": "29.02.2020"}).replace("sex", "S", 1))
    quality = desk.take()
    assert desk.list_kept(columns="term_of_birth") == ["Spring-born", None]
    (found,) = [count for count in quality.rules if count.rule == "date_of_birth-invalid"]
    assert found.first_rows == (2,)
    assert "must be a date written" in found.sentence


def test_a_date_that_is_published_is_never_mended(desk: Desk) -> None:
    desk.land(build_reviews({}, {"review_date": "2022-31-03"}), source="hv_reviews")
    quality = desk.take("hv_reviews")
    assert [count.rule for count in quality.rules] == ["review_date-invalid"]
    assert desk.list_kept("hv_reviews", columns="review_date")[1] is None


def test_dates_in_another_order_stop_the_extract(desk: Desk) -> None:
    days = [f"2020-{day:02d}-{month:02d}" for day, month in zip(range(1, 29), (3, 5, 7, 8) * 7, strict=True)]
    desk.land(build_eyfsp(*({"date_of_birth": day} for day in days)))
    with pytest.raises(ExtractStopped, match="date_of_birth-invalid"):
        desk.take()


def test_a_value_mapped_to_nothing_is_blank(own_folder: Path, desk: Desk) -> None:
    (own_folder / "leeds.yaml").write_text(
        IN_EYFSP + "columns: {sex: S}\n    codes: {sex: {9: '', unknown: ''}, postcode: {None: ''}}\n"
    )
    changes = [{"sex": "9.0"}, {"sex": "Unknown"}, {"postcode": "NONE"}, {}, {"surname": "Shaw"}, {"sex": "X"}]
    changes[1] |= {"forename": "Tom"}
    desk.land(build_eyfsp(*changes).replace("sex", "S", 1))
    quality = desk.take()
    assert {count.rule: count.first_rows for count in quality.rules} == {
        "sex-blank": (1, 2),
        "postcode-blank": (3,),
        "sex-invalid": (6,),
    }
