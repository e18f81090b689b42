"""Evidence for rows: the Merkle tree, answers that are right, and every way to make one wrong."""

import base64
import copy
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import example, given, strategies as st

from ndl_export.facts.check_answer import find_problems, list_unproved, read_answer
from ndl_export.facts.row_hashes import ROW_HASHES_FILE, build_row_hashes, check_answer, prove_rows
from ndl_export.files.signing import SIGNATURE_FILE, SUMS_FILE, UnusableKey, get_public_pem
from ndl_export.tables import TABLES
from ndl_export.tables.csv_files import build_csv_files
from tests.support.daily import limit_examples
from tests.support.export.answers import build_answer, quote_figure, sign_files

KEY, OTHER_KEY = (Ed25519PrivateKey.from_private_bytes(bytes(range(first, first + 32))) for first in (0, 1))
PUBLIC = get_public_pem(KEY)
NOTICE = "Synthetic data: no figure is about a real child."
TABLE, COUNT, PERCENT = "gld_headline", "children_count", "gld_children_percent"
QUOTED = [(TABLE, 1, PERCENT), (TABLE, 2, COUNT), (TABLE, 2, PERCENT), ("joined_dots", 7, "children_count")]


def describe(lines: list[bytes]) -> dict[str, Any]:
    """Return what `row_hashes.json` says of a table with these lines."""
    content = b"".join(line + b"\n" for line in (b"header", *lines))
    hashes = json.loads(build_row_hashes({f"{TABLE}_all_rows.csv": content}, {TABLE: TABLES[TABLE]}, "2026.11.0", ""))
    found: dict[str, Any] = hashes["tables"][TABLE]
    return found


def compute_root(lines: list[bytes]) -> bytes:
    """Return the Merkle tree hash as RFC 6962, section 2.1, defines it."""
    if not lines:
        return hashlib.sha256().digest()
    if len(lines) == 1:
        return hashlib.sha256(b"\x00" + lines[0]).digest()
    half = 1
    while half * 2 < len(lines):
        half *= 2
    return hashlib.sha256(b"\x01" + compute_root(lines[:half]) + compute_root(lines[half:])).digest()


ROWS = st.lists(st.binary(max_size=6).filter(lambda line: b"\n" not in line), max_size=200)


@example(lines=[])
@given(lines=ROWS)
def test_the_root_is_that_of_the_standard(lines: list[bytes]) -> None:
    assert describe(lines) == describe(lines) | {"rows": len(lines), "root": compute_root(lines).hex()}


@pytest.fixture(scope="module")
def plain(tables: dict[str, pa.Table]) -> dict[str, bytes]:
    wanted = {name: tables[name] for name in (TABLE, "joined_dots")}
    made = build_csv_files(wanted, TABLES)
    return {f"{name}_all_rows.csv": made[f"{name}_all_rows.csv"] for name in wanted}


@pytest.fixture(scope="module")
def signed(plain: dict[str, bytes]) -> dict[str, bytes]:
    return sign_files(plain, KEY, notice=NOTICE)


@pytest.fixture
def answer(signed: dict[str, bytes]) -> dict[str, Any]:
    return build_answer(signed, QUOTED)


def shorten(signed: Mapping[str, bytes], size: int) -> dict[str, bytes]:
    """Return a release whose table has only its first rows."""
    name = f"{TABLE}_all_rows.csv"
    return sign_files({name: b"".join(signed[name].splitlines(keepends=True)[: size + 1])}, KEY)


@limit_examples(40)
@given(size=st.integers(1, 200), place=st.floats(0, 1, exclude_max=True), other=st.floats(0, 1, exclude_max=True))
def test_any_row_of_any_table_is_proven_and_no_other_row_by_its_path(
    signed: dict[str, bytes], size: int, place: float, other: float
) -> None:
    files = shorten(signed, size)
    row, wrong = 1 + int(place * size), 1 + int(other * size)
    answer = build_answer(files, [(TABLE, row, COUNT)])
    assert check_answer(answer, PUBLIC) == []
    answer["figures"][0]["row"] = answer["evidence"]["rows"][0]["row"] = wrong
    assert bool(check_answer(answer, PUBLIC)) == (wrong != row)


