"""A cohort that grows up, by a generator that shares no code with the pipeline's: the people and errors of
`bench.worlds`, and events in their lives.

Children move, are adopted under another name, start at a nursery at any age, change it, and miss reviews. Health
visitors of some councils send every review so far each month, others the month's reviews and deletions.
"""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from bench import worlds
from bench.in_time.truth import COLUMNS
from bench.names import draw_public_names
from sources.extract.landing import mark_as_synthetic
from tests.support.extracts import build_row, list_columns

COHORT, YEAR = "202425", 2024
CHILDREN = 24_000
"""Children of the eight councils at scale 1: a few more than the pilot's."""
_CUMULATIVE = ("leeds", "knowsley", "wirral")
"""Councils whose health visitors send every review so far each month."""
_REVIEWS = {"NBV": (8, 15), "6-8W": (40, 62), "12M": (320, 390), "2-2.5Y": (720, 915)}
"""Days of age at which each review is made."""
_REVIEWED, _CONCERN = 0.9, 0.06
_REVIEWS_UNTIL = pd.Timestamp("2023-08-31")
_MOVES, _STAYS, _ADOPTED = 0.12, 0.8, 0.01
"""Shares of children who move once, who stay in their council when they do, and who are adopted."""
_ATTENDS, _SAME_NURSERY, _NURSERY_HAS_NUMBER = 0.85, 0.8, 0.4
_DELETED = {"Record status": "D"}
_NAMES = ["surname", "forename", "sex", "date_of_birth", "postcode", "upn", "nhs_number"]


@dataclass(frozen=True)
class Towns:
    """Files of the cohort (day sent, source, council, name, lines), and their rows as `truth.COLUMNS`."""

    files: list[tuple[dt.date, str, str, str, pd.DataFrame]]
    rows: pd.DataFrame

    def write(self, landing: Path, until: dt.date, after: dt.date = dt.date.min) -> list[Path]:
        """Write the files sent after the day `after` and by the day `until`, and council files; return the former."""
        written = []
        for day, source, council, name, lines in self.files:
            if after < day <= until:
                path = landing / council / source / (f"{COHORT}/{name}.csv" if name != COHORT else f"{COHORT}.csv")
                path.parent.mkdir(parents=True, exist_ok=True)
                lines.to_csv(path, index=False)
                written.append(path)
        mark_as_synthetic(landing, written)
        _write_council_files(landing.parent / "councils", {council for _, _, council, _, _ in self.files})
        return written


def draw_towns(children: int, seed: int) -> Towns:
    """Draw a cohort and everything its councils send until the end of Reception."""
    rng = np.random.default_rng([78, seed])
    names = draw_public_names()
    people = _draw_lives(rng, names, children)
    rates = {kind: worlds.draw_rate(rng, *span) for kind, span in worlds.RATES.items()}
    events = pd.concat([_draw_reviews(rng, people), _draw_censuses(rng, people), _draw_school(rng, people)])
    events = events[(events.date >= events["from"]) & (events.date < events.until.fillna(pd.Timestamp.max))]
    lines = _record(rng, events.reset_index(drop=True), rates, names)
    files, rows = [], []
    for source, own in lines.groupby("source"):
        for council, sent in own.groupby("council"):
            for file in _iter_files(str(source), str(council), sent):
                files.append(file[:-1])
                rows.append(file[-1])
    return Towns(sorted(files, key=lambda file: file[:4]), pd.concat(rows, ignore_index=True)[COLUMNS])


