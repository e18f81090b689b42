"""Corrected, repeated and half-written deliveries: the good one stays, history is kept, nothing is taken twice."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pytest
from hypothesis import given, strategies as st

import assets.intake.context
import assets.pseudonymise.stream_extract
import sources.extract.readers.delimited
from assets.home.processing_log import Processing, list_intakes
from assets.intake import deliveries, ingest
from assets.pseudonymise import stream_extract
from assets.pseudonymise.split_writer import Scope
from assets.pseudonymise.stream_extract import PayloadOnly, Tools, make_tools, tokenise
from privacy import keys, pseudonyms
from sources.contracts import CONTRACTS
from sources.councils.council_file import load_council_file
from sources.errors import ExtractStopped
from sources.extract.landing import Landed, find, hash_content
from sources.extract.open import open_extract
from sources.reference.published_figures import InvalidExpectedRows
from tests.support.daily import limit_examples
from tests.support.extracts import build_row, format_rows
from tests.support.intake.desk import COHORT, Desk, build_eyfsp

KEY = ("eyfsp", COHORT, "leeds")


def children(number: int, **changes: str) -> str:
    return build_eyfsp(*({"urn": str(100_000 + index), **changes} for index in range(number)))


def test_a_correction_supersedes_and_the_earlier_file_can_be_put_back(desk: Desk) -> None:
    desk.land(children(30))
    first = desk.take()
    desk.land(children(31, sex="M"))
    second = desk.take()
    assert desk.list_kept(columns="sex") == ["M"] * 31
    (kept,) = desk.home.get_extract(*KEY).history.iterdir()
    assert kept.stem == first.file_mac != second.file_mac
    earlier = deliveries.read(kept)
    assert (earlier.rows_read, earlier.profile.rows) == (30, 30)
    desk.land(children(30))
    assert not desk.take().unchanged
    assert desk.list_kept(columns="sex") == ["F"] * 30
    assert len(list(desk.home.get_extract(*KEY).history.iterdir())) == 2
    assert desk.take().file_mac == first.file_mac


def test_the_mac_reveals_nothing_without_the_key(desk: Desk, tmp_path: Path) -> None:
    desk.land(children(3))
    quality = desk.take()
    other = keys.KeyRing.create(tmp_path / "others")
    sha256 = hash_content(desk.landing / "leeds" / "eyfsp" / "202425.csv")
    assert (
        deliveries.compute_file_mac(desk.keys, sha256) == quality.file_mac != deliveries.compute_file_mac(other, sha256)
    )
    kept = [path for path in desk.home.root.rglob("*") if path.is_file()]
    assert kept
    assert not [path for path in kept if sha256.encode() in path.read_bytes()]


def test_a_crash_between_rows_and_result_is_mended(desk: Desk, tmp_path: Path) -> None:
    """Rows of a new delivery beside the result of the old one, whose file then comes back."""
    desk.land(children(30))
    desk.take()
    result = tmp_path / "earlier.json"
    shutil.copy(desk.home.get_extract(*KEY).quality, result)
    desk.land(children(31, sex="M"))
    desk.take()
    shutil.copy(result, desk.home.get_extract(*KEY).quality)
    desk.land(children(30))
    assert not desk.take().unchanged
    assert desk.list_kept(columns="sex") == ["F"] * 30


def expect(desk: Desk, rows: str) -> None:
    """Say, as the operator, how many rows Leeds's Profile should have."""
    said = f"council,source,cohort,rows\nleeds,eyfsp,{COHORT},{rows}\n"
    (desk.landing / "reference" / "expected_rows.csv").write_text(said)
    desk.intake = ingest.Intake(desk.landing, desk.home, desk.keys)


def list_holds(quality: deliveries.ExtractQuality) -> list[str]:
    return sorted(finding.rule for finding in quality.holds)


@pytest.mark.slow
def test_far_fewer_or_more_rows_than_before_are_taken_and_hold_a_release(desk: Desk) -> None:
    """Whatever was held is nothing to compare the next with: the whole file, sent again, is not held for being more."""
    expect(desk, "100")
    rules = {}
    for rows in (100, 81, 60, 95, 130, 100):
        desk.land(children(rows))
        rules[rows] = list_holds(desk.take())
        assert len(desk.list_kept()) == rows
    both = ["rows-far-from-expected", "rows-far-from-last"]
    assert rules == {100: [], 81: [], 60: both, 95: [], 130: both}


