"""A child whose rows are removed is found nowhere but as marks on the list, and does not come back."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from assets.home.errors import Refused
from assets.home.home_lock import InUse, block_removals, lock_home
from assets.home.processing_log import read_entries, verify
from assets.intake import deliveries
from assets.keeping.finding import find_rows, find_rows_by_pseudonym
from assets.keeping.forgetting import forget
from assets.linkage.inputs import read_linked_extracts
from assets.linkage.link import link_cohort
from pipelines.definitions import build_definitions
from privacy.keys import KeyRing
from sources.extract.landing import list_councils
from tests.support import PROJECT
from tests.support.extracts import append, make_upn, mark_again, prepend
from tests.support.installation.commands import run_readiness
from tests.support.installation.released import COHORT, PLANTED, Place
from tests.support.installation.steps import kill_at_steps
from tests.support.installation.traces import find_traces, hash_files
from tests.support.intake.numbered import read_numbered, read_numbered_quarantine
from tests.support.planted import PROFILE, REVIEW

pytestmark = pytest.mark.slow

KEY = ("eyfsp", COHORT, "leeds")
_NAMED = ("forget", "--cohort", COHORT, "--council", "leeds", "--source", "eyfsp")


def test_no_trace_is_left_and_what_was_published_stays(place: Place) -> None:
    tokens, child_id = place.find_own_tokens(), place.find_child_id("leeds/eyfsp")
    home, forgotten = place.home, place.home.restricted / "forgotten"
    assert len(tokens) > 10
    before = find_traces(home.root, tokens, {child_id}, place.keys)
    names = {Path(name).name for name in before}
    assert names >= {"leeds.parquet", "halton.parquet", "links.parquet", "children.parquet"}
    kept = {part: hash_files(home.root / part) for part in ("release", "restricted/measurements")}
    ledger = home.open_ledger().list_entries()
    (home.restricted / "staging-dead").mkdir()
    (home.restricted / "staging-dead" / "tokens.parquet").write_bytes(home.get_extract(*KEY).tokens.read_bytes())

    returned, reviewed = home.get_extract("eyfsp", COHORT, "leeds").return_file, home.get_cohort(COHORT).reviewed
    for path in (returned, reviewed):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"what nobody here can open")

    found = forget(home, place.find_rows(), place.keys, objection=True)

    assert not returned.exists()
    assert not reviewed.parent.exists()
    assert {f"{e.council}/{e.source}": e.rows for e in found.extracts} == {n: (place.find_row(n),) for n in PLANTED}
    assert find_traces(home.root, tokens, {child_id}, place.keys, but=forgotten) == []
    assert find_traces(forgotten, tokens, {child_id}, place.keys) == []
    assert {part: hash_files(home.root / part) for part in kept} == kept
    assert home.open_ledger().list_entries() == ledger
    assert all((name, place.find_row(name)) not in place.list_linked_rows() for name in PLANTED)
    assert place.list_rows("leeds/eyfsp") == set(range(1, place.find_row("leeds/eyfsp")))
    assert not home.unfinished_removal.exists()


def test_everything_else_is_as_if_the_child_had_not_been_sent(place: Place) -> None:
    """Same rows and same figures of the extract. The log says that rows went, and not which."""
    forget(place.home, place.find_rows(), place.keys)
    said = [entry for entry in read_entries(place.home) if entry.what == "rows removed on request"]
    assert [f"{entry.council}/{entry.source}" for entry in said] == sorted(PLANTED, key=lambda n: n.split("/"))
    assert all(entry.file_mac and entry.who and entry.note == "rows" for entry in said)
    after = deliveries.read(place.home.get_extract(*KEY).quality)
    assert (after.rows_read, after.rows_kept, after.rows_rejected) == (41, 40, 1)
    (rule,) = [rule for rule in after.rules if rule.rule == "forgotten"]
    assert (rule.rows, rule.first_rows) == (1, ())
    for name in PLANTED:
        lines = place.find_file(name).read_text().splitlines(keepends=True)
        place.find_file(name).write_text("".join(lines[:-1]))
        mark_again(place.find_file(name))
    fresh = Place(place.root)
    again = fresh.take("leeds/eyfsp")
    assert (again.profile, again.rows_kept) == (after.profile, after.rows_kept)


def test_reports_and_results_no_longer_name_the_row(place: Place) -> None:
    """Of the delivery in force its number goes; of those before it every number, for nobody knows which was which."""
    broken = PROFILE | {"postcode": "", "upn": make_upn(899_999_123_457)}
    for _ in range(2):
        append(place.find_file("leeds/eyfsp"), broken)
        quality = place.take("leeds/eyfsp")
    row = next(rule.first_rows[0] for rule in quality.rules if rule.rule == "postcode-blank")
    link_cohort(place.home.get_cohort(COHORT), list_councils(place.landing), place.keys)
    forget(place.home, place.find_rows(row), place.keys)
    after = deliveries.read(place.home.get_extract(*KEY).quality)
    assert not any(row in rule.first_rows for rule in after.rules)
    for path in place.home.get_extract(*KEY).history.glob("*.json"):
        assert not any(rule["first_rows"] for rule in json.loads(path.read_text())["rules"])
    report = json.loads((place.home.get_cohort(COHORT).get_reports_folder("leeds") / "eyfsp.json").read_text())
    assert "forgotten" in {finding["rule"] for finding in report["findings"]}
    assert not any(str(row) in finding["row_numbers"] for finding in report["findings"])
    assert row not in read_numbered_quarantine(place.home, place.keys, "eyfsp", "leeds")["source_row"].to_pylist()


def test_another_delivery_may_unless_there_is_an_objection(copied: Callable[[], Place]) -> None:
    for objects in (False, True):
        place = copied()
        forget(place.home, place.find_rows(), place.keys, objection=objects)
        namesake = PROFILE | {"upn": make_upn(899_999_123_457), "postcode": "L98 9ZZ"}
        prepend(place.find_file("leeds/eyfsp"), PROFILE | {"postcode": "L1 1AA"}, namesake, drop_last=True)
        append(place.find_file("halton/hv_reviews"), REVIEW | {"nhs_number": "", "nhs_number_status": ""})
        quality, reviews = place.take("leeds/eyfsp"), place.take("halton/hv_reviews")
        kept = place.list_rows("leeds/eyfsp")
        assert (1 in kept, 2 in kept) == (not objects, True)
        assert (place.find_row("halton/hv_reviews") in place.list_rows("halton/hv_reviews")) != objects
        counted = {rule.rule: rule.rows for rule in (*quality.rules, *reviews.rules)}
        assert counted.get("forgotten", 0) == objects
        assert quality.rows_read == quality.rows_kept + quality.rows_rejected


def test_a_rejected_row_of_a_child_who_objects_leaves_no_key_in_the_quarantine(place: Place) -> None:
    forget(place.home, place.find_rows(), place.keys, objection=True)
    append(place.find_file("leeds/eyfsp"), PROFILE | {"com_e01": "7"})
    append(
        place.find_file("leeds/eyfsp"), PROFILE | {"com_e01": "7", "upn": make_upn(899_999_123_457), "surname": "Other"}
    )
    quality = place.take("leeds/eyfsp")
    theirs, others = quality.rows_read - 1, quality.rows_read
    named = read_numbered_quarantine(place.home, place.keys, "eyfsp", "leeds")["source_row"].to_pylist()
    assert others in named
    assert theirs not in named
    assert not any(theirs in rule.first_rows for rule in quality.rules)


def test_the_same_file_does_not_bring_the_row_back(place: Place) -> None:
    forget(place.home, place.find_rows(), place.keys)
    assert place.take("leeds/eyfsp").unchanged
    place.keys.rotate(place.root / "keys-2")
    again = place.take("leeds/eyfsp", KeyRing.load(place.root / "keys-2"))
    assert not again.unchanged
    assert place.find_row("leeds/eyfsp") not in place.list_rows("leeds/eyfsp")


def test_an_objection_outlives_a_rotation_of_keys_where_the_file_is_taken_again(place: Place) -> None:
    forget(place.home, place.find_rows(), place.keys, objection=True)
    place.keys.rotate(place.root / "keys-2")
    keys = KeyRing.load(place.root / "keys-2")
    other = place.take("sefton/eyfsp", keys)
    assert "objections-of-other-keys" in {finding.rule for finding in other.findings if not finding.passed}
    place.take("leeds/eyfsp", keys)
    prepend(place.find_file("leeds/eyfsp"), PROFILE, drop_last=True)
    assert [rule.rows for rule in place.take("leeds/eyfsp", keys).rules if rule.rule == "forgotten"] == [1]
    assert 1 not in place.list_rows("leeds/eyfsp")


def test_by_row_child_id_or_token_and_never_two_children_at_once(place: Place) -> None:
    for council, row, sentence in (
        ("leeds", 42, "has no row 42: it has rows 1 to 41"),
        ("leeds", 0, "has no row 0: it has rows 1 to 41"),
        ("camden", 1, "no eyfsp extract of camden is in"),
    ):
        with pytest.raises(Refused, match=sentence):
            find_rows(place.home.get_extract("eyfsp", COHORT, council), [row], place.keys, linked=True)
    by_row = place.find_rows()
    child_id = place.find_child_id("leeds/eyfsp")
    last = read_numbered(place.home, place.keys, "eyfsp", "leeds").to_pylist()[-1]
    assert find_rows_by_pseudonym(place.home, child_id, None, place.keys) == by_row
    assert find_rows_by_pseudonym(place.home, str(last["t_upn"]), COHORT, place.keys) == by_row
    assert find_rows_by_pseudonym(place.home, f"{last['t_upn']:016x}", None, place.keys) == by_row
    with pytest.raises(Refused, match="neither a child_id nor a token"):
        find_rows_by_pseudonym(place.home, "5", None, place.keys)
    with pytest.raises(Refused, match="more than one child"):
        find_rows_by_pseudonym(place.home, str(last["t_surname_dob"]), COHORT, place.keys)
    forget(place.home, place.find_rows(linked=False), place.keys)
    rows = place.list_linked_rows()
    assert [(name, place.find_row(name)) in rows for name in PLANTED] == [False, True, True]


def test_links_lose_the_rows_though_the_cohort_cannot_be_linked_again(place: Place) -> None:
    """Sefton's extract has come in under other keys since. The other children keep their ids for the next linkage."""

    store = place.home.get_cohort(COHORT)

    def links() -> set[tuple[object, ...]]:
        table = pq.read_table(store.links, columns=["source", "council", "row_key", "child_id"])
        return {tuple(row.values()) for row in table.to_pylist()}

    found, before, child_id = place.find_rows(), links(), place.find_child_id("leeds/eyfsp")
    place.keys.rotate(place.root / "keys-2")
    place.take("sefton/eyfsp", KeyRing.load(place.root / "keys-2"))
    done = forget(place.home, found, place.keys)
    assert "until then the cohort has no links" in done.not_linked[0]
    assert links() == {row for row in before if child_id not in row}
    assert {f"{council}/{source}" for source, council, *_ in before - links()} == set(PLANTED)
    assert read_linked_extracts(store) == {}
    assert not store.get_confidential_path("pupil").exists()


