"""Lives of a cohort's children from birth to Reception: homes, names, departures, deaths and adoptions.

Each life ends in the home and under the name that `people` gives the child, as its school knows them. Lives are drawn
backwards from there, and children who are in none of these schools, because they left or died, are added. A child who
is adopted has two identities that share only date of birth, sex and ethnicity: records under the earlier identity end
with the adoption, records under the later one begin with it, and nothing that is written links the two. `lives.yaml`
has the shares.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from privacy.doors.shipped import read_yaml
from sources.reference.cohorts import Cohort
from sources.synthetic import people as drawn
from sources.synthetic.drawing import Ints, Texts, pick
from sources.synthetic.margins import FSM, SEX
from sources.synthetic.people import Dates, People
from sources.synthetic.recording import RecordedIdentity, World, draw_world

LIKELY: dict[str, Any] = read_yaml(Path(__file__).with_suffix(".yaml"))
_MOVES, _DEATHS, _NAMES = LIKELY["moves"], LIKELY["deaths"], LIKELY["names"]
OUTSIDE = -1
"""In place of a council's index: the child lives in none of these councils."""
_YEARS = 5
_NEVER = np.datetime64("NaT", "D")
_SPAN = 1 << 20
"""More than any number of days since 1970."""


@dataclass(frozen=True)
class Lives:
    """Lives of children, by home and by child.

    `child`, `since`, `council` and `postcode` have one entry for each home, sorted by child and first day; the other
    arrays have one for each child. Days are NaT if the event never happens.
    """

    child: Ints
    since: Dates
    council: Ints
    """Index of the council, or OUTSIDE."""
    postcode: Ints
    renamed: Dates
    earlier_surname: Texts
    earlier_forename: Texts
    ended: Dates
    """Day of death, or of the adoption by which an identity ends."""
    later_identity: Ints
    """For the earlier identity of an adopted child, its later one; else -1."""

    def find_home(self, child: Ints, day: Dates) -> Ints:
        """Return the index of the home in which each child lives on a day, which must not be before its birth."""
        return np.searchsorted(_order(self.child, self.since), _order(child, day), side="right") - 1


def _order(child: Ints, day: Dates) -> Ints:
    return child * _SPAN + day.astype("datetime64[D]").astype(np.int64)


@dataclass(frozen=True)
class LivingWorld:
    """A cohort's world at the end of Reception, and the lives that lead there."""

    world: World
    lives: Lives

    def record(self, rng: np.random.Generator, source: str, home: Ints, day: Dates) -> RecordedIdentity:
        """Return children as recorded at these homes (indices) on these days, anew after a move or change of name."""
        # A comparison with NaT is false, so a child who never changes name has the later one.
        renamed = ~(day < self.lives.renamed[self.lives.child[home]])
        which, row = np.unique(2 * home + renamed, return_inverse=True)
        at, is_later = np.divmod(which, 2)
        child = self.lives.child[at]
        true = self.world.identify(child, self.lives.postcode[at])
        names = {
            name: np.where(is_later == 1, getattr(true, name), getattr(self.lives, f"earlier_{name}")[child])
            for name in ("surname", "forename")
        }
        return self.world.record_children(rng, source, self.lives.council[at], replace(true, **names))[row]