def test_a_number_of_rows_is_expected_from_the_published_one_or_the_operators(desk: Desk) -> None:
    desk.land(children(100))
    quality = desk.take()
    assert list_holds(quality) == ["rows-far-from-expected"]
    assert quality.rows_expected == 8985
    page = (desk.home.get_cohort(COHORT).get_reports_folder("leeds") / "eyfsp.html").read_text(encoding="utf-8")
    assert page.index("100 of about 8,985 children.") < page.index("Your file was taken")
    expect(desk, "99")
    again = desk.take()
    assert (list_holds(again), again.rows_expected, again.unchanged) == ([], 99, False)
    with pytest.raises(InvalidExpectedRows, match=r"expected_rows\.csv, line 2"):
        expect(desk, "many")


@pytest.mark.parametrize("beside", [False, True])
def test_a_stop_is_over_once_landing_holds_again_what_is_in(desk: Desk, beside: bool) -> None:
    """The wrong file is replaced by the one before it, or the one that lay beside it is taken away."""
    path = desk.land(children(3))
    desk.take()
    wrong = desk.land("upn,surname\n", suffix=".tsv" if beside else ".csv")
    if beside:
        with pytest.raises(ExtractStopped) as stopped:
            find(desk.landing, "leeds", "eyfsp", COHORT)
        desk.intake.refuse("leeds", "eyfsp", COHORT, stopped.value)
        wrong.unlink()
    else:
        with pytest.raises(ExtractStopped):
            desk.take()
        path.write_text(children(3), encoding="utf-8")
    assert deliveries.read_stopped(desk.home.get_extract(*KEY))
    assert desk.intake.list_needing_intake(COHORT, ["leeds"]) == ["leeds"]
    assert desk.take().unchanged
    assert deliveries.read_stopped(desk.home.get_extract(*KEY)) is None
    assert list_intakes(desk.home)[KEY][-1].what == Processing.INTAKE
    assert desk.take().unchanged
    assert len(list_intakes(desk.home)[KEY]) == 3


