"""A small population of children seen by four services, with the errors of real records and the true links.

Vectorised and determined by a seed. `draw_extracts(children)` returns clear-text frames in contract columns, each with
`child` (the truth) and `row_key`.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from tests.support.extracts import make_nhs_number, make_upn

COUNCILS = np.array(
    ["leeds", "hammersmith-and-fulham", "halton", "knowsley", "liverpool", "sefton", "st-helens", "wirral"]
)
_COUNCIL_SHARES = np.array([0.34, 0.08, 0.06, 0.07, 0.2, 0.1, 0.07, 0.08])

_NAMES = yaml.safe_load(Path(__file__).with_name("stress_names.yaml").read_text(encoding="utf-8"))
_SYLLABLES, _ENDINGS = _NAMES["syllables"].split(), _NAMES["endings"].split()
_GROUPS = [
    (group["share"], *(group[names].split() for names in ("surnames", "girls", "boys")), group["rare_surnames"])
    for group in _NAMES["groups"]
]
_NICKNAMES: dict[str, str] = _NAMES["nicknames"]


def draw_population(children: int, seed: int = 1) -> pd.DataFrame:
    """Return one row per child: child, family, group (of names), twin, council, sex, surname, forename, date_of_birth,
    postcode, upn, nhs_number."""
    rng = np.random.default_rng(seed)
    family = np.arange(children)
    twin = rng.random(children) < 0.0147  # makes 2.9% of children twins
    family[1:] = np.where(twin[1:], family[:-1], family[1:])
    twin[0] = False
    sibling = (rng.random(children) < 0.012) & ~twin
    home = family.copy()
    home[1:] = np.where(sibling[1:], home[:-1], home[1:])
    group = rng.choice(len(_GROUPS), children, p=[g[0] for g in _GROUPS])[home]
    sex = np.where(rng.random(children) < 0.512, "M", "F")
    surname, forename = np.empty(children, object), np.empty(children, object)
    for g, (_, surnames, girls, boys, tail) in enumerate(_GROUPS):
        mine = group == g
        surname[mine] = _draw_surnames(rng, mine.sum(), surnames, tail)
        for s, names in (("F", girls), ("M", boys)):
            chosen = mine & (sex == s)
            forename[chosen] = _draw_zipf(rng, chosen.sum(), np.array(names, object), 0.55)
    surname = surname[home]
    for _ in range(8):  # twins never have the same forename
        same = np.zeros(children, bool)
        same[1:] = twin[1:] & (forename[1:] == forename[:-1])
        if not same.any():
            break
        forename[same] = _redraw(rng, group[same], sex[same])
    days = rng.integers(0, 366, children)[family]
    born = pd.Timestamp("2019-09-01") + pd.to_timedelta(days, unit="D")
    council = rng.choice(8, children, p=_COUNCIL_SHARES)[home]
    postcode = _draw_postcodes(rng, council, children)[home]
    return pd.DataFrame(
        {
            "child": np.arange(children),
            "family": family,
            "group": group,
            "twin": np.isin(family, family[twin]),
            "council": COUNCILS[council],
            "sex": sex,
            "surname": surname,
            "forename": forename,
            "date_of_birth": born,
            "postcode": postcode,
            "upn": make_upns(rng.permutation(children)),
            "nhs_number": make_nhs_numbers(rng.permutation(children)),
        }
    )


def draw_extracts(
    children: int,
    seed: int = 1,
    nhs_on_education: float = 0.0,
    slips: float = 1.0,
    slips_of: Mapping[str, float] | None = None,
) -> dict[str, pd.DataFrame]:
    """Return the four linked sources of one population, in contract columns, with `child`, `council`, `row_key`.

    Errors are `slips` times as frequent as usual, and in some councils `slips_of` times as frequent again.
    """
    people = draw_population(children, seed)
    people["slips"] = people.council.map(slips_of or {}).astype(float).fillna(1.0)
    rng = np.random.default_rng(seed + 1)
    eyfsp = _record_seen(rng, people, 0.985, moved=0.0, errors=0.4 * slips)
    census = _record_seen(rng, people, 0.98, moved=0.01, errors=0.4 * slips)
    for frame in (eyfsp, census):
        temporary = rng.random(len(frame)) < 0.004
        frame.loc[temporary, "upn"] = make_upns(frame.child.to_numpy()[temporary], temporary=True)
        frame.loc[rng.random(len(frame)) >= nhs_on_education, "nhs_number"] = None
    settings = _record_seen(rng, people, 0.88, moved=0.06, errors=slips)
    second = settings.sample(frac=0.12, random_state=seed)
    settings = pd.concat([settings, _add_errors(rng, second.copy(), 0.5 * slips)], ignore_index=True)
    settings["nhs_number"] = None
    health = _record_seen(rng, people, 0.85, moved=0.09, errors=slips)
    again = health.sample(frac=0.3, random_state=seed)
    health = pd.concat([health, _add_errors(rng, again.copy(), 0.3 * slips)], ignore_index=True)
    health["local_patient_id"] = "P" + health.child.astype(str)
    health.loc[rng.random(len(health)) < 0.04, "nhs_number"] = None
    frames = {"eyfsp": eyfsp, "school_census": census, "early_years_census": settings, "hv_reviews": health}
    for name, frame in frames.items():
        unused = ["family", "group"] if name in ("eyfsp", "school_census") else ["family", "group", "upn"]
        shuffled = (
            frame.drop(columns=[*unused, "slips"])
            .sample(frac=1, random_state=seed)
            .sort_values("council", kind="stable")
            .reset_index(drop=True)
        )
        shuffled["row_key"] = shuffled.groupby("council").cumcount() + 1
        frames[name] = shuffled
    return frames


def make_upns(numbers: np.ndarray, temporary: bool = False) -> np.ndarray:
    """Return numbers that end with 3, or with the letter D, which has the same value, if they are temporary."""
    made = (make_upn(800_000_000_003 + 10 * number) for number in numbers.tolist())
    return np.array([f"{upn[:-1]}D" if temporary else upn for upn in made], object)


def make_nhs_numbers(numbers: np.ndarray) -> np.ndarray:
    """Return valid NHS numbers in the reserved 999 range, each made of one of two neighbours: not both are invalid."""
    pairs = ((2 * number % 1_000_000, 2 * number % 1_000_000 + 1) for number in numbers.tolist())
    return np.array([make_nhs_number(one) or make_nhs_number(other) for one, other in pairs], object)


def _draw_zipf(rng: np.random.Generator, n: int, values: np.ndarray, power: float) -> np.ndarray:
    weights = np.arange(1, len(values) + 1) ** -power
    return rng.choice(values, n, p=weights / weights.sum())


def _draw_surnames(rng: np.random.Generator, n: int, common: list[str], tail: float) -> np.ndarray:
    names = _draw_zipf(rng, n, np.array(common, object), 0.7)
    made = rng.random(n) < tail
    starts, middles = rng.choice(_SYLLABLES, n), rng.choice(["", "", *_SYLLABLES], n)
    parts = zip(starts, middles, rng.choice(_ENDINGS, n), strict=True)
    built = ["".join(part).capitalize() for part in parts]
    names = np.where(made, np.array(built, object), names)
    double = rng.random(n) < 0.035
    return np.where(double, names + "-" + rng.permutation(names), names)


def _redraw(rng: np.random.Generator, group: np.ndarray, sex: np.ndarray) -> np.ndarray:
    return np.array([rng.choice(_GROUPS[g][2 if s == "F" else 3]) for g, s in zip(group, sex, strict=True)], object)


def _draw_postcodes(rng: np.random.Generator, council: np.ndarray, children: int) -> np.ndarray:
    areas = np.array(["LS", "W", "WA", "L", "L", "PR", "WA", "CH"])
    district = council * 7 + rng.integers(1, 8, len(council))
    unit = rng.integers(0, max(60, children // 5), len(council))
    letters = np.array(list("ABDEFGHJLNPQRSTUWXYZ"))
    return np.array(
        [f"{areas[c]}{d} {u % 9 + 1}{letters[u // 9 % 20]}{letters[u // 180 % 20]}"
         for c, d, u in zip(council, district, unit, strict=True)], object
    )  # fmt: skip


def _record_seen(
    rng: np.random.Generator, people: pd.DataFrame, coverage: float, moved: float, errors: float
) -> pd.DataFrame:
    seen = people[rng.random(len(people)) < coverage].reset_index(drop=True)
    movers = rng.random(len(seen)) < moved
    council = np.where(rng.random(len(seen)) < 0.2, rng.choice(COUNCILS, len(seen)), seen.council)
    elsewhere = _draw_postcodes(rng, np.searchsorted(np.sort(COUNCILS), council), len(people))
    seen["postcode"] = np.where(movers, elsewhere, seen.postcode)
    seen["council"] = np.where(movers, council, seen.council)
    return _add_errors(rng, seen, errors)


def _add_errors(rng: np.random.Generator, frame: pd.DataFrame, rate: float) -> pd.DataFrame:
    """Add typing errors, swaps, short names and placeholders, each at its own rate times `rate`."""
    n = len(frame)
    frame = frame.reset_index(drop=True)

    def draw_hits(share: float) -> np.ndarray:
        return rng.random(n) < share * rate * frame.slips.to_numpy()

    short = frame.forename.map(_NICKNAMES)
    frame["forename"] = np.where(draw_hits(0.06) & short.notna(), short, frame.forename)
    for column, share in (("surname", 0.025), ("forename", 0.025)):
        wrong = draw_hits(share)
        frame.loc[wrong, column] = _add_typos(rng, frame.loc[wrong, column])
    half = frame.surname.str.contains("-") & draw_hits(0.25)
    frame.loc[half, "surname"] = frame.surname[half].str.split("-").str[0 if rng.random() < 0.5 else 1]
    changed = draw_hits(0.008)
    frame.loc[changed, "surname"] = rng.permutation(frame.surname)[: changed.sum()]
    swapped = draw_hits(0.004)
    frame.loc[swapped, ["surname", "forename"]] = frame.loc[swapped, ["forename", "surname"]].to_numpy()
    flipped = draw_hits(0.008) & (frame.date_of_birth.dt.day <= 12)
    born = frame.date_of_birth
    turned = pd.to_datetime(
        {
            "year": born.dt.year,
            "month": born.dt.day.where(flipped, born.dt.month),
            "day": born.dt.month.where(flipped, born.dt.day),
        }
    )
    off = pd.to_timedelta(np.where(draw_hits(0.006), rng.choice([-10, -1, 1, 10, 30], n), 0), unit="D")
    frame["date_of_birth"] = turned + off
    frame.loc[draw_hits(0.004), "date_of_birth"] = pd.Timestamp("1900-01-01")
    frame.loc[draw_hits(0.006), "forename"] = "Baby"
    frame.loc[draw_hits(0.004), "postcode"] = "ZZ99 3VZ"
    wrong = draw_hits(0.008)
    frame.loc[wrong, "postcode"] = _add_typos(rng, frame.loc[wrong, "postcode"])
    upper = draw_hits(0.3)
    frame["surname"] = np.where(upper, frame.surname.str.upper(), frame.surname)
    frame["forename"] = np.where(upper, frame.forename.str.upper(), frame.forename)
    frame.loc[draw_hits(0.003), "sex"] = None
    return frame


def _add_typos(rng: np.random.Generator, values: pd.Series) -> list[str]:
    out = []
    for value in values:
        at, kind = int(rng.integers(0, max(1, len(value) - 1))), rng.integers(0, 4)
        letter = str(rng.choice(list("aeiourstnl")))
        out.append(
            value[:at] + value[at + 1 :] if kind == 0
            else value[:at] + letter + value[at:] if kind == 1
            else value[:at] + letter + value[at + 1 :] if kind == 2
            else value[:at] + value[at + 1 : at + 2] + value[at : at + 1] + value[at + 2 :]
        )  # fmt: skip
    return out
