"""A sender who puts children in to find out about them: its return stays what it was, byte for byte of its facts.

Two worlds, one with the targets in the extracts of the services that tell, one without them. Whatever the sender puts
in, both give it the same return, until its rows are no longer new.
"""

import csv
import datetime as dt
import json
import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from assets.returns.row_history import MOST_ALIKE
from privacy.chained_log import read_entries
from privacy.returns.seal import RECEIPT_FORMAT, unseal_document
from tests.support.extracts import make_nhs_number, make_upn
from tests.support.independent import write_extracts
from tests.support.installation.commands import invoke
from tests.support.returns.agreements import write
from tests.support.returns.pipeline import COHORT, TODAY, make_pipeline

pytestmark = pytest.mark.slow

COUNCIL, SOURCE = "leeds", "eyfsp"
LATER, LONG_AFTER = TODAY + dt.timedelta(days=28), TODAY + dt.timedelta(days=60)
TARGETS = 10
CHILDREN = 200

Row = dict[str, str]
Person = tuple[str, ...]
_PERSON = ("surname", "forename", "sex", "date_of_birth", "postcode")


def twin(own: Row, review: Row, number: int) -> Row:
    """The review of a twin of one's own child, whom the school does not know."""
    family = {name: own[name] for name in ("surname", "sex", "date_of_birth", "postcode")}
    numbers = {"nhs_number": make_nhs_number(500 + number), "local_patient_id": f"T{number}"}
    return review | family | {"forename": ("Zebedee", "Xanthe")[own["sex"] == "F"]} | numbers


def person(row: Row) -> Person:
    return tuple(row[name] for name in _PERSON)


class World:
    """An installation whose school records lack the targets; other services know them, or not.

    `baseline` are the rows of the school, `old_facts` the facts disclosed about them once they are no longer new, and
    `old_receipt` says who was told about them.
    """

    old_facts: dict[int, str]
    old_receipt: dict[str, object]

    def __init__(self, root: Path, known: bool) -> None:
        self.pipeline = make_pipeline(root)
        write_extracts(self.pipeline.landing, children=CHILDREN, councils=(COUNCIL,))
        here = {person(row) for row in self.pipeline.read_rows(COUNCIL, SOURCE)}
        reviewed = {person(row): row for row in self.pipeline.read_rows(COUNCIL, "hv_reviews") if person(row) in here}
        self.targets = [reviewed[each] for each in sorted(reviewed)[:TARGETS]]
        gone = {person(row) for row in self.targets}
        for source in ("eyfsp", "school_census", *(() if known else ("early_years_census", "hv_reviews"))):
            self.pipeline.put(
                COUNCIL, source, [row for row in self.pipeline.read_rows(COUNCIL, source) if person(row) not in gone]
            )
        write(self.pipeline.agreements, COUNCIL, self.pipeline.recipients, new_children="")
        self.baseline = [row | {"nhs_number": ""} for row in self.pipeline.read_rows(COUNCIL, SOURCE)]
        self.twins = [twin(self.baseline[n], review, n) for n, review in enumerate(self.targets)]
        if known:
            self.pipeline.put(COUNCIL, "hv_reviews", [*self.pipeline.read_rows(COUNCIL, "hv_reviews"), *self.twins])

    def facts(self, rows: Iterable[Row] | None, on: dt.date) -> dict[int, str]:
        """The facts of a delivery with these rows, by row; of the one that is in where there are none."""
        if rows is not None:
            self.pipeline.put(COUNCIL, SOURCE, rows)
            self.pipeline.ingest_and_link([COUNCIL])
        self.pipeline.make(on)
        if not self.pipeline.get_file(COUNCIL, SOURCE).exists():
            return {}
        return {json.loads(fact)["row"]: fact for fact in self.pipeline.read_opened(COUNCIL, SOURCE).facts}

    def read_receipt(self) -> dict[str, object]:
        """What the prober is told of who was told about its rows."""
        file = self.pipeline.home.get_extract("education", COHORT, COUNCIL).told_file
        key = self.pipeline.recipients.get_key(COUNCIL, "education")
        document, _ = unseal_document(RECEIPT_FORMAT, file, key, self.pipeline.signer)
        return {name: said for name, said in json.loads(document).items() if name != "made_on"}


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, World]:
    """Return both, once the rows of their first delivery are no longer new."""
    both = tuple(World(tmp_path_factory.mktemp(name), name == "known") for name in ("known", "unknown"))
    for world in both:
        assert world.facts(world.baseline, TODAY) == {}, "all are new in the first delivery"
        world.old_facts, world.old_receipt = world.facts(None, LATER), world.read_receipt()
        assert len(world.old_facts) > 0.85 * len(world.baseline)
    assert both[0].old_facts == both[1].old_facts
    return both