def draw_living_world(cohort: Cohort, seed: int, scale: float, contract_names: bool, number: int) -> LivingWorld:
    """Draw a cohort and its children's lives; each cohort of one world has its own `number`, from 0."""
    world = draw_world(cohort, seed, False, scale, contract_names, LIKELY["leavers"])
    people, size = world.people, len(world.people)
    # One draw for all cohorts: no two children of a world may share a number.
    numbers = drawn.draw_nhs_numbers(np.random.default_rng(seed), size * (number + 1))[size * number :]
    people = replace(people, nhs_number=numbers)
    # A household is identified by its first child: the first with the same home and surname.
    homes_of = np.rec.fromarrays([people.postcode * 2 + people.pupil, people.surname])
    _, first, index = np.unique(homes_of, return_index=True, return_inverse=True)
    household = first[index]
    left = _draw_departures(world, household)
    ended = _draw_deaths(world)
    people, later = _draw_adoptions(world, people, household, ended)
    adopted = np.flatnonzero(later >= 0)
    earliest, latest = LIKELY["adoption_days"]
    ended[adopted] = people.born[adopted] + world.streams("adoption days").integers(earliest, latest, len(adopted))
    left[ended == ended] = _NEVER
    world = replace(world, people=people)
    homes = _draw_homes(world, household, left, ended, later)
    lives = Lives(*homes, *_draw_earlier_names(world, household, later), ended, later)
    # Only children who moved after they had started school are in a second council's Profile.
    home = lives.find_home(np.arange(size), np.full(size, np.datetime64(cohort.reception_begins)))
    early, here = lives.council[home], lives.council[home] != OUTSIDE
    people = replace(
        people,
        early_council=np.where(here, early, people.council),
        early_postcode=np.where(here, lives.postcode[home], people.postcode),
    )
    return LivingWorld(replace(world, people=people), lives)


def _draw_departures(world: World, household: Ints) -> Dates:
    """Draw the day on which each leaver moves away; families move together."""
    rng, people = world.streams("departures"), world.people
    year = pick(rng, np.tile(LIKELY["left_by_age"], (len(people), 1)))
    days = (365 * year + np.floor(rng.random(len(people)) * 365)).astype(np.int64)[household]
    return np.where(people.pupil, _NEVER, people.born + np.maximum(days, 1).astype("timedelta64[D]"))


def _draw_deaths(world: World) -> Dates:
    """Draw the leavers who die, and when: in the first month, in the first year, or later."""
    rng, people = world.streams("deaths"), world.people
    pupils = int(people.pupil.sum())
    shares = np.array([_DEATHS["infant"], _DEATHS["later"]]) * pupils
    infants, later = np.ceil(shares).astype(np.int64)
    chosen = rng.permutation(np.flatnonzero(~people.pupil))[: infants + later]
    in_first_month = rng.random(len(chosen)) < _DEATHS["in_first_month"]
    age = np.where(in_first_month, rng.integers(0, 28, len(chosen)), rng.integers(28, 365, len(chosen)))
    age[infants:] = rng.integers(365, 1500, len(age[infants:]))
    ended = np.full(len(people), _NEVER)
    ended[chosen] = people.born[chosen] + age.astype("timedelta64[D]")
    return ended


def _draw_adoptions(world: World, people: People, household: Ints, ended: Dates) -> tuple[People, Ints]:
    """Draw pairs of a leaver and a pupil who are one adopted child, and give the leaver the pupil's birth date,
    ethnicity and sex."""
    rng = world.streams("adoptions")
    alone = np.bincount(household, minlength=len(people))[household] == 1
    wanted = int(np.ceil(LIKELY["adopted"] * people.pupil.sum()))
    before = rng.permutation(np.flatnonzero(~people.pupil & (ended != ended) & alone))[:wanted]
    after = rng.permutation(np.flatnonzero(people.pupil & alone))[: len(before)]
    later = np.full(len(people), -1)
    later[before] = after
    copied = {name: getattr(people, name).copy() for name in ("born", "ethnicity", "surname", "forename")}
    for name in ("born", "ethnicity"):
        copied[name][before] = copied[name][after]
    sex = people.categories[SEX].copy()
    sex[before] = sex[after]
    female = sex == 0
    # Redrawn until they differ: nothing may lead from one identity to the other.
    for name in ("surname", "forename"):
        names = copied[name]
        while len(same := before[names[before] == names[later[before]]]):
            group = drawn.draw_name_groups(rng, copied["ethnicity"][same])
            names[same] = (
                drawn.draw_surnames(rng, group[1])
                if name == "surname"
                else drawn.draw_forenames(rng, group[0], female[same])
            )
    return replace(people, categories=people.categories | {SEX: sex}, **copied), later


