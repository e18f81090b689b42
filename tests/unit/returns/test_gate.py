"""The gate lets a fact through where both sides agreed to it, and nowhere else: beside an oracle of its own."""

import datetime as dt
from itertools import product

import pytest
from hypothesis import given, strategies as st

from privacy.returns.agreement import (
    Agreement,
    Disclosure,
    First,
    NewChildren,
    Recipient,
    Sender,
    find_new_children_rule,
    list_permitted,
)
from privacy.returns.facts import decide_absence, decide_missing_reviews
from privacy.services import SERVICE_NAMES, Fact
from tests.support.daily import limit_examples

pytestmark = pytest.mark.slow

COUNCILS = ("leeds", "wirral", "sefton")
DAYS = st.dates(dt.date(2026, 1, 1), dt.date(2026, 1, 20))
SERVICES = st.sampled_from(SERVICE_NAMES)


@st.composite
def agreements(draw: st.DrawFn) -> dict[str, Agreement]:
    found = {}
    for council in draw(st.sets(st.sampled_from(COUNCILS))):
        disclosures = st.builds(
            Disclosure.model_construct,
            teller=SERVICES,
            receiver=SERVICES,
            to_council=st.sampled_from(COUNCILS),
            facts=st.frozensets(st.sampled_from(Fact)),
        )
        # Made without the checks of a file: the gate must hold whatever an agreement says.
        recipient = Recipient.model_construct(name="x", key="age1")
        found[council] = Agreement.model_construct(
            council=council,
            reference="x",
            purpose="x",
            legal_basis="x",
            impact_assessment="x",
            status=draw(st.sampled_from(["active", "active", "active", "revoked"])),
            starts=draw(DAYS) - dt.timedelta(days=10),
            expires=draw(DAYS) + dt.timedelta(days=10),
            recipients=dict.fromkeys(draw(st.sets(SERVICES)), recipient),
            tells=draw(st.lists(disclosures, max_size=12)),
            accepts_from=draw(st.frozensets(st.sampled_from(COUNCILS))),
        )
    return found


def oracle(held: dict[str, Agreement], teller: str, of: str, receiver: str, to: str, fact: Fact, day: dt.date) -> bool:
    """Whether `teller` of council `of` may tell `receiver` of council `to` one fact."""
    if of not in held or to not in held:
        return False
    for agreement in (held[of], held[to]):
        if agreement.status == "revoked" or not agreement.starts <= day <= agreement.expires:
            return False
    if receiver not in held[to].recipients:
        return False
    if of == to and teller == receiver:
        return False
    if of != to and of not in held[to].accepts_from:
        return False
    lines = [line for line in held[of].tells if line.teller == teller and line.receiver == receiver]
    return any(line.to_council == to and fact in line.facts for line in lines)


@given(agreements(), DAYS)
@limit_examples(300)
def test_no_fact_flows_that_is_not_agreed_and_every_one_that_is(held: dict[str, Agreement], day: dt.date) -> None:
    for to, receiver in product(COUNCILS, SERVICE_NAMES):
        allowed = list_permitted(held, Sender(to, receiver), day)
        for of, teller, fact in product(COUNCILS, SERVICE_NAMES, Fact):
            flows = fact in allowed.get(Sender(of, teller), frozenset())
            assert flows == oracle(held, teller, of, receiver, to, fact, day)


RULES = st.builds(
    NewChildren,
    after_days=st.integers(0, 60),
    after_deliveries=st.integers(1, 3),
    first_delivery=st.sampled_from(First),
    until_then=st.frozensets(st.just(Fact.KNOWN_TO)),
    # With the facts that the others require.
    without_number=st.frozensets(st.sampled_from(Fact)).map(
        lambda facts: facts and facts | {Fact.KNOWN_TO, Fact.CONCERN}
    ),
)


@given(agreements(), DAYS, st.lists(RULES, min_size=3, max_size=3))
@limit_examples(200)
def test_the_rule_on_new_children_is_the_strictest_of_all_whose_agreement_it_rests_on(
    held: dict[str, Agreement], day: dt.date, rules: list[NewChildren]
) -> None:
    ruled = {
        council: held[council].model_copy(update={"new_children": rule})
        for council, rule in zip(held, rules, strict=False)
    }
    receiver = Sender("leeds", "education")
    if not (allowed := list_permitted(ruled, receiver, day)):
        return
    rule = find_new_children_rule(ruled, receiver, allowed)
    for council in {"leeds", *(teller.council for teller in allowed)}:
        own = ruled[council].new_children
        assert rule.after_days >= own.after_days
        assert rule.after_deliveries >= own.after_deliveries
        assert rule.first_delivery is First.LATER or own.first_delivery is First.AT_ONCE
        assert rule.until_then <= own.until_then
        assert rule.without_number <= own.without_number


@given(agreements(), DAYS, SERVICES, st.sets(SERVICES), st.sets(st.builds(Sender, st.sampled_from(COUNCILS), SERVICES)))
@limit_examples(300)
def test_absence_is_said_only_of_services_that_can_know_the_child_tell_it_and_are_in(
    held: dict[str, Agreement], day: dt.date, receiving: str, able: set[str], in_full: set[Sender]
) -> None:
    receiver = Sender("leeds", receiving)
    said = decide_absence(receiver, list_permitted(held, receiver, day), able, in_full)
    others = able - {receiving}
    tell = {
        Sender(of, teller)
        for of in COUNCILS
        for teller in others
        if oracle(held, teller, of, receiving, "leeds", Fact.NO_OTHER, day)
    }
    own = {Sender("leeds", service) for service in others}
    may = bool(own) and "education" not in others and own <= tell and tell <= in_full
    assert (said.why_not is None) == may
    assert set(said.of) == (tell if may else set())


TEAMS = st.builds(Sender, st.sampled_from(COUNCILS), st.just("health"))


@given(
    agreements(),
    DAYS,
    SERVICES,
    st.sets(SERVICES),
    st.dictionaries(TEAMS, st.sets(st.sampled_from(["12M", "2-2.5Y"]))),
)
@limit_examples(300)
def test_a_review_is_said_to_be_missing_only_if_every_team_that_tells_it_has_sent_all_of_it(
    held: dict[str, Agreement],
    day: dt.date,
    receiving: str,
    able: set[str],
    reviews: dict[Sender, set[str]],
) -> None:
    receiver = Sender("leeds", receiving)
    said = decide_missing_reviews(receiver, list_permitted(held, receiver, day), able, reviews)
    tell = {Sender(of, "health") for of in COUNCILS if oracle(held, "health", of, receiving, "leeds", Fact.REVIEW, day)}
    complete = {code for code in ("12M", "2-2.5Y") if all(code in reviews.get(team, ()) for team in tell)}
    may = receiving != "health" and "health" in able and Sender("leeds", "health") in tell and bool(complete)
    assert (said.why_not is None) == may
    assert set(said.of) == (tell if may else set())
    assert set(said.reviews) == (complete if may else set())
