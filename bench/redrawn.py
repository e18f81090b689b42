"""Extracts of services that wrote down the same families at different times, with rates drawn anew for each seed.

Errors are not drawn for each field of a record, but follow from what happened. A family moves from time to time, and a
service knows the address of its last contact, or an older one. A child has names by which it is called (a short form, a
second surname, the other parent's surname), and each service writes down one of them. Clerks mistype, more often for
families who are hard to note down, and a service that copies the records of another copies its errors. A seed draws how
often families move, how many names children have, how careless each service is, how much it copies and how far
families differ. No code of other populations is used.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from privacy.normalise import load_given_name_forms
from tests.support.extracts import make_nhs_number, make_upn
from tests.support.linkage.populations import Frames

HARD = 6.0
"""How many times as often everything goes wrong in a hard population."""
TOGETHER = 1.2
"""Standard deviation of the logarithm of a family's factor, where errors of one child go together."""
AREAS = {
    "leeds": "LS", "hammersmith-and-fulham": "W", "halton": "WA", "knowsley": "L",
    "liverpool": "L", "sefton": "PR", "st-helens": "WN", "wirral": "CH",
}  # fmt: skip
_SHARES = (0.34, 0.05, 0.05, 0.07, 0.19, 0.1, 0.07, 0.13)
_CONTACT_YEARS = {"hv_reviews": (2.0, 2.5), "early_years_census": (3.3, 4.3), "school_census": (4.4, 5.0)}
"""Age at which each service last wrote a family's address down. The Profile copies the school census."""
_KNOWN = {"hv_reviews": (0.82, 0.94), "early_years_census": (0.85, 0.94), "school_census": (0.96, 0.99)}
_PROFILE = 0.98
_KEYBOARD = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_LETTERS = np.array(list("ABDEFGHJLNPQRSTUWXYZ"))


@dataclass(frozen=True)
class _Rates:
    """Moves a year; shares of children with another forename and surname; slips by service; records copied; spread of
    families; records with an address that is out of date; placeholder dates; records held by another council."""

    moves: float
    called: float
    surnames: float
    slips: dict[str, float]
    copied: float
    spread: float
    stale: float
    placeholder: float
    away: float


def draw_extracts(
    names: pd.DataFrame, children: int, seed: int, factor: float = 1.0, together: float | None = None
) -> Frames:
    """Return the four linked sources in contract columns, with child, council and row_key.

    `names` has columns first_name and surname; `factor` multiplies all rates; `together` is how much families differ,
    drawn if None.
    """
    rng = np.random.default_rng([53, seed])
    rates = _draw_rates(rng, factor, together)
    people = _draw_families(rng, names, children, rates)
    strangers = _draw_families(rng, names, int(children * rng.uniform(0.01, 0.05)), rates)
    strangers["child"] += children
    frames: Frames = {}
    for source in ("hv_reviews", "early_years_census", "school_census"):
        known = people[rng.random(children) < rng.uniform(*_KNOWN[source])]
        if source == "hv_reviews":
            known = pd.concat([known, strangers], ignore_index=True)
        frames[source] = _write_down(rng, source, known.reset_index(drop=True), rates)
    _copy_records(rng, frames["early_years_census"], frames["school_census"], rates.copied)
    profile = frames["school_census"].sample(frac=_PROFILE, random_state=seed)
    frames["eyfsp"] = _slip(rng, profile.reset_index(drop=True), 0.2 * rates.slips["school_census"])
    return {source: _finish(rng, source, frame, people) for source, frame in frames.items()}


def _draw_rates(rng: np.random.Generator, factor: float, together: float | None) -> _Rates:
    care = {source: factor * float(np.exp(rng.uniform(np.log(0.008), np.log(0.05)))) for source in _CONTACT_YEARS}
    drawn = float(rng.choice([0.0, rng.uniform(0.3, 1.0)]))
    return _Rates(
        moves=factor * rng.uniform(0.02, 0.09),
        called=factor * rng.uniform(0.01, 0.08),
        surnames=factor * rng.uniform(0.01, 0.06),
        slips=care | {"school_census": 0.4 * care["school_census"]},
        copied=rng.uniform(0.0, 0.5),
        spread=drawn if together is None else together,
        stale=min(0.5, factor * rng.uniform(0.02, 0.15)),
        placeholder=factor * rng.uniform(0.0, 0.006),
        away=factor * rng.uniform(0.005, 0.03),
    )


