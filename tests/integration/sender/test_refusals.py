"""A tokens file that is foreign, damaged or hostile is refused with a sentence, and the good one stays."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.pseudonymise.tokens_file import MANIFEST_KEY, TokensManifest, iter_token_rows
from privacy.keys import KeyRing
from privacy.normalise import NORMALISER_VERSION
from privacy.pseudonyms import PSEUDONYM_VERSION
from sources.contracts import CONTRACTS
from sources.errors import ExtractStopped
from sources.extract.landing import Landed
from tests.support.daily import mark_slow_after
from tests.support.intake.desk import COHORT, Desk, build_eyfsp
from tests.support.intake.sender import Sender, build_reviews, put, rewrite, unseal

pytestmark = pytest.mark.slow

NAME = f"leeds/eyfsp/{COHORT}.tokens.parquet"
SECRET = "Zzyzxwick"


@pytest.fixture
def tokens(sender: Sender, pipeline: Desk) -> Path:
    """A sound tokens file of nine rows, as it lies in landing."""
    return put(sender.pseudonymise(sender.write(build_eyfsp(*[{}] * 9, {"com_e01": "3"}))), pipeline)


def manifest_of(path: Path, keys: KeyRing) -> dict[str, Any]:
    return json.loads(unseal(path, keys).metadata.metadata[MANIFEST_KEY.encode()])


def refused(pipeline: Desk, source: str = "eyfsp") -> str:
    with pytest.raises(ExtractStopped) as stopped:
        pipeline.take(source)
    sentence = str(stopped.value)
    assert "please report this" not in sentence
    assert SECRET not in sentence
    assert not pipeline.home.get_extract(source, COHORT, "leeds").pseudonymised.exists()
    return sentence


@pytest.mark.parametrize(
    ("change", "message"),
    mark_slow_after(
        2,
        [
            ({"council": "wirral"}, "made for another council, not for leeds"),
            ({"key_fingerprints": {}}, "not made with a linkage key of fingerprint "),
            ({"cohort": "202324"}, "made for another cohort, not for 202425"),
            ({"pseudonym_version": "0"}, f"not made with pseudonyms of version {PSEUDONYM_VERSION}"),
            ({"normaliser_version": "0"}, f"not made with a normaliser of version {NORMALISER_VERSION}"),
            ({"contract_sha256": "ab" * 32}, "not made with a contract of hash "),
            ({"rows_read": 11, "rows_kept": 10}, "number of rows differs from its manifest"),
            ({"extract_sha256": SECRET}, "extract_sha256: String should match pattern"),
        ],
    ),
)
def test_a_manifest_of_another_file(tokens: Path, pipeline: Desk, change: dict[str, Any], message: str) -> None:
    rewrite(tokens, pipeline.keys, manifest=json.dumps(manifest_of(tokens, pipeline.keys) | change))
    sentence = refused(pipeline)
    assert sentence.startswith(NAME)
    assert message in sentence


CHANGES: list[tuple[dict[str, Any], str]] = [
    ({"source": "hv_reviews"}, "no pass knows"),
    ({"source": SECRET}, "no pass knows"),
    ({"rows_read": 9}, "rows do not add up"),
    ({"rows_read": True}, "rows_read"),
    ({"rows_read": -1, "rows_kept": -2}, "rows_read"),
    ({"rows_read": 11, "rows_rejected": 2}, "rejected rows do not agree with the rules"),
    ({"rows_read": 9, "rows_rejected": 0}, "rows are not in the file"),
    ({"rules": "none"}, "rules"),
    ({"rules": [{"rule": SECRET}]}, "rules"),
    ({"headings": {f"{SECRET}\n": "x"}}, "headings"),
    ({"software": f"\x1b[2J{SECRET}"}, "software"),
    ({"software": None}, "software"),
    ({"postcode_directory_sha256": 5}, "postcode_directory_sha256"),
    ({"surname": SECRET}, "Unexpected"),
    ({SECRET: 1}, "Unexpected"),
]
RULES: list[tuple[dict[str, Any], str]] = [
    ({"rule": f"<{SECRET}>"}, "rules"),
    ({"severity": "stop"}, "reject or warn"),
    ({"severity": ["reject"]}, "rules"),
    ({"sentence": "x" * 3000}, "rules"),
    ({"columns": ["Pupil Surname"]}, "rules"),
    ({"rows": 11}, "rows are not in the file"),
    ({"first_rows": [11]}, "rows are not in the file"),
    ({"first_rows": [1, 2]}, "rows are not in the file"),
]


def test_manifests_that_no_sound_pass_writes(tokens: Path, keys: KeyRing) -> None:
    sound = manifest_of(tokens, keys)
    cases = [(sound | change, message) for change, message in CHANGES]
    cases += [(sound | {"rules": [sound["rules"][0] | change]}, message) for change, message in RULES]
    cases += [(sound | {"rules": sound["rules"] * 2}, "twice"), ([], "it: ")]
    texts = [(json.dumps(manifest).encode(), message) for manifest, message in cases]
    texts += [(text, "Invalid JSON") for text in (b"{", b"[" * 100_000, b"\xff\xfe")]
    for text, message in texts:
        with pytest.raises(ValueError, match=message) as wrong:
            TokensManifest.from_json(text)
        assert SECRET not in str(wrong.value)


@pytest.mark.parametrize(("manifest", "message"), [("", "carries no manifest"), (" " * (2 << 20), "it is too long")])
def test_a_manifest_that_is_none(tokens: Path, pipeline: Desk, manifest: str, message: str) -> None:
    rewrite(tokens, pipeline.keys, manifest=manifest)
    assert message in refused(pipeline)


@pytest.mark.parametrize("key", ["linkage.key", "upn.key", "nhs.key", "intake.pub.pem"])
def test_another_key(sender: Sender, pipeline: Desk, keys: KeyRing, key: str, tmp_path: Path) -> None:
    other = tmp_path / "other"
    KeyRing.create(other)
    for name in {"linkage.key", "upn.key", "nhs.key", "intake.pub.pem"} - {key}:
        shutil.copy(sender.keys / name, other)
    sender.run(sender.write(build_eyfsp()), keys=other)
    put(sender.get_out() / f"{COHORT}.tokens.parquet", pipeline)
    sentence, name = refused(pipeline), key.removesuffix(".key")
    if name in keys.fingerprints:
        assert f"not made with a {name} key of fingerprint {keys.fingerprints[name]}" in sentence
    else:
        assert "is sealed to another pipeline's key" in sentence


def _with(name: str, values: list[Any]) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        at = table.column_names.index(name)
        return table.set_column(at, table.schema.field(at), pa.array(values, table.schema.field(at).type))

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    mark_slow_after(
        4,
        [
            (lambda t: t.append_column("surname", pa.array([SECRET] * 9)), "unexpected column 64"),
            (lambda t: t.drop_columns(["t_nhs"]), "missing t_nhs"),
            (lambda t: t.select(t.column_names[::-1]), "another order or of another type"),
            (lambda t: t.set_column(1, "sex", t["sex"].dictionary_encode()), "another order or of another type"),
            (lambda t: t.append_column("t_upn", t["t_upn"]), "another order or of another type"),
            (_with("row_key", [*range(1, 9), None]), "row_key must rise"),
            (_with("row_key", [*range(8, 0, -1), 2**64 - 1]), "row_key must rise"),
            (_with("row_key", list(range(9))), "row_key gives rows"),
            (_with("row_key", [*range(1, 9), 2**64 - 1]), "row_key gives rows"),
            (_with("term_of_birth", [SECRET] * 9), "term_of_birth holds values outside its list"),
            (_with("imd_quintile", [6] * 9), "imd_quintile holds values outside its list"),
            (_with("sex", [SECRET] * 9), "sex holds values outside its code list"),
            (_with("com_e01", ["3"] * 9), "com_e01 holds values outside its code list"),
            (_with("com_e01", [None] * 9), "com_e01 is blank in rows that were kept"),
            (lambda t: t.slice(0, 8), "number of rows differs from its manifest"),
            (lambda t: t.slice(0, 0), "number of rows differs from its manifest"),
        ],
    ),
)
def test_rows_that_no_sound_pass_writes(
    tokens: Path, pipeline: Desk, change: Callable[[pa.Table], pa.Table], message: str
) -> None:
    rewrite(tokens, pipeline.keys, change(unseal(tokens, pipeline.keys).read()))
    assert message in refused(pipeline)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    mark_slow_after(
        4,
        [
            ("asq3_communication", [61.0], "outside its range"),
            ("asq3_communication", [float("nan")], "other than a number"),
            ("asq3_fine_motor", [float("inf")], "other than a number"),
        ],
    ),
)
def test_numbers_that_are_none(sender: Sender, pipeline: Desk, name: str, values: list[float], message: str) -> None:
    path = put(sender.pseudonymise(sender.write(build_reviews(), "hv_reviews")), pipeline, "hv_reviews")
    rewrite(path, pipeline.keys, _with(name, values)(unseal(path, pipeline.keys).read()))
    assert message in refused(pipeline, "hv_reviews")


def test_tokens_that_anyone_could_read_on_their_way(tokens: Path, pipeline: Desk) -> None:
    """As an earlier version wrote them."""
    pq.write_table(unseal(tokens, pipeline.keys).read(), tokens)
    assert "is not sealed to this pipeline" in refused(pipeline)


@pytest.mark.parametrize("cut", mark_slow_after(4, [0, 4, 100, 2000, -1, -8, -200]))
def test_a_file_cut_short(tokens: Path, pipeline: Desk, cut: int) -> None:
    tokens.write_bytes(tokens.read_bytes()[:cut])
    assert "send it again" in refused(pipeline)


def test_damage_never_gives_other_rows(sender: Sender, keys: KeyRing, tmp_path: Path) -> None:
    """Tokens are random bits, in which only the tag of the cipher shows damage."""
    sound = sender.pseudonymise(sender.write(build_eyfsp(*[{}] * 9)))
    content, damaged = sound.read_bytes(), tmp_path / sound.name
    landed, contract = Landed("leeds", "eyfsp", COHORT, damaged), CONTRACTS["eyfsp"]
    rows, found = unseal(sound, keys).read(), 0
    for start in range(0, len(content), len(content) // 120):
        end = start + 16
        damaged.write_bytes(content[:start] + bytes(byte ^ 0x55 for byte in content[start:end]) + content[end:])
        try:
            assert pa.concat_tables(iter_token_rows(landed, keys, contract)).equals(rows)
        except ExtractStopped:
            found += 1
    assert found > 60


def test_both_the_extract_and_its_tokens_are_refused(tokens: Path, sender: Sender, pipeline: Desk) -> None:
    put(sender.write(build_eyfsp()), pipeline)
    with pytest.raises(ExtractStopped, match="are both in the folder"):
        pipeline.take("eyfsp")


def test_a_whole_file_of_another_council_is_stopped_here_too(tokens: Path, pipeline: Desk) -> None:
    """Whatever the sender's own tool let through."""
    manifest = manifest_of(tokens, pipeline.keys)
    rule = manifest["rules"][0] | {"rule": "another-council", "rows": 6, "first_rows": [1, 2, 3, 4, 5, 6]}
    rewrite(
        tokens,
        pipeline.keys,
        manifest=json.dumps(manifest | {"rules": [*manifest["rules"], rule | {"severity": "warn"}]}),
    )
    assert "more than half of the rows break another-council" in refused(pipeline)