def test_a_run_at_work_keeps_it_out_and_the_other_way_round(place: Place) -> None:
    with (
        block_removals(place.home),
        pytest.raises(InUse, match="a run is at work"),
        lock_home(place.home, patience=0.1),
    ):
        pass
    code = "import sys; from pathlib import Path; from assets.home.paths import Home\n"
    code += "from assets.home.home_lock import block_removals\n"
    code += "with block_removals(Home(Path(sys.argv[1])), patience=0.1): pass"
    with lock_home(place.home):
        other = subprocess.run(
            [sys.executable, "-c", code, str(place.home.root)], capture_output=True, text=True, cwd=PROJECT, check=False
        )
    assert "rows or files of it are being removed; try again" in other.stderr


def _forget_first(root: Path) -> int:
    place = Place(root)
    forget(place.home, place.find_rows(), place.keys, objection=True)
    return 0


def test_killed_anywhere_the_next_step_finishes(copied: Callable[[], Place]) -> None:
    """A step of Dagster, or a run up to the release; then the same command finds nothing to do or does it all."""
    begun, made, kept = 0, copied(), ("release", "restricted/measurements")
    again = (*_NAMED, "--row", str(made.find_row("leeds/eyfsp")), "--objection", "--yes")
    before = {part: hash_files(made.home.root / part) for part in kept}
    tokens, child_id = made.find_own_tokens(), made.find_child_id("leeds/eyfsp")

    def check(root: Path) -> None:
        nonlocal begun
        place = Place(root)
        begun += place.home.is_removal_unfinished
        if begun % 2:
            # as a step of Dagster opens it
            opening = (build_definitions(place.installation).resources or {})["installation"](None)
            assert opening.home_folder == place.home
        for words in (("run", "--cohort", COHORT), again):
            ended = run_readiness(root, *words)
            assert ended.returncode == 0, ended.stdout + ended.stderr
        assert not place.home.is_removal_unfinished
        assert (
            find_traces(place.home.root, tokens, {child_id}, place.keys, but=place.home.restricted / "forgotten") == []
        )
        assert place.home.get_cohort(COHORT).get_confidential_path("pupil").exists()
        assert {part: hash_files(place.home.root / part) for part in kept} == before
        verify(place.home)

    kill_at_steps(lambda _: copied().root, _forget_first, check, furthest=30)
    assert begun > 1


def test_the_command_says_what_it_would_do_and_does_it(place: Place) -> None:
    row = str(place.find_row("leeds/eyfsp"))
    named = [*_NAMED, "--row", row]
    before = hash_files(place.home.root)
    dry = run_readiness(place.root, *named)
    assert dry.returncode == 4
    assert hash_files(place.home.root) == before
    assert f"leeds/eyfsp: row {row}" in dry.stdout
    assert "halton/early_years_census" in dry.stdout
    assert "Would be removed" in dry.stdout
    neither = run_readiness(place.root, "forget", "--cohort", COHORT)
    assert (neither.returncode, neither.stderr.count("\n")) == (2, 1)
    done = run_readiness(place.root, *named, "--json", "--yes")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["done"] is True
    assert place.find_row("leeds/eyfsp") not in place.list_rows("leeds/eyfsp")