def test_every_figure_of_a_release_is_proven(signed: dict[str, bytes]) -> None:
    numbers = range(1, signed[f"{TABLE}_all_rows.csv"].count(b"\n"))
    answer = build_answer(signed, [(TABLE, row, measure.name) for row in numbers for measure in TABLES[TABLE].measures])
    assert {each["flag"] for each in answer["figures"]} >= {None, "z"}
    assert check_answer(answer, PUBLIC) == []


def test_evidence_has_the_shape_that_services_give(signed: dict[str, bytes], answer: dict[str, Any]) -> None:
    evidence = answer["evidence"]
    assert list(evidence) == ["release", "sums", "signature", "row_hashes", "rows"]
    assert (evidence["release"], evidence["sums"].encode()) == ("2026.11.0", signed[SUMS_FILE])
    assert base64.b64decode(evidence["signature"]) == signed[SIGNATURE_FILE]
    assert [(each["table"], each["row"]) for each in evidence["rows"]] == [(TABLE, 1), (TABLE, 2), ("joined_dots", 7)]
    assert list(evidence["rows"][0]) == ["table", "row", "line", "header", "path"]


@pytest.mark.parametrize("row", [(TABLE, 0), (TABLE, 10**6), ("no_table", 1)])
def test_a_row_that_does_not_exist_has_no_proof(signed: dict[str, bytes], row: tuple[str, int]) -> None:
    with pytest.raises(ValueError, match=r"release 2026\.11\.0 has no row"):
        prove_rows(signed, [row])


def test_an_answer_may_rest_on_several_releases(plain: dict[str, bytes], signed: dict[str, bytes]) -> None:
    later = sign_files(plain, KEY, "2027.11.0")
    answer, other = build_answer(signed, QUOTED[:1]), build_answer(later, QUOTED[:2])
    answer["figures"] += other["figures"]
    assert "no evidence for its row" in " ".join(check_answer(answer, PUBLIC))
    answer["evidence"] = [answer["evidence"], other["evidence"]]
    assert check_answer(answer, PUBLIC) == []


def set_figure(**wrong: Any) -> Callable[[dict[str, Any]], object]:
    return lambda answer: answer["figures"][0].update(wrong)


def set_evidence(name: str, change: Callable[[str], str]) -> Callable[[dict[str, Any]], object]:
    return lambda answer: answer["evidence"].update({name: change(answer["evidence"].get(name, ""))})


def set_row(**wrong: Any) -> Callable[[dict[str, Any]], object]:
    return lambda answer: answer["evidence"]["rows"][0].update(wrong)


def swap_rows(answer: dict[str, Any]) -> None:
    """Give row 1 the line and the proof of row 2."""
    first, second = answer["evidence"]["rows"][:2]
    first |= {"line": second["line"], "path": second["path"]}


def change_cell(answer: dict[str, Any]) -> None:
    row, figure = answer["evidence"]["rows"][0], answer["figures"][0]
    row["line"] = row["line"].replace(str(figure["value"]), "99.9")
    figure["value"] = 99.9


def rename_columns(answer: dict[str, Any]) -> None:
    """Exchange two measures in the header."""
    header = answer["evidence"]["rows"][0]["header"]
    moved = header.replace("gld_children_percent,", "other,").replace("elgs_expected_average,", "gld_children_percent,")
    answer["evidence"]["rows"][0]["header"] = moved


def use_node_as_leaf(answer: dict[str, Any]) -> None:
    """Offer the two lowest hashes of the path as a line, with the rest of the path: a second preimage."""
    row = answer["evidence"]["rows"][0]
    leaf = hashlib.sha256(b"\x00" + row["line"].encode()).digest()
    row["line"] = "\x01" + (leaf + bytes.fromhex(row["path"][0][1])).decode("latin-1")
    row["path"] = row["path"][1:]


def forge_hashes(answer: dict[str, Any]) -> None:
    """Change a figure, its line, its root and the sum of the hashes, so that all but the signature agrees."""
    change_cell(answer)
    evidence = answer["evidence"]
    hashes = json.loads(evidence["row_hashes"])
    line = evidence["rows"][0]["line"]
    hashes["tables"][TABLE] |= {"rows": 1, "root": hashlib.sha256(b"\x00" + line.encode()).hexdigest()}
    before, evidence["row_hashes"] = evidence["row_hashes"], json.dumps(hashes)
    old, new = (hashlib.sha256(text.encode()).hexdigest() for text in (before, evidence["row_hashes"]))
    evidence["sums"] = evidence["sums"].replace(old, new)
    evidence["rows"], answer["figures"] = [evidence["rows"][0] | {"path": []}], answer["figures"][:1]