def planted(world: World) -> list[Row]:
    """A row of a child of the school each, with the person of a target and a number that passes its check."""
    like = world.baseline[: len(world.targets)]
    return [
        row | {name: target[name] for name in _PERSON} | {"upn": make_upn(700_000_000_000 + number)}
        for number, (row, target) in enumerate(zip(like, world.targets, strict=True))
    ]


def as_sent(world: World) -> list[Row]:
    return [*world.baseline, *planted(world)]


def under_an_own_number(world: World) -> list[Row]:
    """Beside each of ten own children, the target under that child's number."""
    own = zip(planted(world), world.baseline, strict=False)
    return [*world.baseline, *(row | {"upn": mine["upn"]} for row, mine in own)]


def in_place_of_an_own_child(world: World) -> list[Row]:
    """Rows that are no longer new, now with the person of a target."""
    own = [row | {"upn": mine["upn"]} for row, mine in zip(planted(world), world.baseline, strict=False)]
    return [*own, *world.baseline[len(own) :]]


def an_own_child_with_anothers_address(world: World) -> list[Row]:
    """The own child's names and date of birth with a target's address."""
    like = zip(world.baseline, world.targets, strict=False)
    return [*world.baseline, *(row | {"postcode": target["postcode"], "upn": ""} for row, target in like)]


def under_the_nhs_number_of_a_target(world: World) -> list[Row]:
    """Own children's rows, unchanged but for the number: a first-class link, to a row that is new."""
    numbers = (target["nhs_number"] or make_nhs_number(n) for n, target in enumerate(world.targets, 1))
    probes = [row | {"nhs_number": number} for row, number in zip(world.baseline, numbers, strict=False)]
    return [*probes, *world.baseline[len(probes) :]]


def without_a_number(world: World) -> list[Row]:
    return [*world.baseline, *(row | {"upn": ""} for row in planted(world))]