def test_a_file_that_grows_while_it_is_read_is_not_taken(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    path = desk.land(children(3))
    real = stream_extract.tokenise

    def slow(tools: Tools, wanted: Sequence[PayloadOnly]) -> list[pa.Table]:
        given = real(tools, wanted)
        with path.open("a", encoding="utf-8") as file:
            file.write(build_eyfsp().splitlines()[1] + "\n")
        return given

    monkeypatch.setattr(stream_extract, "tokenise", slow)
    with pytest.raises(ExtractStopped, match="changed while it was read"):
        desk.take()
    assert not desk.home.get_extract(*KEY).pseudonymised.exists()


def test_two_extracts_at_once_are_judged_each_alone(desk: Desk) -> None:
    """Great Expectations looks at both together; what one of them fails is the one's alone."""
    thin = build_eyfsp(*({"urn": str(index), "sex": "" if index < 5 else "F"} for index in range(20)))
    leeds = Landed("leeds", "eyfsp", COHORT, desk.land(thin))
    content = children(20).replace("383,", "380,")
    bradford = Landed("bradford", "eyfsp", COHORT, desk.land(content, council="bradford"))
    first, second = desk.intake.ingest_all([leeds, bradford])
    assert not isinstance(first, ExtractStopped)
    assert not isinstance(second, ExtractStopped)
    assert "sex-thin" in {finding.rule for finding in first.findings if not finding.passed}
    assert "sex-thin" in {finding.rule for finding in second.findings if finding.passed}
    council = json.loads(
        (desk.home.get_cohort(COHORT).get_reports_folder("bradford") / "council.json").read_text(encoding="utf-8")
    )
    assert council["council"] == "bradford"


def test_one_that_cannot_be_given_tokens_does_not_stop_the_others(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    real = assets.pseudonymise.stream_extract.tokenise

    def fails_for_wirral(tools: Tools, wanted: Sequence[PayloadOnly]) -> list[pa.Table]:
        if any("wirral" in entry.rows["council"].to_pylist() for entry in wanted):
            raise RuntimeError("Thornton")
        return real(tools, wanted)

    monkeypatch.setattr(assets.pseudonymise.stream_extract, "tokenise", fails_for_wirral)
    desk.land(children(3))
    desk.land(children(4, la_code="344"), council="wirral")
    landed = [find(desk.landing, council, "eyfsp", COHORT) for council in ("leeds", "wirral")]
    of_leeds, of_wirral = desk.intake.ingest_all(entry for entry in landed if entry)
    assert of_leeds.rows_kept == 3
    assert isinstance(of_wirral, ExtractStopped)
    assert "wirral/eyfsp" in str(of_wirral)
    assert "Thornton" not in str(of_wirral)


def test_no_quintile_is_made_of_another_edition(desk: Desk) -> None:
    directory = desk.landing / "reference" / "postcode_directory.csv"
    directory.write_text("postcode,imd_decile,imd_edition\nLS1 4AP,3,2019\n")
    desk.land(children(1, postcode="LS1 4AP"))
    with pytest.raises(ExtractStopped, match="imd_edition is not 2025 in every row"):
        replace(desk, intake=ingest.Intake(desk.landing, desk.home, desk.keys)).take()
    directory.write_text("postcode,imd_decile,imd_edition\nLS1 4AP,3,2025\n")
    replace(desk, intake=ingest.Intake(desk.landing, desk.home, desk.keys)).take()
    assert desk.list_kept(columns="imd_quintile") == [2]


@pytest.mark.usefixtures("read_here")
@pytest.mark.slow
def test_a_long_extract_is_passed_on_chunk_by_chunk(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.land(children(60))
    whole, tokens = desk.take(), "COLUMNS(lambda c: starts_with(c, 't_') AND c <> 't_names')"
    at_once, names_at_once = desk.list_kept(columns=tokens), desk.list_kept(columns="t_names")
    desk.home.get_extract(*KEY).quality.unlink()
    monkeypatch.setattr(assets.pseudonymise.stream_extract, "CHUNK_ROWS", 7)
    monkeypatch.setattr(assets.pseudonymise.split_writer, "CHUNK_ROWS", 7)
    monkeypatch.setattr(sources.extract.readers.delimited, "BLOCK_BYTES", 1_000)
    assert desk.take().rows_kept == whole.rows_kept == 60
    assert desk.list_kept(columns=tokens) == at_once
    names = desk.list_kept(columns="t_names")
    assert all(name in (None, before) for name, before in zip(names, names_at_once, strict=True))
    assert names.count(None) > names_at_once.count(None), "which child alone has its names a chunk does not show"


CHILDREN = st.fixed_dictionaries(
    {
        "surname": st.sampled_from(["Marchbanks", "Okonkwo", ""]),
        "forename": st.sampled_from(["Ada", "Bo"]),
        "date_of_birth": st.sampled_from(["2019-09-04", "2020-02-29", ""]),
        "postcode": st.sampled_from(["LS6 1AA", "L1 1AB", ""]),
        "sex": st.sampled_from(["F", "M"]),
    }
)
EXTRACTS = st.lists(
    st.tuples(
        st.sampled_from(["hv_reviews", "eyfsp", "parent_experience"]),
        st.sampled_from(["leeds", "wirral"]),
        st.lists(CHILDREN, min_size=1, max_size=6),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda extract: extract[:2],
)


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Tools:
    return make_tools(keys.KeyRing.create(tmp_path_factory.mktemp("keys") / "set"), None)


def _read(folder: Path, source: str, council: str, children: list[dict[str, str]]) -> PayloadOnly:
    said = [
        build_row(source) | {name: value for name, value in child.items() if name in build_row(source)}
        for child in children
    ]
    path = folder / f"{COHORT}.csv"
    path.write_text(format_rows(said, list(said[0])), encoding="utf-8")
    contract = CONTRACTS[source]
    extract = open_extract(
        Landed(council, source, COHORT, path), contract, load_council_file(council).get_dialect(source)
    )
    rows = pa.Table.from_batches(extract.batches, extract.schema)
    return stream_extract._build_request(
        extract, contract, stream_extract._build_projection(extract, contract), rows, stream_extract.WHOLE
    )


@limit_examples(30)
@given(EXTRACTS)
def test_together_as_each_alone(tools: Tools, extracts: list[tuple[str, str, list[dict[str, str]]]]) -> None:
    with TemporaryDirectory() as folder:
        wanted = [_read(Path(folder), *extract) for extract in extracts]
    batches = [[entry for entry in wanted if entry.batch == batch] for batch in {entry.batch for entry in wanted}]
    together = [pair for batch in batches for pair in zip(batch, tokenise(tools, batch), strict=True)]
    for entry, found in together:
        assert found.equals(tokenise(tools, [entry])[0])
        if "date_of_birth" in entry.contract:
            row_by_row = PayloadOnly(entry.contract, entry.sql, entry.rows, Scope(marked=True))
            (marked,) = tokenise(tools, [row_by_row])
            tokens = [name for name in found.column_names if name in pseudonyms.TOKEN_COLUMNS]
            assert tokens
            assert found.select(tokens).equals(marked.select(tokens))
