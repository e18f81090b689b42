"""Files that would be waited for, or that claim more than they are: stopped in words, at once, in bounded memory."""

import gzip
import json
import os
import resource
import socket
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from assets.home.paths import Home
from assets.intake.ingest import Intake
from privacy.keys import KeyRing
from sources.contracts import CONTRACTS, Kind, Role, SourceContract
from sources.errors import ExtractStopped
from sources.extract.landing import Landed, describe_unread_entries, find
from tests.support.installation.commands import invoke
from tests.support.intake.corpus import COHORT, build_many, build_rows, build_table, format_text
from tests.support.intake.desk import Desk
from tests.support.intake.files import STRINGS, build_parquet, build_xlsx, build_zip, read_members, share_strings
from tests.support.intake.spreadsheets import build_ods, build_xls, build_xlsb
from tests.support.intake.standards import build_csds, build_csds_files, build_eyfsp_xml
from tests.support.waiting import run_processes
from tests.support.warm import WARM

CSV, TABLE = format_text(build_many("eyfsp")), build_table(build_many("eyfsp"))
MOST_MIB = 1024
Put = Callable[[Path], None]


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's path may not be long
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


@pytest.mark.parametrize(
    "put",
    [os.mkfifo, _socket, Path.mkdir, lambda path: path.symlink_to(path), lambda path: path.symlink_to("/dev/zero")],
    ids=["pipe", "socket", "folder", "link to itself", "device"],
)
@pytest.mark.parametrize("within", [False, True], ids=["an extract", "in a folder of tables"])
def test_what_is_no_file_is_not_waited_for(desk: Desk, put: Put, within: bool) -> None:
    folder = desk.landing / "leeds" / "hv_reviews"
    place = folder / COHORT / "CYP201.csv" if within else folder / f"{COHORT}.csv"
    place.parent.mkdir(parents=True)
    if within:
        for name, content in build_csds_files(build_csds(build_rows("hv_reviews", {}))).items():
            if "CYP201" not in name:
                (place.parent / name).write_text(content)
    put(place)
    with pytest.raises(ExtractStopped, match=r"^leeds/hv_reviews/202425"):
        desk.take("hv_reviews")
    assert describe_unread_entries(desk.landing) == []


def test_a_source_folder_that_is_a_link_is_not_followed(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / f"{COHORT}.csv").write_bytes(CSV)
    (desk.landing / "leeds").mkdir()
    (desk.landing / "leeds" / "eyfsp").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ExtractStopped, match="leaves its council's folder"):
        find(desk.landing, "leeds", "eyfsp", COHORT)


@pytest.mark.parametrize(
    ("source", "files"),
    [
        ("eyfsp", [f"{COHORT}.csv"]),
        ("eyfsp", [f"{COHORT}/one.csv", f"{COHORT}/two.csv"]),
        ("eyfsp", ["all years.csv"]),
        ("hv_reviews", [f"{COHORT}/{name}" for name in build_csds_files(build_csds(build_rows("hv_reviews", {})))]),
        ("eyfsp", [""]),
    ],
    ids=["whole", "parts", "of several cohorts", "tables", "the folder itself"],
)
def test_a_file_that_was_changed_for_a_link_since_it_was_found_is_not_followed(
    desk: Desk, tmp_path: Path, source: str, files: list[str]
) -> None:
    """Nothing of the file that it leads to is read, which may be another council's, or a key."""
    folder, elsewhere = desk.landing / "leeds" / source, tmp_path / "elsewhere"
    content = build_csds_files(build_csds(build_rows("hv_reviews", {}))) if source == "hv_reviews" else {}
    for name in files:
        place = folder / (name or f"{COHORT}.csv")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content[place.name].encode() if content else CSV)
    found = find(desk.landing, "leeds", source, COHORT)
    for name in files:
        elsewhere.mkdir(exist_ok=True)
        (folder / name).rename(elsewhere / (name.replace("/", " ") or source))
        (folder / name).symlink_to(elsewhere / (name.replace("/", " ") or source))
    with pytest.raises(ExtractStopped, match="leaves its council's folder"):
        desk.intake.ingest(found)
    assert not [*desk.home.restricted.rglob("*.parquet"), *desk.home.tokens_zone.rglob("*.parquet")]