@pytest.mark.parametrize("has_directory", [True, False])
def test_the_postcode_directory_is_compared(sender: Sender, pipeline: Desk, has_directory: bool) -> None:
    sender.directory.write_text("postcode,imd_decile\nLS1 4AP,9\n")
    more = ["--postcode-directory", str(sender.directory)] if has_directory else []
    sender.run(sender.write(build_eyfsp()), *more)
    put(sender.get_out() / f"{COHORT}.tokens.parquet", pipeline)
    quality = pipeline.take("eyfsp")
    (found,) = [finding for finding in quality.findings if finding.column == "imd_quintile"]
    assert (found.severity, found.passed) == ("warning", False)
    assert ("another postcode directory" if has_directory else "had no postcode directory") in found.sentence
    assert pipeline.read_table("eyfsp")["imd_quintile"].to_pylist() == ([5] if has_directory else [None])


def test_a_refused_file_leaves_the_good_one(tokens: Path, pipeline: Desk) -> None:
    pipeline.take("eyfsp")
    before = pipeline.read_table("eyfsp")
    rewrite(tokens, pipeline.keys, _with("sex", [SECRET] * 9)(unseal(tokens, pipeline.keys).read()))
    with pytest.raises(ExtractStopped):
        pipeline.take("eyfsp")
    assert pipeline.read_table("eyfsp").equals(before)