def _draw_families(rng: np.random.Generator, names: pd.DataFrame, children: int, rates: _Rates) -> pd.DataFrame:
    """Return one row per child, with its names, its family's factor and where it lived; 3 in 100 are twins."""
    home = np.arange(children)
    twin = np.flatnonzero(rng.random(children - 1) < 0.015) + 1
    home[twin] = home[twin - 1]
    surname, other = (rng.choice(names.surname.to_numpy(object), children)[home] for _ in range(2))
    forename = rng.choice(names.first_name.to_numpy(object), children)
    same = twin[forename[twin] == forename[home[twin]]]
    forename[same] = [name[::-1].capitalize() for name in forename[same]]
    frame = pd.DataFrame({"child": np.arange(children), "forename": forename, "surname": surname})
    frame["council"] = rng.choice(list(AREAS), children, p=_SHARES)[home]
    frame["date_of_birth"] = (pd.Timestamp("2019-09-01") + pd.to_timedelta(rng.integers(0, 366, children), "D"))[home]
    frame["sex"] = rng.choice(["F", "M"], children)
    factor = np.exp(rng.normal(0, rates.spread, children) - rates.spread**2 / 2)[home]
    frame["factor"] = factor
    frame["called"] = np.where(rng.random(children) < rates.called * factor, _shorten(forename), forename)
    double, married = rng.random((2, children)) < rates.surnames * factor / 2
    joined = np.array([f"{one}-{two}" for one, two in zip(surname, other, strict=True)], object)
    frame["other_surname"] = np.select([double[home], married[home]], [joined, other], surname)
    # the child's age at the last two moves, and the addresses before, between and after
    for number in range(3):
        frame[f"postcode_{number}"] = _draw_postcodes(rng, frame.council)[home]
    waits = rng.exponential(1 / np.maximum(rates.moves * factor, 1e-6), (2, children))[:, home]
    frame["moved_1"], frame["moved_2"] = waits[0], waits[0] + waits[1]
    return frame


def _shorten(forenames: NDArray[np.object_]) -> list[str]:
    """Return the names that children are called by: a listed form, or the beginning with an ending."""
    forms = {canonical: form for form, canonical in load_given_name_forms().items()}
    return [forms.get(name.upper(), f"{name[:4].rstrip('aeiou')}ie").capitalize() for name in forenames]


def _write_down(rng: np.random.Generator, source: str, known: pd.DataFrame, rates: _Rates) -> pd.DataFrame:
    """Return a service's records of the children: one of their names, the address it knew, and its slips."""
    size, factor = len(known), known.factor.to_numpy()
    record = known[["child", "council", "sex", "date_of_birth", "factor"]].copy()
    for column, other in (("forename", "called"), ("surname", "other_surname")):
        record[column] = known[column].where(rng.random(size) < 0.5, known[other])
    age = rng.uniform(*_CONTACT_YEARS[source], size)
    age -= np.where(rng.random(size) < rates.stale * factor, rng.uniform(0.5, 2.5, size), 0)
    lived = (age > known.moved_1).astype(int) + (age > known.moved_2)
    record["postcode"] = np.choose(lived, [known[f"postcode_{number}"] for number in range(3)])
    lost = rng.random(size) < rates.placeholder * factor
    record.loc[lost, "date_of_birth"] = pd.Timestamp("1900-01-01")
    if source == "hv_reviews":
        away = rng.random(size) < rates.away
        record.loc[away, "council"] = rng.choice(list(AREAS), away.sum())
    return _slip(rng, record, rates.slips[source])