def a_few_variants(world: World) -> list[Row]:
    target, *_ = planted(world)
    spelt = [target["forename"][:length] for length in range(2, 2 + MOST_ALIKE // 2)]
    return [
        *world.baseline,
        *(target | {"forename": name, "upn": make_upn(710_000_000_000 + n)} for n, name in enumerate(spelt)),
    ]


def a_stranger_under_the_nhs_number_of_a_twin(world: World) -> list[Row]:
    """Of a twin of an own child: whoever is linked to the number is in doubt with that child."""
    strangers = zip(planted(world), world.twins, strict=True)
    return [*world.baseline, *(row | {"upn": "", "nhs_number": sibling["nhs_number"]} for row, sibling in strangers)]


def an_own_childs_names_with_another_date_and_a_guessed_address(world: World) -> list[Row]:
    both = zip(world.baseline, world.targets, strict=False)
    return [*world.baseline, *(guessed(mine, target["postcode"], 1) for mine, target in both)]


def twenty_addresses_for_each_of_three_children(world: World) -> list[Row]:
    """In one delivery that is not unusual; one of twenty is right."""
    return [
        *world.baseline,
        *(
            guessed(mine, target["postcode"] if number == 7 else f"L{number} {number % 9}AH", number)
            for mine, target in zip(world.baseline[:3], world.targets, strict=False)
            for number in range(1, 21)
        ),
    ]


def guessed(mine: Row, postcode: str, number: int) -> Row:
    day = dt.date.fromisoformat(mine["date_of_birth"]).replace(day=number)
    return mine | {"upn": "", "date_of_birth": day.isoformat(), "postcode": postcode}


def random_rows(seed: int) -> Callable[[World], list[Row]]:
    """Rows put together from own children, targets, twins and what was made up."""

    def delivery(world: World) -> list[Row]:
        chance, fresh = random.Random(seed), planted(world)
        people = [*world.baseline[:TARGETS], *world.targets, *world.twins, *fresh]
        numbers = [row.get("upn", "") for row in (*world.baseline[:TARGETS], *fresh)]
        nhs = [row["nhs_number"] for row in world.twins]
        rows = []
        for _ in range(40):
            said = {name: chance.choice(people)[name] for name in chance.sample(_PERSON, chance.randint(0, 3))}
            said |= {"upn": chance.choice(["", *numbers]), "nhs_number": chance.choice(["", "", *nhs])}
            like = chance.choice(people)
            rows.append(fresh[0] | {name: like[name] for name in _PERSON} | said)
        return [*world.baseline, *rows]

    return delivery


@pytest.mark.parametrize(
    "delivery",
    [
        a_stranger_under_the_nhs_number_of_a_twin,
        an_own_childs_names_with_another_date_and_a_guessed_address,
        twenty_addresses_for_each_of_three_children,
        random_rows(1),
        random_rows(2),
    ],
    ids=lambda delivery: delivery.__name__,
)
def test_new_rows_change_nothing_that_is_disclosed_about_old_ones(
    worlds: tuple[World, World], delivery: Callable[[World], list[Row]]
) -> None:
    """Before, own children fell silent where another service held what was guessed of them: 10 and 8 of 10."""
    on = LATER + dt.timedelta(days=1)
    for world in worlds:
        assert world.facts(delivery(world), on) == world.old_facts
        assert world.read_receipt() == world.old_receipt


@pytest.mark.parametrize(
    "delivery",
    [
        as_sent,
        under_an_own_number,
        in_place_of_an_own_child,
        under_the_nhs_number_of_a_target,
        an_own_child_with_anothers_address,
        without_a_number,
        a_few_variants,
    ],
)
def test_a_return_says_the_same_whether_others_know_the_child_or_not(
    worlds: tuple[World, World], delivery: Callable[[World], list[Row]]
) -> None:
    known, unknown = (world.facts(delivery(world), LATER + dt.timedelta(days=1)) for world in worlds)
    assert known == unknown
    sent = delivery(worlds[0])
    assert not [row for row in known if sent[row - 1] not in worlds[0].baseline], "a row that is new"
    assert len(known) > 0.7 * len(worlds[0].baseline)
    first, second = (world.pipeline.read_opened(COUNCIL, SOURCE).header for world in worlds)
    own = {
        name: getattr(first, name) for name in ("recipient", "sender_key", "sender_mac", "extract_mac", "agreements")
    }
    assert replace(second, **own) == first


def test_many_variants_of_one_child_stop_the_return_until_somebody_has_looked(worlds: tuple[World, World]) -> None:
    world = worlds[0]
    target, *_ = planted(world)
    variants = [
        target | {"postcode": f"L{n} 1AH", "upn": make_upn(720_000_000_000 + n)} for n in range(1, MOST_ALIKE + 2)
    ]
    on = LATER + dt.timedelta(days=2)
    assert world.facts([*world.baseline, *variants], on) == {}
    (made,) = [one for one in world.pipeline.make(on) if one.source == SOURCE]
    assert made.sentence.startswith("nothing is made: its delivery is unusual")
    assert "look like variants of one child" in made.sentence
    assert not any(letter.isdigit() for letter in made.sentence)
    summary = json.loads(world.pipeline.home.get_cohort(COHORT).get_return_summary_path(COUNCIL).read_text())
    assert summary["held"][SOURCE]["most_alike"] == len(variants)
    page = world.pipeline.home.get_cohort(COHORT).get_return_summary_path(COUNCIL).with_suffix(".html").read_text()
    assert "Deliveries that wait" in page
    assert release(world, "hv_reviews").exit_code == 1
    forged = release(world, SOURCE, "Two schools sent twice.\n   7  2026-11-27  released")
    assert forged.exit_code == 1
    assert "a reason is one line of at most 500 characters: nothing was recorded" in forged.output
    done = release(world, SOURCE)
    assert done.exit_code == 0, done.output
    facts = world.facts(None, on)
    assert len(facts) > 0.7 * len(world.baseline)
    assert max(facts) <= len(world.baseline)
    (line,) = [line for line in read_entries(world.pipeline.home.disclosures) if line["what"] == "released"]
    assert (line["source"], line["reason"]) == (SOURCE, "Two schools sent twice.")


def release(world: World, source: str, reason: str = "Two schools sent twice."):
    about = ("--home", world.pipeline.home.root, "--cohort", COHORT, "--council", COUNCIL, "--source", source)
    return invoke("returns", "release", *about, "--reason", reason)


def test_a_sender_who_waits_is_told_and_the_services_that_tell_see_it(worlds: tuple[World, World]) -> None:
    """The risk that is left, and who can see it."""
    world = worlds[0]
    day = LATER + dt.timedelta(days=3)
    world.facts(as_sent(world), day)
    facts = world.facts(None, day + dt.timedelta(days=28))
    plants = range(len(world.baseline) + 1, len(world.baseline) + TARGETS + 1)
    assert any(row in facts for row in plants)
    told = world.pipeline.home.get_extract("health", COHORT, COUNCIL).told_file
    out = world.pipeline.root / "told"
    key = world.pipeline.recipients.get_key(COUNCIL, "health")
    options = ("--signer", world.pipeline.signer, "--out", out)
    done = invoke("returns", "told", told, "--key", key, *options)
    assert done.exit_code == 0, done.output
    with (out / f"{COUNCIL}-health-{COHORT}-told-rows.csv").open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    reviews = world.pipeline.read_rows(COUNCIL, "hv_reviews")
    targets = {person(row) for row in world.targets}
    asked = {person(reviews[int(row["Row"]) - 1]) for row in rows if row["Receiver"] == "leeds/education"}
    assert asked & targets
    other = world.pipeline.recipients.get_key(COUNCIL, "settings")
    assert invoke("returns", "told", told, "--key", other, *options).exit_code == 1
