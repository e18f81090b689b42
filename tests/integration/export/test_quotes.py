"""Sentences that may be quoted: the judge supports each of them, and each is proved up to the signature."""

import html
import json
import re
from pathlib import Path
from typing import Any

import pytest

from ndl_export.answers.claims import SUPPORTED, check_claim
from ndl_export.answers.published import open_published
from ndl_export.answers.questions import Questions
from ndl_export.api import shapes
from ndl_export.facts.row_hashes import check_answer


@pytest.fixture(scope="module")
def quoted(series: Path) -> dict[str, Any]:
    """The published sentences by area."""
    files = (series.parent / "api" / "v1" / shapes.QUOTES).glob("E*.json")
    return {file.stem: json.loads(file.read_bytes()) for file in files}


def test_every_sentence_is_a_claim_that_the_judge_supports(series: Path, quoted: dict[str, Any]) -> None:
    with open_published(str(series.parent)) as published:
        questions = Questions(published)
        for area in quoted.values():
            shapes.QuotesOfArea.model_validate(area)
            assert area["said"]
            for quote in area["said"]:
                found = check_claim(questions, quote["claim"])
                assert found.verdict == SUPPORTED, (quote, found)
                assert found.judged.partition(" (95%")[0].rstrip(".") in quote["sentence"]
                assert found.figures == quote["figures"]


def test_every_sentence_has_an_interval_a_release_and_a_proof(series: Path, quoted: dict[str, Any]) -> None:
    key = (series / "public_key.pem").read_bytes()
    for code, area in quoted.items():
        said = [each["sentence"] for each in area["said"]]
        assert [
            each for each in said if "95% interval" not in each and not re.search("(would be|by) between", each)
        ] == []
        assert area["release"] in area["source"]
        assert area["proof"].endswith(f"/api/v1/proofs/{code}.json")
        assert area["proof"] in area["source"]
        proof = json.loads((series.parent / "api" / "v1" / shapes.PROOFS / f"{code}.json").read_bytes())
        assert check_answer(proof, key) == []
        assert proof["figures"] == [figure for quote in area["said"] for figure in quote["figures"]]


def test_what_noise_and_chance_explain_is_said_to_be_unknown(quoted: dict[str, Any]) -> None:
    unsaid = " ".join(each for area in quoted.values() for each in area["unsaid"])
    assert "are too close to call: " in unsaid
    assert re.search(r"could be in any place from \d to \d of \d", unsaid)


def test_the_page_of_a_council_has_the_same_sentences(series: Path, quoted: dict[str, Any]) -> None:
    page = html.unescape((series / "site" / "council-leeds.html").read_text(encoding="utf-8"))
    own = quoted["E08000035"]
    shown = re.findall(r"<q>(.*?)</q>", page)
    values = [each["sentence"] for each in own["said"] if "value" in each["claim"]]
    assert values
    assert set(values) <= set(shown)
    assert own["source"] in page
