"""Settings that people write: every mistake has its place, and no message repeats a value."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import pytest

from privacy.doors.settings_file import AsList, Day, InvalidSettings, Settings, Text, read_settings

AsListOfText = Annotated[tuple[Text, ...], AsList]
SECRET = "Amelia Thornton"


class Person(Settings):
    name: Text
    born: Day
    visits: int
    consents: bool
    score: float = 0.0


class Register(Settings):
    people: list[Person]
    notes: Mapping[str, Text] = {}


class Codes(Settings):
    codes: AsListOfText


def mistakes(folder: Path, text: str) -> list[str]:
    path = folder / "register.yaml"
    path.write_text(text)
    with pytest.raises(InvalidSettings) as refused:
        read_settings(path, Register, InvalidSettings)
    return str(refused.value).splitlines()


@pytest.mark.parametrize("key", ["name", "born", "visits", "consents", "score"])
@pytest.mark.parametrize("value", [f"[{SECRET}]", f"{{{SECRET}: {SECRET}}}", SECRET, f"'{SECRET}\n\n  x'"])
def test_no_message_repeats_a_value(tmp_path: Path, key: str, value: str) -> None:
    if key == "name" and value[0] in "A'":
        pytest.skip("a name may be any text")
    sound = {"name": "x", "born": "2020-02-29", "visits": "3", "consents": "true"} | {key: value}
    text = "people:\n  - " + "\n    ".join(f"{name}: {each}" for name, each in sound.items())
    (found,) = mistakes(tmp_path, text)
    assert f"people[1].{key}: must be" in found
    assert "Amelia" not in found


def test_everything_wrong_is_listed_with_its_place_in_order(tmp_path: Path) -> None:
    text = "people:\n  - {name: , born: 29/02/2020, visits: three}\nnotes: {a: [x]}\nnote: x\nnotes: {}\n"
    assert mistakes(tmp_path, text) == [
        "register.yaml:2:5: people[1].consents: is missing",
        "register.yaml:2:11: people[1].name: is empty",
        "register.yaml:2:20: people[1].born: must be a day such as 2026-11-26",
        "register.yaml:2:40: people[1].visits: must be a whole number",
        "register.yaml:3:12: notes.a: must be one text",
        "register.yaml:4:1: 'note' is not a key here; perhaps 'notes' (it may be people, notes)",
        "register.yaml:5:1: 'notes' is there twice, first on line 3; keep one",
    ]


def test_text_means_what_it_says(tmp_path: Path) -> None:
    path = tmp_path / "codes.yaml"
    path.write_text("codes: [No, 0383, 1.0, null, 2020-02-29]\n")
    with pytest.raises(InvalidSettings, match=r"codes\[4\]: is empty"):
        read_settings(path, Codes, InvalidSettings)
    path.write_text("codes: 0383\n")
    assert read_settings(path, Codes, InvalidSettings).codes == ("0383",)
