"""Populations whose errors are drawn anew for each seed: how often each kind occurs, where, and which go together.

A seed draws, each within a range, the rate of every kind of error (`RATES`), how careless each service is, the share of
children seen by each, how far the errors of one child go together (a gamma factor for each child, the same in every
record), and how often a wrong name is the family's own, written alike in every record of a service. No code of the
synthetic extracts or of the tests' extracts is used.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tests.support.extracts import make_nhs_number, make_upn
from tests.support.linkage.populations import Frames

RATES = {
    "typed": (0.01, 0.05),
    "swapped": (0.002, 0.02),
    "double": (0.005, 0.03),
    "short": (0.005, 0.05),
    "by_sound": (0.0, 0.02),
    "initial": (0.0, 0.006),
    "renamed": (0.0, 0.01),
    "moved": (0.04, 0.14),
    "turned": (0.003, 0.03),
    "off": (0.003, 0.03),
    "placeholder": (0.0, 0.008),
    "nowhere": (0.0, 0.015),
}
"""Least and greatest share of a careless service's records with each kind of error. They are drawn evenly on a log
scale, or evenly from 0."""
HARD = 2.0
"""Factor of all rates in a hard world."""
TOGETHER = 1.2
"""Coefficient of variation of the children's factors in a world in which the errors of one child go together."""
_COUNCILS = {
    "leeds": (0.34, "LS"), "hammersmith-and-fulham": (0.05, "W"), "halton": (0.05, "WA"), "knowsley": (0.07, "L"),
    "liverpool": (0.19, "L"), "sefton": (0.1, "PR"), "st-helens": (0.07, "WA"), "wirral": (0.13, "CH"),
}  # fmt: skip
_LETTERS, _UNIT = list("abcdefghijklmnopqrstuvwxyz"), list("ABDEFGHJLNPQRSTUWXYZ")
_SOUNDS = (("ph", "f"), ("kh", "h"), ("y", "i"), ("ee", "i"), ("oo", "u"), ("ck", "k"), ("c", "k"), ("z", "s"))
_SHORT = {"first": 3, "second": 4}
_EDUCATION = ("eyfsp", "school_census")
Draw = Callable[[int], NDArray[np.bool_]]


def draw_world(
    names: pd.DataFrame, children: int, seed: int, factor: float = 1.0, together: float | None = None
) -> Frames:
    """Return the four linked sources of a world, in contract columns, with child, council and row_key.

    `names` has columns first_name and surname.
    `factor` multiplies all rates; `together` is how much the children's factors vary, drawn if None.
    """
    rng = np.random.default_rng([77, seed])
    rates = {kind: factor * draw_rate(rng, *span) for kind, span in RATES.items()}
    people = draw_people(rng, names, children)
    # with a coefficient of variation up to 1.5, errors of one child are up to three times as likely to come in pairs
    drawn = rng.choice([0.0, rng.uniform(0.3, 1.5)])
    spread = drawn if together is None else together
    people["frailty"] = rng.gamma(1 / spread**2, spread**2, children) if spread else 1.0
    care = dict(zip(("pupil", "setting", "review"), np.exp(rng.normal(0, 0.4, 3)) * [0.4, 1, 1], strict=True))
    shared = rng.uniform(0, 0.6)
    seen = {"eyfsp": 0.98, "school_census": rng.uniform(0.96, 0.99)}
    seen |= {"early_years_census": rng.uniform(0.85, 0.94), "hv_reviews": rng.uniform(0.82, 0.94)}
    # the errors that a school made once, in both of its files
    school = spoil(rng, people, scale(rates, shared * care["pupil"]), names)
    frames = {}
    for source, share in seen.items():
        of_school = source in _EDUCATION
        own = (1 - shared) * care["pupil"] if of_school else care["setting" if source[0] == "e" else "review"]
        known = (school if of_school else people)[rng.random(children) < share].reset_index(drop=True)
        if source == "hv_reviews":
            known = pd.concat([known, _draw_strangers(rng, names, children)], ignore_index=True)
            away = rng.random(len(known)) < rng.uniform(0.01, 0.06)
            known.loc[away, "council"] = rng.choice(list(_COUNCILS), away.sum())
        frame = spoil(rng, known, scale(rates, own), names)
        frames[source] = _finish(rng, source, frame)
    return frames


def draw_rate(rng: np.random.Generator, least: float, most: float) -> float:
    return float(np.exp(rng.uniform(np.log(least), np.log(most))) if least else rng.uniform(0, most))


def scale(rates: dict[str, float], factor: float) -> dict[str, float]:
    return {kind: rate * factor for kind, rate in rates.items()}


def draw_people(rng: np.random.Generator, names: pd.DataFrame, children: int) -> pd.DataFrame:
    """Return one row per child; 3 in 100 are twins."""
    home = np.arange(children)
    twin = np.flatnonzero(rng.random(children - 1) < 0.015) + 1
    home[twin] = home[twin - 1]
    council = rng.choice(list(_COUNCILS), children, p=[share for share, _ in _COUNCILS.values()])[home]
    frame = pd.DataFrame({"child": np.arange(children), "council": council})
    frame["sex"] = np.where(rng.random(children) < 0.51, "M", "F")
    frame["surname"] = rng.choice(names.surname.dropna().to_numpy(object), children)[home]
    frame["forename"] = rng.choice(names.first_name.dropna().to_numpy(object), children)
    frame.loc[twin, "forename"] = [f"{one[:1]}{one[::-1]}" for one in frame.forename[twin - 1]]
    frame["date_of_birth"] = (pd.Timestamp("2019-09-01") + pd.to_timedelta(rng.integers(0, 366, children), "D"))[home]
    frame["postcode"] = draw_postcodes(rng, frame.council)[home]
    frame["upn"] = [make_upn(800_000_000_003 + 10 * each) for each in rng.permutation(children).tolist()]
    frame["nhs_number"] = make_numbers(rng.permutation(children))
    return frame