def _draw_homes(
    world: World, household: Ints, left: Dates, ended: Dates, later: Ints
) -> tuple[Ints, Dates, Ints, Ints]:
    """Draw children's homes backwards from the last one: child, first day, council and postcode of each home."""
    rng, people, cohort = world.streams("homes until school"), world.people, world.cohort
    size, everyone = len(people), np.arange(len(people))
    # Nobody moves between the Reception census and the Profile.
    last = np.fmin(np.fmin(left, ended), np.full(size, np.datetime64(f"{cohort.first_year + 1}-01-01")))
    council, postcode = people.council.copy(), people.postcode.copy()
    gone = np.flatnonzero(left == left)
    found = [(gone, left[gone], np.full(len(gone), OUTSIDE), np.zeros(len(gone), np.int64))]
    pull, region = world.margins.compute_pull(), np.array([place.region_code for place in world.margins.councils])
    # Share of moves into a council that are from another council here, not from outside.
    is_alone = (region[:, None] == region).sum(axis=1) == 1
    inside = np.where(is_alone, _MOVES["from_elsewhere_here"], _MOVES["from_pilot_neighbour"])
    joined = np.zeros(size, bool)
    joined[later[later >= 0]] = True
    for age in reversed(range(_YEARS)):
        lot, years, from_here = (rng.random(size)[household] for _ in range(3))
        across = lot < _MOVES["between_councils"][age]
        moved = across | (lot < _MOVES["between_councils"][age] + _MOVES["within_council"][age])
        day = people.born + (1 + 365 * age + np.floor(365 * years)).astype("timedelta64[D]")
        moved &= (day < last) & (council != OUTSIDE) & ~joined
        found.append((everyone[moved], day[moved], council[moved], postcode[moved]))
        here = np.maximum(council, 0)
        other = np.where(across, pick(rng, pull[here])[household], here)
        home = world.geography.draw(rng, other, people.categories[FSM])[household]
        outside = across & (from_here >= inside[here])
        council = np.where(moved, np.where(outside, OUTSIDE, other), council)
        postcode = np.where(moved, home, postcode)
    # The later identity of an adopted child begins with the adoption.
    before = np.flatnonzero(later >= 0)
    found.append((later[before], ended[before], people.council[later[before]], people.postcode[later[before]]))
    council[joined] = OUTSIDE
    found.append((everyone, people.born, council, postcode))
    child, since, where, home = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.argsort(_order(child, since), kind="stable")
    return child[order], since[order], where[order], home[order]


def _draw_earlier_names(world: World, household: Ints, later: Ints) -> tuple[Dates, Texts, Texts]:
    """Draw which children had an earlier name, until what day, and that name."""
    rng, people = world.streams("earlier names"), world.people
    size = len(people)
    other = drawn.draw_surnames(rng, drawn.draw_name_groups(rng, people.ethnicity)[1])[household]
    # One part of a double-barrelled name came first.
    part = np.strings.partition(people.surname, "-")[0]
    other = np.where(np.strings.find(people.surname, "-") > 0, part, other)
    changed = (rng.random(size) < _NAMES["surname_changed"])[household]
    surname = np.where(changed, other, people.surname)
    form = drawn.draw_other_form(rng, people.forename, "nicknames.csv")
    forename = np.where(rng.random(size) < _NAMES["forename_changed"], form, people.forename)
    # An adopted child changes its name with the adoption, and only then.
    adopted = np.concatenate([np.flatnonzero(later >= 0), later[later >= 0]])
    surname[adopted], forename[adopted] = people.surname[adopted], people.forename[adopted]
    earliest, latest = _NAMES["changed_days"]
    day = people.born + rng.integers(earliest, latest, size)[household].astype("timedelta64[D]")
    renamed = np.where((surname != people.surname) | (forename != people.forename), day, _NEVER)
    return renamed, surname, forename