NOT_THE_ROW = "this is not row 1 of gld_headline in 2026.11.0"
ATTACKS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "changed value": (set_figure(value=99.9), "figure 1: value is 99.9"),
    "changed count": (lambda answer: answer["figures"][1].update(value=1), "figure 2: value is 1"),
    "value as text": (lambda answer: answer["figures"][0].update(value="99"), "value is '99'"),
    "not a number": (set_figure(value=float("nan")), "value is nan"),
    "value left out": (lambda answer: answer["figures"][0].pop("value"), "value is None"),
    "changed interval": (
        lambda answer: answer["figures"][0].update(lower=answer["figures"][0]["lower"] + 0.2),
        "lower is",
    ),
    "interval of no number": (set_figure(upper=float("nan")), "upper is nan"),
    "interval dropped": (set_figure(upper=None), "upper is None"),
    "interval left out": (lambda answer: answer["figures"][0].pop("lower"), "lower is None"),
    "changed flag": (set_figure(flag="u"), "flag is 'u'"),
    "changed meaning": (set_figure(flag_meaning="can be used"), "flag_meaning is"),
    "changed unit": (set_figure(unit="children"), "unit is 'children'"),
    "changed area": (set_figure(area_name="Leeds"), "area_name is 'Leeds'"),
    "changed code": (set_figure(area_code="E08000035"), "area_code is"),
    "changed level": (set_figure(geographic_level="National"), "geographic_level is"),
    "changed period": (set_figure(time_period="202324"), "time_period is"),
    "changed filter": (lambda answer: answer["figures"][0]["filters"].update(sex="Female"), "filters is"),
    "filter dropped": (lambda answer: answer["figures"][0]["filters"].pop("sex"), "filters is"),
    "hidden break": (set_figure(series_break=True), "series_break is True"),
    "other measure": (set_figure(measure="gld_children_percent_model"), "does not have the form"),
    "other row": (set_figure(row=2), "figure 1: "),
    "row without evidence": (set_figure(row=3), "figure 1: there is no evidence for its row"),
    "other table": (set_figure(table="joined_dots"), "figure 1: there is no evidence for its row"),
    "other release": (set_figure(release="2027.11.0"), "figure 1: there is no evidence for its row"),
    "evidence of another release": (
        set_evidence("release", lambda _: "2027.11.0"),
        "its hashes are those of 2026.11.0",
    ),
    "no figures": (lambda answer: answer.update(figures=[]), "it names no figure"),
    "no evidence": (lambda answer: answer.pop("evidence"), "there is no evidence for its row"),
    "evidence of nothing": (lambda answer: answer["evidence"].update(rows=[]), "there is no evidence for its row"),
    "no notice": (lambda answer: answer.update(notice=None), f"its notice is not that of the release: {NOTICE}"),
    "denied notice": (lambda answer: answer.update(notice=f"It is false that: {NOTICE}"), "its notice is not that"),
    "longer notice": (lambda answer: answer.update(notice=f"{NOTICE} Figures are exact."), "its notice is not that"),
    "invented key of a figure": (set_figure(interval="exact"), "figure 1: 'interval' is not part of a figure"),
    "invented evidence": (set_evidence("approved", lambda _: "by all"), "approved is no evidence"),
    "invented key of a row": (set_row(meaning="exact"), "evidence: meaning is no evidence"),
    "swapped row": (swap_rows, NOT_THE_ROW),
    "changed line": (change_cell, NOT_THE_ROW),
    "changed header": (rename_columns, NOT_THE_ROW),
    "changed path": (lambda answer: answer["evidence"]["rows"][0]["path"][0].__setitem__(1, "00" * 32), NOT_THE_ROW),
    "changed side": (lambda answer: answer["evidence"]["rows"][0]["path"][0].__setitem__(0, "left"), NOT_THE_ROW),
    "shorter path": (lambda answer: answer["evidence"]["rows"][0]["path"].pop(), NOT_THE_ROW),
    "no path": (set_row(path=[]), NOT_THE_ROW),
    "node as leaf": (use_node_as_leaf, NOT_THE_ROW),
    "row below the first": (set_row(row=0), "this is not row 0"),
    "row as text": (set_row(row="1"), "does not have the form"),
    "unknown table": (set_row(table="no_table"), "does not have the form"),
    "changed hashes": (set_evidence("row_hashes", lambda text: text + " "), "is not the one listed in SHA256SUMS"),
    "changed sums": (
        set_evidence("sums", lambda text: text.replace("a", "b", 1)),
        "SHA256SUMS was not signed with this key",
    ),
    "no sums": (set_evidence("sums", lambda _: ""), "is not the one listed in SHA256SUMS"),
    "other signature": (set_evidence("signature", lambda _: base64.b64encode(bytes(64)).decode()), "was not signed"),
    "forged hashes": (forge_hashes, "SHA256SUMS was not signed with this key"),
    "no JSON in it": (set_evidence("row_hashes", lambda _: "{"), "does not have the form"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_answer_that_was_changed_is_found_out(answer: dict[str, Any], attack: str) -> None:
    before, (change, expected) = copy.deepcopy(answer), ATTACKS[attack]
    change(answer)
    assert answer != before
    assert expected in "\n".join(check_answer(answer, PUBLIC))


def test_a_key_that_is_there_twice_is_refused(answer: dict[str, Any]) -> None:
    """Some readers would show the first value, and others the last."""
    content = json.dumps(answer)
    assert read_answer(content.encode()) == answer
    with pytest.raises(ValueError, match="twice"):
        read_answer(content.replace('"value": ', '"value": 99.9, "value": ', 1).encode())


def test_what_is_not_proved_is_listed(answer: dict[str, Any]) -> None:
    before = list_unproved(answer)
    assert before == ["answer", "citation", "licence", "may_conclude", "may_not_conclude"]
    answer |= {"verdict": "supported", "corrected": "All is well."}
    assert (check_answer(answer, PUBLIC), list_unproved(answer)) == ([], sorted([*before, "corrected", "verdict"]))


def test_a_flag_that_was_dropped_is_found_out(plain: dict[str, bytes], signed: dict[str, bytes]) -> None:
    lines = plain[f"{TABLE}_all_rows.csv"].decode().splitlines()
    flagged = next(
        row for row in range(1, len(lines)) if quote_figure(signed, TABLE, row, PERCENT)["flag"] not in (None, "z", "x")
    )
    answer = build_answer(signed, [(TABLE, flagged, PERCENT)])
    assert check_answer(answer, PUBLIC) == []
    answer["figures"][0] |= {"flag": None, "flag_meaning": None}
    assert [each.split(" is ")[0] for each in check_answer(answer, PUBLIC)] == [
        "figure 1: flag",
        "figure 1: flag_meaning",
    ]


def test_a_signature_of_somebody_else_is_found_out_with_the_key_alone(
    plain: dict[str, bytes], signed: dict[str, bytes]
) -> None:
    answer = build_answer(sign_files(plain, OTHER_KEY), QUOTED)
    assert check_answer(answer, PUBLIC) == ["evidence: SHA256SUMS was not signed with this key"]
    assert check_answer(answer, None) == []
    with pytest.raises(UnusableKey):
        check_answer(answer, b"no key")
    forged = build_answer(signed, QUOTED)
    forge_hashes(forged)
    assert check_answer(forged, None) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["evidence", "figures", "rows"]), inner)
    ),
    max_leaves=4,
)


@limit_examples(50)
@given(given_answer=JSON)
def test_anything_else_is_no_answer(given_answer: Any) -> None:
    assert find_problems(given_answer, None)


def test_the_file_states_what_a_reader_needs(signed: dict[str, bytes]) -> None:
    hashes = json.loads(signed[ROW_HASHES_FILE])
    assert set(hashes) == {"algorithm", "release", "notice", "flags", "tables"}
    described = hashes["tables"][TABLE]
    assert described["file"] == f"{TABLE}_all_rows.csv"
    assert described["filters"] == ["breakdown_topic", "breakdown", "sex"]
    assert described["measures"][PERCENT] == {"unit": "%", "decimals": 1, "decimals_by_flag": {"u": 0}}
    assert described["measures"][COUNT] == {"unit": "children", "decimals": 0}