@pytest.mark.parametrize("name", ["a#b", "a?b", "a\\b", "a\nb"])
def test_a_home_folder_that_no_database_can_open_is_refused_at_once(tmp_path: Path, name: str) -> None:
    folders = ("--landing", tmp_path, "--home", tmp_path / name, "--keys", tmp_path / "keys")
    done = invoke("run", *folders, "--cohort", COHORT, "--create-keys")
    assert done.exit_code == 1
    assert "a home folder may not have" in done.output
    assert not (tmp_path / name).exists()
    assert not (tmp_path / "keys").exists()


def test_two_children_under_one_upn_are_told(desk: Desk) -> None:
    first, second, third = build_rows("eyfsp", {}, {}, {})
    other = {"upn": first["upn"], "surname": "Other", "forename": "Another", "date_of_birth": "2020-02-02"}
    moved = {"upn": third["upn"], "surname": "Married", "postcode": ""}
    desk.land(format_text([first, second | other, third, third | moved]))
    found = {count.rule: count.first_rows for count in desk.take().rules}
    assert found["upn-of-two-children"] == (1, 2)


@pytest.mark.parametrize("where", ["header", "year", "date"])
def test_a_year_9999_in_a_return_breaks_a_rule(desk: Desk, where: str) -> None:
    sound = build_eyfsp_xml(build_rows("eyfsp", {}, {}))
    if where == "header":
        odd = sound.replace(b"<Header>", b"<Header><AcademicYear>9999</AcademicYear>", 1)
    else:
        tag = b"Year" if where == "year" else b"ResultDate"
        odd = sound.replace(b"<Result>", b"<%s>9999</%s><Result>" % (tag, tag), 1)
    assert odd != sound
    desk.land(odd, suffix=".xml")
    try:
        found = " ".join(count.rule for count in desk.take().rules)
    except ExtractStopped as stopped:
        found = str(stopped)
    assert "impossible-year" in found


def test_what_a_language_column_holds_is_not_kept(desk: Desk) -> None:
    written = ("ENG", "enb", "LEE", "URD", "REF", "Zorblax", "")
    census = zip(build_many("school_census", len(written)), written, strict=True)
    desk.land(format_text([row | {"first_language": value} for row, value in census]), "school_census")
    desk.take("school_census")
    assert desk.list_kept("school_census", columns="first_language") == ["ENG", "ENG", "OTH", "OTH", None, None, None]


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=lambda contract: contract.name)
def test_every_payload_column_is_a_code_a_bounded_number_or_a_date(contract: SourceContract) -> None:
    for column in contract.select_role(Role.PAYLOAD):
        bounded = column.minimum is not None and column.maximum is not None
        assert (column.kind is Kind.CODE and column.codes) or column.kind is Kind.DATE or bounded, column.name


_LONG, _COUNT = "Q" * 900_000, 20_000
_PLAIN = {name: [TABLE[1][index]] * _COUNT for index, name in enumerate(TABLE[0])}
_HEADER, _ROW = (",".join(line).encode() + b"\n" for line in TABLE[:2])


def _repeated() -> bytes:
    surnames = pa.DictionaryArray.from_arrays(pa.array([0] * _COUNT, pa.int32()), pa.array([_LONG]))
    return _parquet(_PLAIN | {"surname": surnames})


def _huge() -> bytes:
    few = {name: values[:200] for name, values in _PLAIN.items()}
    return _parquet(few | {"surname": ["Q" * (8 << 20)] * 200}, use_dictionary=False)


_PREFIXED = {"use_dictionary": False, "column_encoding": {"surname": "DELTA_BYTE_ARRAY"}}


def _strings() -> bytes:
    texts = "<si><t>" + "Q" * 1000 + "</t></si>"
    return build_zip(read_members(share_strings(build_xlsx(TABLE))) | {STRINGS: f"<sst>{texts * 600_000}</sst>"})


_END = "</table:table>"
_CELL = '<table:table-cell table:number-columns-repeated="501" office:value-type="string"><text:p>Q</text:p>'
_FILL = f"<table:table-row>{_CELL}</table:table-cell></table:table-row>" * 600_000 + _END


def _rows_like_it() -> bytes:
    full = _FILL[: _FILL.index("</table:table-row>")].replace("Q", "Q" * 5000)
    repeated = full.replace("<table:table-row", '<table:table-row table:number-rows-repeated="1000000"', 1)
    return build_ods(
        {"Sheet": TABLE}, change=lambda content: content.replace(_END, f"{repeated}</table:table-row>{_END}")
    )


