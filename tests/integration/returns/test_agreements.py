"""Files of agreements: what is wrong is said with line and key, all of it at once."""

import datetime as dt
from pathlib import Path

import pytest

from assets.returns.agreements import InvalidAgreement, load, load_all
from privacy.returns.agreement import First, NewChildren
from privacy.services import Fact
from tests.support.installation.commands import invoke
from tests.support.returns.agreements import Recipients, format_terms, write


@pytest.fixture
def keys(tmp_path: Path) -> Recipients:
    return Recipients(tmp_path / "keys")


def wrong(path: Path) -> str:
    with pytest.raises(InvalidAgreement) as caught:
        load(path)
    return str(caught.value)


def changed(path: Path, old: str, new: str) -> Path:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return path


def test_a_sound_file_is_read_and_its_version_is_of_what_is_said_not_of_how(tmp_path: Path, keys: Recipients) -> None:
    tells = format_terms("health", "education", ["known_to", "concern_recorded"], "wirral")
    agreement = load(write(tmp_path, "leeds", keys, tells, accepts_from=["wirral"]))
    assert (agreement.council, agreement.accepts_from) == ("leeds", {"wirral"})
    (line,) = agreement.tells
    assert (line.teller, line.receiver, line.to_council) == ("health", "education", "wirral")
    assert line.facts == {Fact.KNOWN_TO, Fact.CONCERN}
    assert agreement.explain_not_in_force(dt.date(2026, 1, 1)) is None
    path = tmp_path / "leeds.yaml"
    path.write_text("# a word\n" + path.read_text())
    assert load(path).version == agreement.version
    assert load(changed(path, "DPIA-7", "DPIA-8")).version != agreement.version


def test_without_a_word_on_new_children_nothing_is_told_of_them_for_four_weeks(
    tmp_path: Path, keys: Recipients
) -> None:
    rule = load(write(tmp_path, "leeds", keys, new_children="")).new_children
    assert rule == NewChildren(
        after_days=28,
        after_deliveries=1,
        first_delivery=First.LATER,
        until_then=frozenset(),
        without_number=frozenset({Fact.KNOWN_TO}),
    )
    said = "new_children: {after_days: 10, after_deliveries: 3, first_delivery: at_once, until_then: known_to}\n"
    path = write(tmp_path, "leeds", keys, new_children=said)
    assert load(path).new_children == NewChildren(
        after_days=10, after_deliveries=3, first_delivery=First.AT_ONCE, until_then=frozenset({Fact.KNOWN_TO})
    )
    checked = invoke("returns", "check", path)
    assert "new children: facts after 10 days and 3 deliveries; first delivery at_once" in checked.output
    assert "added only to find out about it are returned at once" in checked.output
    without = load(changed(path, "until_then: known_to", "without_number: none")).new_children
    assert (without.until_then, without.without_number) == (frozenset(), frozenset())


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("council: leeds", "council: wirral", "leeds.yaml:1:10: council: is 'wirral' and the file is leeds.yaml"),
        ("reference: ISA-leeds-1\n", "", "leeds.yaml:1:1: reference: is missing"),
        ("starts: 2020-01-01", "starts: 01/01/2020", "leeds.yaml:7:9: starts: must be a day such as 2026-11-26"),
        ("expires: 2099-12-31", "expires: 2019-12-31", "leeds.yaml:8:10: expires: 2019-12-31 is before starts"),
        ("  education:\n", "  schools:\n", "leeds.yaml:10:3: recipients: 'schools' is not a service"),
        ("    key: age1", "    key: age2", "recipients.education.key: is no age public key"),
        ("    key: age1", "    key: AGE-SECRET-KEY-1", "a private key belongs in no agreement"),
        ("from: education", "from: school", "tells[1].from: 'school' is not a service"),
        ("to: settings", "to: education", "tells[1]: education of leeds tells itself"),
        ("to: settings", "to: health", "says again what education tells"),
        ("facts: [known_to,", "facts: [known_to, concern_recorded,", "the extracts of education record no concerns"),
        ("facts: [known_to,", "facts: [known_to, review_not_recorded,", "the extracts of education record no reviews"),
        ("facts: [known_to, last_contact_month", "facts: [last_contact_month", "needs known_to"),
        ("to: settings", "to: settings, in: leads", "'leads' is not the name of an English authority; perhaps 'leeds'"),
        ("after_days: 0", "after_days: 400", "new_children.after_days: must be less than or equal to 366"),
        ("after_days: 0", "until_then: [known_to, concern_recorded]", "new_children.until_then: must be none or"),
        ("after_days: 0", "until_then: [none, known_to]", "none cannot be combined with other facts"),
        ("concern_recorded, concern_month", "concern_month", "concern_month needs concern_recorded"),
        ("without_number: [known_to, ", "without_number: [", "needs known_to"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, keys: Recipients, old: str, new: str, said: str) -> None:
    assert said in wrong(changed(write(tmp_path, "leeds", keys), old, new))


def test_two_services_never_share_a_key(tmp_path: Path, keys: Recipients) -> None:
    path = write(tmp_path / "a", "leeds", keys)
    shared = keys.read_public("leeds", "education")
    changed(path, keys.read_public("leeds", "health"), shared)
    assert "each service has a key of its own" in wrong(path)
    write(tmp_path / "b", "leeds", keys)
    changed(write(tmp_path / "b", "wirral", keys), keys.read_public("wirral", "health"), shared)
    with pytest.raises(InvalidAgreement, match="is the key of leeds/education too"):
        load_all(tmp_path / "b")


def test_the_starting_file_says_what_to_fill_in_and_then_holds(tmp_path: Path, keys: Recipients) -> None:
    made = invoke("returns", "new", "Leeds", "--out", tmp_path)
    path = tmp_path / "leeds.yaml"
    assert made.exit_code == 0
    assert str(path) in made.output
    assert invoke("returns", "new", "leeds", "--out", tmp_path).exit_code == 1
    checked = invoke("returns", "check", path)
    assert checked.exit_code == 1
    assert checked.output.count("still to be filled in") == path.read_text().count('"TODO')
    text = path.read_text()
    for service in ("education", "settings", "health"):
        text = text.replace('key: "TODO: age1..."', f"key: {keys.read_public('leeds', service)}", 1)
    text = text.replace('"TODO: first day, as 2026-09-01"', "2020-01-01")
    text = text.replace('"TODO: last day, as 2027-08-31"', "2020-12-31").replace('"TODO', '"a team')
    path.write_text(text)
    checked = invoke("returns", "check", path)
    assert checked.exit_code == 0, checked.output
    assert "health tells education of leeds: known_to\n" in checked.output
    assert "Nothing is returned today: the agreement" in checked.output
    assert "expired on 2020-12-31" in checked.output
    (agreement,) = load_all(tmp_path).values()
    assert {fact for line in agreement.tells for fact in line.facts} == {Fact.KNOWN_TO}