def _draw_strangers(rng: np.random.Generator, names: pd.DataFrame, children: int) -> pd.DataFrame:
    """Return children who are reviewed here and are no pupils."""
    some = draw_people(rng, names, int(children * rng.uniform(0.01, 0.06)))
    numbers = np.arange(len(some))
    return some.assign(child=children + numbers, nhs_number=make_numbers(numbers + children), frailty=1.0)


def make_numbers(places: NDArray[np.int64]) -> list[str]:
    pairs = ((2 * each % 1_000_000, (2 * each + 1) % 1_000_000) for each in places.tolist())
    return [make_nhs_number(one) or make_nhs_number(other) or "" for one, other in pairs]


def draw_postcodes(rng: np.random.Generator, council: "pd.Series[str]") -> NDArray[np.object_]:
    """Return a postcode in each council; about six children live at one."""
    many, made = council.value_counts(), np.empty(len(council), object)
    for name, size in many.items():
        area = _COUNCILS[str(name)][1]
        units = max(30, size // 6)
        inward = rng.choice(_UNIT, (units, 2))
        known = [
            f"{area}{out} {digit}{a}{b}"
            for out, digit, (a, b) in zip(
                rng.integers(1, 30, units), rng.integers(0, 10, units), inward.tolist(), strict=True
            )
        ]
        made[(council == name).to_numpy()] = rng.choice(np.array(known, object), size)
    return made


def spoil(rng: np.random.Generator, frame: pd.DataFrame, rates: dict[str, float], names: pd.DataFrame) -> pd.DataFrame:
    """Return the records with errors, each kind at its rate times the child's frailty."""
    frame, size = frame.copy(), len(frame)

    def hit(kind: str) -> NDArray[np.bool_]:
        struck: NDArray[np.bool_] = rng.random(size) < rates[kind] * frame.frailty.to_numpy()
        return struck

    for column in ("surname", "forename"):
        sounded, mistyped = hit("by_sound"), hit("typed")
        frame.loc[sounded, column] = [_respell(name) for name in frame.loc[sounded, column]]
        frame.loc[mistyped, column] = [_mistype(rng, name) for name in frame.loc[mistyped, column]]
    cut = hit("short")
    frame.loc[cut, "forename"] = [name[: rng.choice(list(_SHORT.values()))] for name in frame.loc[cut, "forename"]]
    initial, other, second, swapped = hit("initial"), hit("renamed"), hit("double"), hit("swapped")
    frame.loc[initial, "forename"] = frame.loc[initial, "forename"].str[:1]
    surnames = names.surname.dropna().to_numpy(object)
    frame.loc[other, "surname"] = rng.choice(surnames, other.sum())
    frame.loc[second, "surname"] = frame.loc[second, "surname"] + "-" + rng.choice(surnames, second.sum())
    frame.loc[swapped, ["surname", "forename"]] = frame.loc[swapped, ["forename", "surname"]].to_numpy()
    born = frame.date_of_birth
    turned = hit("turned") & (born.dt.day <= 12).to_numpy()
    frame.loc[turned, "date_of_birth"] = [day.replace(month=day.day, day=day.month) for day in born[turned]]
    off = np.where(hit("off"), rng.choice([-10, -1, 1, 10, 31, 365], size), 0)
    frame["date_of_birth"] += pd.to_timedelta(off, "D")
    frame.loc[hit("placeholder"), "date_of_birth"] = pd.Timestamp("1900-01-01")
    moved = hit("moved")
    if moved.any():
        frame.loc[moved, "postcode"] = draw_postcodes(rng, frame.council[moved])
    frame.loc[hit("nowhere"), "postcode"] = "ZZ99 3VZ"
    return frame


def _mistype(rng: np.random.Generator, name: str) -> str:
    if len(name) < 2:
        return name
    at, letter = int(rng.integers(0, len(name) - 1)), str(rng.choice(_LETTERS))
    ways = (
        name[:at] + letter + name[at + 1 :],
        name[:at] + name[at + 1 :],
        name[:at] + letter + name[at:],
        name[:at] + name[at + 1] + name[at] + name[at + 2 :],
    )
    return ways[int(rng.integers(len(ways)))]


def _respell(name: str) -> str:
    for sound, letters in _SOUNDS:
        name = name.lower().replace(sound, letters)
    return name


def _finish(rng: np.random.Generator, source: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with the numbers that its source holds, some repeated rows, and a row_key."""
    size = len(frame)
    if source in _EDUCATION:
        frame.loc[rng.random(size) < rng.uniform(0, 0.02), "upn"] = None
    else:
        frame = frame.drop(columns="upn")
    if source == "hv_reviews":
        frame["local_patient_id"] = "P" + pd.Series(rng.permutation(size).astype(str), frame.index)
        frame.loc[rng.random(size) < rng.uniform(0.01, 0.06), "nhs_number"] = None
    else:
        frame["nhs_number"] = None
    again = frame.sample(frac=rng.uniform(0, 0.06), random_state=1) if source not in _EDUCATION else frame[:0]
    frame = pd.concat([frame, again]).drop(columns="frailty").sample(frac=1, random_state=1)
    frame = frame.sort_values("council", kind="stable").reset_index(drop=True)
    return frame.assign(row_key=frame.groupby("council").cumcount() + 1)