def _of_all_pupils() -> bytes:
    pupils = b"<Pupil><Surname>Q</Surname></Pupil>" * 100_000
    head = b"<Message><Header><School><Estab>" + b"9" * 7000 + b"</Estab></School></Header><Pupils>"
    return head + pupils + b"</Pupils></Message>"


BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "a dictionary that repeats": (".parquet", _repeated),
    "a dictionary of 1.6 GB": (".parquet", _huge),
    "values of 100 kB": (
        ".parquet",
        lambda: _parquet(_PLAIN | {"surname": pa.array([b"Q" * 100_000] * _COUNT, pa.binary(100_000))}),
    ),
    "prefixes": (".parquet", lambda: _parquet(_PLAIN | {"surname": [_LONG[:50_000]] * _COUNT}, **_PREFIXED)),
    "30 million empty rows": (
        ".parquet",
        lambda: _parquet({name: pa.nulls(30_000_000, pa.string()) for name in TABLE[0]}),
    ),
    "blank lines": (".csv.gz", lambda: gzip.compress(_HEADER + _ROW + b"\n" * 100_000_000, 1)),
    "a file name without end": (".csv.gz", lambda: b"\x1f\x8b\x08\x08" + bytes(6) + b"A" * 2_000_000),
    "shared texts of 600 MB": (".xlsx", _strings),
    "a text in a million rows of 500 columns": (".ods", _rows_like_it),
    "80 MB of cells": (".ods", lambda: build_ods({"Sheet": TABLE}, change=lambda text: text.replace(_END, _FILL))),
    "an old workbook of 300 MB": (".xls", lambda: build_xls({"Sheet": TABLE}) + bytes(300 << 20)),
    "a binary part of 600 MB": (
        ".xlsb",
        lambda: build_zip(read_members(build_xlsb({"Sheet": TABLE})) | {"xl/sharedStrings.bin": bytes(600_000_000)}),
    ),
    "tables of 150 MB": (
        ".zip",
        lambda: build_zip({f"CYP{n}.csv": b"a,b\n" + b"\n" * 30_000_000 for n in ("001", "101", "201", "202", "612")}),
    ),
    "what is said of all pupils": (".xml", _of_all_pupils),
}
"""Small files that stand for much: an ending, and what writes one."""


def _parquet(columns: dict[str, object], **options: object) -> bytes:
    return build_parquet(pa.table(columns), compression="zstd", **options)


def _take(root: Path, source: str, said: Path) -> None:
    """Ingest the extract, and write the outcome and by how many MiB this process grew at its peak."""
    intake = Intake(root / "landing", Home(root / "home"), KeyRing.create(root / "keys"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        outcome = f"taken: {intake.ingest(find(root / 'landing', 'leeds', source, COHORT)).rows_read}"
    except ExtractStopped as stopped:
        outcome = str(stopped)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    said.write_text(json.dumps([outcome, grown]))


@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
def test_what_a_file_claims_is_bounded(tmp_path: Path, name: str) -> None:
    suffix, write = BOMBS[name]
    source = "hv_reviews" if suffix == ".zip" else "eyfsp"
    folder = tmp_path / "landing" / "leeds" / source
    folder.mkdir(parents=True)
    (folder / f"{COHORT}{suffix}").write_bytes(write())
    assert run_processes(WARM.Process(target=_take, args=(tmp_path, source, tmp_path / "said"))) == [0], name
    said, grown = json.loads((tmp_path / "said").read_text())
    assert said.startswith(f"leeds/{source}/{COHORT}"), name
    assert grown < MOST_MIB, (name, grown)


def test_a_name_that_is_not_the_contracts_is_not_repeated(tmp_path: Path) -> None:
    assert Landed("leeds", "eyfsp", COHORT, tmp_path / f"{COHORT}.csv").name == f"leeds/eyfsp/{COHORT}.csv"
    for name in ("Qwyjibo.csv", f"{COHORT}.Qwyjibo", f"{COHORT}.csv.Qwyjibo"):
        assert Landed("leeds", "eyfsp", COHORT, tmp_path / name).name == "a file of leeds/eyfsp"