def _draw_lives(rng: np.random.Generator, names: pd.DataFrame, children: int) -> pd.DataFrame:
    """Return an identity a line: its names and numbers, `from` and `until` when it is valid, and its two homes."""
    people = worlds.draw_people(rng, names, children)
    born, days = people.date_of_birth, rng.integers(30, 1_800, children)
    people["frailty"] = rng.gamma(2, 0.5, children)
    people["from"], people["moved_on"] = born, born + pd.to_timedelta(days, "D")
    people.loc[rng.random(children) >= _MOVES, "moved_on"] = pd.NaT
    elsewhere = np.where(rng.random(children) < _STAYS, people.council, rng.permutation(people.council))
    people["later_council"] = elsewhere
    people["later_postcode"] = worlds.draw_postcodes(rng, people.later_council)
    adopted = rng.random(children) < _ADOPTED
    people["until"] = (born + pd.to_timedelta(rng.integers(100, 1_500, children), "D")).where(adopted)
    after = people[adopted].copy()
    numbers = children + np.arange(len(after))
    after = after.assign(
        child=numbers,
        surname=rng.choice(names.surname.dropna().to_numpy(object), len(after)),
        nhs_number=worlds.make_numbers(numbers),
        upn=[worlds.make_upn(900_000_000_003 + 10 * each) for each in numbers.tolist()],
        postcode=after.later_postcode,
        council=after.later_council,
        **{"from": after.until},
    )
    after["moved_on"] = after["until"] = pd.NaT
    return pd.concat([people, after], ignore_index=True)


def _draw_reviews(rng: np.random.Generator, people: pd.DataFrame) -> pd.DataFrame:
    found = []
    for review, (least, most) in _REVIEWS.items():
        made = people[rng.random(len(people)) < _REVIEWED**people.frailty]
        date = made.date_of_birth + pd.to_timedelta(rng.integers(least, most, len(made)), "D")
        concern = rng.random(len(made)) < _CONCERN
        found.append(made.assign(source="hv_reviews", review=review, date=date, concern=concern))
    return pd.concat(found)


def _draw_censuses(rng: np.random.Generator, people: pd.DataFrame) -> pd.DataFrame:
    size, found = len(people), []
    starts = people.date_of_birth + pd.to_timedelta(rng.integers(540, 1_500, size), "D")
    attends, setting = rng.random(size) < _ATTENDS, rng.integers(0, 60, size)
    sen = people.date_of_birth + pd.to_timedelta(rng.integers(700, 2_000, size), "D")
    sen = sen.where(rng.random(size) < 2 * _CONCERN)
    for year in (YEAR - 2, YEAR - 1, YEAR):
        day = pd.Timestamp(year, 1, 18)
        two = people.date_of_birth < pd.Timestamp(year - 2, 1, 1)
        setting = np.where(rng.random(size) < _SAME_NURSERY, setting, rng.integers(0, 60, size))
        there = attends & (starts <= day) & two
        changes: dict[str, Any] = {"date": day, "concern": (sen <= day)[there], "setting": setting[there]}
        found.append(people[there].assign(source="early_years_census", **changes))
    return pd.concat(found)


def _draw_school(rng: np.random.Generator, people: pd.DataFrame) -> pd.DataFrame:
    found = []
    for source, month in (("school_census", 1), ("eyfsp", 6)):
        there = people[rng.random(len(people)) < 0.98]
        found.append(there.assign(source=source, date=pd.Timestamp(YEAR + 1, month, 18)))
    return pd.concat(found)


def _record(
    rng: np.random.Generator, events: pd.DataFrame, rates: dict[str, float], names: pd.DataFrame
) -> pd.DataFrame:
    """Return the events as recorded: where the child lives then, with the errors of each registration."""
    moved = (events.date >= events.moved_on).to_numpy()
    events["council"] = np.where(moved, events.later_council, events.council)
    events["postcode"] = np.where(moved, events.later_postcode, events.postcode)
    of = ["source", "council", "child", "postcode"]
    registered = events.drop_duplicates(of).reset_index(drop=True)
    registered["number"] = rng.permutation(len(registered))
    spoiled = worlds.spoil(rng, registered, rates, names)
    unnumbered = (registered.source == "early_years_census") & (rng.random(len(registered)) >= _NURSERY_HAS_NUMBER)
    spoiled.loc[unnumbered | registered.source.isin(["eyfsp", "school_census"]), "nhs_number"] = ""
    spoiled["date_of_birth"] = spoiled.date_of_birth.dt.strftime("%Y-%m-%d")
    own = registered[of].join(spoiled[[*_NAMES, "number"]].add_prefix("own_"))
    return events.merge(own, on=of)


