"""A request is what its file says, or everything that is wrong with it is said at once; no file does any harm."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from assets.release.requests.request import TEMPLATE, Request, read_request, read_requests
from ndl_export.tables.definition import InvalidDefinition
from privacy.doors.settings_file import MAX_BYTES
from tests.support import PROJECT

EXAMPLES = sorted((PROJECT / "docs" / "requests").glob("*.yaml"))


def document() -> dict[str, Any]:
    return read_request(TEMPLATE).build_document()


def written(folder: Path, content: Any) -> Path:
    path = folder / "request.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False), "utf-8")
    return path


def refusal(folder: Path, content: Any) -> str:
    with pytest.raises(InvalidDefinition) as refused:
        read_request(written(folder, content))
    return str(refused.value)


def test_the_template_and_every_example_of_the_documents_are_requests() -> None:
    assert len(EXAMPLES) == 5
    assert {each.family for each in read_requests(EXAMPLES)} == {"pupil", "parents"}
    for path in (TEMPLATE, *EXAMPLES):
        request = read_request(path)
        assert request.table.name == request.name == path.stem or path == TEMPLATE


def test_a_request_is_its_document(tmp_path: Path) -> None:
    """What is left out is said as it is by default; order of keys, quotes and comments are not part of it."""
    request = read_request(TEMPLATE)
    same = dict(reversed([*document().items()]))
    assert read_request(written(tmp_path, same)) == request
    assert read_request(written(tmp_path, same)).sha256 == request.sha256
    assert Request.model_validate(request.model_dump()).sha256 == request.sha256
    assert read_request(written(tmp_path, same | {"purpose": "Another"})).sha256 != request.sha256
    assert request.definition.model_dump().keys() < document().keys()
    text = TEMPLATE.read_text("utf-8").replace('["Yes"]', "[Yes]").replace("[202425]", '["202425"]')
    assert read_request(written(tmp_path, text)).sha256 == request.sha256


def test_everything_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    """What the file lacks, what it has too much, and what the family does not have, of every part that can be read."""
    wrong = document() | {
        "title": "a | b",
        "geography": "everywhere",
        "columns": [
            "fms",
            {"attribute": "ethnic_group", "levels": {"White": ["white"], "None": []}},
            {"attribute": "fsm", "name": "children_count", "levels": {"Total": ["Unknown"]}},
            {"attribute": "sex", "label": "<"},
        ],
        "figure": {"attribute": "gld", "categories": ["Maybe"]},
        "accuracy": {"half_width_points": 0, "share_of_rates": 2},
        "asked_by": "somebody@example.org",
        "cohort": "202425",
        "cohorts": [202425, 202425, "x"],
    }
    del wrong["purpose"]
    message = refusal(tmp_path, wrong)
    for place, rule in {
        "title": "is one line of text",
        "geography": "must be",
        "columns[1]": "'fms' is not an attribute of pupil; choose from: sex, fsm, ",
        "columns[2].levels.White": "ethnic_group has no category 'white'",
        "columns[2].levels.None": "it is empty",
        "columns[3].levels": "'Total' is the word for all categories",
        "columns[4].label": "is one line of text",
        "a column cannot be called children_count": "",
        "figure.categories": "gld has no category 'Maybe'",
        "accuracy.half_width_points": "greater than or equal to 0.1",
        "accuracy.share_of_rates": "less than or equal to 1",
        "asked_by": "is the name of an organisation, and no address",
        "cohort": "is not a key here",
        "cohorts": "202425 is listed twice",
        "cohorts[3]": "'x' is not a cohort",
        "purpose": "is missing",
    }.items():
        assert any(f": {place}" in line and rule in line for line in message.splitlines()), (place, message)
    assert "request.yaml:1:1: purpose: is missing" in message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"family": "teachers"}, "family: is one of pupil, health, parents"),
        ({"family": ["pupil"]}, "family: must be one text"),
        ({"name": "gld_headline"}, "name: gld_headline is already the name of something else in a release"),
        ({"cohorts": ["202426"]}, "cohorts[1]: '202426' is not a cohort"),
        ({"cohorts": []}, "cohorts: "),
        ({"purpose": "two\nlines"}, "purpose: is one line of text"),
        ({"asked_by": "[a](b)"}, "asked_by: is one line of text"),
        ({"title": "x" * 201}, "title: "),
        ({"columns": ["ethnic_group", "asq3", "dots"], "figure": None}, "both found by linkage"),
    ],
)
def test_what_is_no_request_is_refused_by_its_key(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    assert message in refusal(tmp_path, document() | change)


WHOLE = TEMPLATE.read_text("utf-8")
HOSTILE = {
    "aliases that unfold": (
        "\n".join(
            ["a: &a [x]", *(f"{n}: &{n} [{'*a, ' if n == 'b' else f'*{chr(ord(n) - 1)}, ' * 9}]" for n in "bcdefg")]
        ),
        "unfold to too many",
    ),
    "an alias of nothing": ("a: *b\n", "found undefined alias"),
    "a merge": ("<<: {name: x}\nname: y\n", "'<<' is not a key here"),
    "a tag of Python": ("name: !!python/object/apply:os.system [true]\n", "tags with ! are not read"),
    "a tag on the whole": ("!!set {a, b}\n", "tags with ! are not read"),
    "a key twice": ("name: one\ntitle: x\nname: two\n", ":3:1: 'name' is there twice, first on line 1"),
    "a key that is a list": ("? [a, b]\n: c\n", "a key must be text"),
    "a deep nest": ("a: " + "[" * 500 + "]" * 500, "nested too deep"),
    "a deeper nest": ("a: " + "[" * 15_000, "nested too deep"),
    "an enormous number": (WHOLE.replace("[202425]", f"[{'9' * 20_000}]"), "cohorts[1]: is two consecutive years"),
    "no mapping": ("- name\n", "the whole: "),
    "nothing": ("", "the file is empty"),
    "two documents": ("name: a\n---\nname: b\n", "expected a single document"),
    "no YAML": ("name: [a\n", "request.yaml:2:1: not readable"),
    "a control character": ("name: \x07\n", "not readable as YAML"),
    "a tab": ("columns:\n\t- fsm\n", "request.yaml:2:1: not readable as YAML: while scanning"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_is_refused(case: str, tmp_path: Path) -> None:
    content, message = HOSTILE[case]
    assert message in refusal(tmp_path, content)


def test_what_is_no_file_of_that_kind_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large.yaml").write_bytes(b"#" * (MAX_BYTES + 1))
    (tmp_path / "latin.yaml").write_bytes("name: Zoë".encode("latin-1"))
    for name, message in {
        "pipe": "no such file",
        "none.yaml": "no such file",
        ".": "no such file",
        "large.yaml": "larger than 256 KB",
        "latin.yaml": "not UTF-8",
    }.items():
        with pytest.raises(InvalidDefinition, match=message):
            read_request(tmp_path / name)


def test_of_several_files_every_problem_is_said_and_a_name_is_used_once(tmp_path: Path) -> None:
    broken = written(tmp_path, document() | {"family": "teachers"})
    with pytest.raises(InvalidDefinition, match=r"(?s)is one of.*two requests are called gld_by"):
        read_requests([TEMPLATE, broken, EXAMPLES[1]])