def _slip(rng: np.random.Generator, record: pd.DataFrame, rate: float) -> pd.DataFrame:
    """Return records with clerks' slips: wrong letters, names in each other's place, dates, postcodes."""
    record, size = record.copy(), len(record)

    def hit(share: float) -> NDArray[np.bool_]:
        struck: NDArray[np.bool_] = rng.random(size) < share * rate * record.factor.to_numpy()
        return struck

    for column in ("forename", "surname"):
        wrong = hit(1.0)
        record.loc[wrong, column] = [_mistype(rng, name) for name in record.loc[wrong, column]]
    swapped, day, month, moved = hit(0.2), hit(0.4), hit(0.2), hit(0.3)
    record.loc[swapped, ["forename", "surname"]] = record.loc[swapped, ["surname", "forename"]].to_numpy()
    record.loc[day, "date_of_birth"] += pd.to_timedelta(rng.choice([-10, -7, -1, 1, 7, 10], day.sum()), "D")
    month &= (record.date_of_birth.dt.day <= 12).to_numpy()
    record.loc[month, "date_of_birth"] = [
        date.replace(month=date.day, day=date.month) for date in record.date_of_birth[month]
    ]
    record.loc[moved, "postcode"] = _draw_postcodes(rng, record.council[moved])
    return record


def _mistype(rng: np.random.Generator, name: str) -> str:
    """Return the name with one letter replaced by its neighbour on the keyboard, doubled, or left out."""
    at = int(rng.integers(len(name)))
    row = next((row for row in _KEYBOARD if name[at].lower() in row), "e")
    beside = row[(row.find(name[at].lower()) + 1) % len(row)]
    return name[:at] + str(rng.choice([beside, name[at] * 2, ""])) + name[at + 1 :] or name


def _copy_records(rng: np.random.Generator, source: pd.DataFrame, target: pd.DataFrame, share: float) -> None:
    """Replace a share of the target's names and dates by the source's, slips included."""
    columns = ["forename", "surname", "date_of_birth"]
    copied = target.child.map(source.drop_duplicates("child").assign(at=range(len(source))).set_index("child")["at"])
    chosen = copied.notna() & (rng.random(len(target)) < share)
    target.loc[chosen, columns] = source[columns].iloc[copied[chosen].astype(int)].to_numpy()


def _draw_postcodes(rng: np.random.Generator, council: "pd.Series[str]") -> NDArray[np.object_]:
    """Return postcodes of the councils; about eight children live at one."""
    unit = rng.integers(0, max(20, len(council) // 8), len(council))
    # the same unit of a council is the same postcode
    made = [
        f"{AREAS[name]}{1 + number % 28} {number // 28 % 10}{_LETTERS[number // 280 % 20]}{_LETTERS[number // 5600]}"
        for name, number in zip(council, unit.tolist(), strict=True)
    ]
    return np.array(made, object)


def _finish(rng: np.random.Generator, source: str, frame: pd.DataFrame, people: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with the numbers that its source holds, some repeated rows, and a row_key."""
    frame = frame.drop(columns="factor")
    if source in ("eyfsp", "school_census"):
        frame["upn"] = [make_upn(800_000_000_003 + 10 * child) for child in frame.child.tolist()]
        frame.loc[rng.random(len(frame)) < 0.01, "upn"] = None
    else:
        frame = pd.concat([frame, frame.sample(frac=0.03, random_state=1)])
    frame["nhs_number"] = None
    if source == "hv_reviews":
        numbers = [make_nhs_number(2 * child) or make_nhs_number(2 * child + 1) for child in frame.child.tolist()]
        frame["nhs_number"] = pd.Series(numbers, frame.index, object).mask(rng.random(len(frame)) < 0.03)
        frame["local_patient_id"] = "P" + frame.child.astype(str)
    frame = frame.sample(frac=1, random_state=2).sort_values("council", kind="stable").reset_index(drop=True)
    return frame.assign(row_key=frame.groupby("council").cumcount() + 1)