def _iter_files(
    source: str, council: str, sent: pd.DataFrame
) -> Iterator[tuple[dt.date, str, str, str, pd.DataFrame, pd.DataFrame]]:
    """Yield the files of a council and source: day sent, source, council, name, lines, and the truth about them."""
    whole = source in ("eyfsp", "school_census")
    if whole:
        yield _build_file(dt.date(YEAR + 1, 7 if source == "eyfsp" else 2, 17), source, council, COHORT, sent)
        return
    month = sent.date.dt.to_period("M")
    if source == "hv_reviews":
        months = list(pd.period_range(month.min(), _REVIEWS_UNTIL.to_period("M"), freq="M"))
        days = [(each + 1).start_time.date() + dt.timedelta(20) for each in months]
    else:
        months, days = sorted(month.unique()), [dt.date(each.year, 3, 15) for each in sorted(month.unique())]
    # The first day of a file on which an identity that ended is no longer sent, or is deleted.
    after = np.searchsorted(np.array(days, "datetime64[D]"), sent.until.to_numpy("datetime64[D]"))
    gone = np.array([*days, None], object)[np.where(sent.until.isna(), len(days), np.minimum(after, len(days)))]
    sent = sent.assign(gone=gone)
    cumulative = source == "hv_reviews" and council in _CUMULATIVE
    for each, day in zip(months, days, strict=True):
        ended = sent.gone.notna() & (sent.gone.astype(object).fillna(dt.date.max) <= day)
        if cumulative:
            yield _build_file(day, source, council, str(each), sent[(month <= each) & ~ended])
        else:
            ends = sent[(sent.gone == day) & (month < each)]
            yield _build_file(day, source, council, str(each), sent[(month == each) & ~ended], ends)


def _build_file(
    day: dt.date, source: str, council: str, name: str, sent: pd.DataFrame, deleted: pd.DataFrame | None = None
) -> tuple[dt.date, str, str, str, pd.DataFrame, pd.DataFrame]:
    rows = sent if deleted is None else pd.concat([sent, deleted])
    said = rows.reset_index(drop=True)
    lines = pd.DataFrame([build_row(source)] * len(said), columns=list_columns(source))
    for column in _NAMES:
        if column in lines:
            lines[column] = said[f"own_{column}"].fillna("")
    if source == "hv_reviews":
        lines["local_patient_id"] = "P" + said.own_number.astype(str)
        lines["review"], lines["review_date"] = said.review, said.date.dt.strftime("%Y-%m-%d")
        lines["concern"] = np.where(said.concern, "Y", "N")
        lines["asq3_months"] = ""
    if source == "early_years_census":
        lines["setting_urn"] = "EY" + said.setting.astype(int).astype(str)
        lines["sen_provision"] = np.where(said.concern, "K", "N")
    if deleted is not None:
        lines = lines.assign(**dict.fromkeys(_DELETED, ""))
        lines.loc[lines.index >= len(sent), list(_DELETED)] = list(_DELETED.values())
    truth = pd.DataFrame({"source_row": np.arange(len(said)) + 1, "person_id": said.child})
    truth = truth.assign(source=source, council=council, file=name, cohort=COHORT, day=day)
    truth["gone"] = said.gone if "gone" in said else None
    truth["seen"] = said.date.dt.strftime("%Y-%m")
    truth["review"] = said.review if source == "hv_reviews" else None
    truth["concern"] = said.concern.astype(bool) if source in ("hv_reviews", "early_years_census") else None
    truth["concern_month"] = truth.seen.where(truth.concern == True)  # noqa: E712  # None for a source without any
    return day, source, council, name, lines, truth


def _write_council_files(folder: Path, councils: set[str]) -> None:
    """Write council files that say how the parts of each source add up."""
    folder.mkdir(parents=True, exist_ok=True)
    (heading, value), *_ = _DELETED.items()
    for council in councils:
        sources = {}
        for source in ("hv_reviews", "early_years_census"):
            changes = source == "early_years_census" or council not in _CUMULATIVE
            how = {"parts": "changes", "deleted": {heading: value}} if changes else {"parts": "cumulative"}
            sources[source] = {"columns": {name: name for name in list_columns(source)}, **how}
        content = yaml.safe_dump({"council": council, "sources": sources})
        (folder / f"{council}.yaml").write_text(content, encoding="utf-8")
