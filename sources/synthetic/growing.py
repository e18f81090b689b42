"""Deliveries of a growing world: what each council has sent by a day, for several cohorts from birth to Reception.

- `hv_reviews`: a file a month, `<year>-<month>`, with that month's reviews of all cohorts, sent on the 21st of the next
- `early_years_census`: a file each January, with all children aged two and over, sent on 15 March
- `school_census`, `eyfsp`: the whole extract of a cohort, sent on the day on which it is due by its contract

When a child dies or an identity ends with an adoption, the next files delete everything sent about it, and nothing more
is sent.
"""

import datetime as dt
import zlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
import yaml

from sources.contracts import CONTRACTS
from sources.contracts.people import SEN_CODES
from sources.contracts.sources import PROGRESS_CHECK_CODES
from sources.councils.council_file import SHIPPED
from sources.extract.landing import mark_as_synthetic
from sources.reference.cohorts import Cohort
from sources.reference.published_figures import EXPECTED_ROWS_FILE
from sources.synthetic import returns, writing
from sources.synthetic.drawing import Bools, Ints
from sources.synthetic.lives import LIKELY, OUTSIDE, LivingWorld, draw_living_world
from sources.synthetic.margins import FSM
from sources.synthetic.people import Dates
from sources.synthetic.recording import Rows, World, build_codes, build_dates, build_text
from sources.synthetic.returns import SETTINGS, VISITS, draw_dates_after
from sources.synthetic.writing import DEFAULT_SEED

_REVIEWS, _NURSERIES = LIKELY["reviews"], LIKELY["nurseries"]
_IN_PARTS = ("hv_reviews", "early_years_census")
_STATUS, _DELETED = "Record status", "D"
"""Heading and value by which a row deletes a record."""
_SENT_ON = 21
"""Day of the next month on which a month's file is sent: an assumption."""


class Sent(NamedTuple):
    """Rows of one source and cohort, by council and then by `month`, that of the file, in the order of the file."""

    month: Dates
    council: Ints
    person: Ints
    deletes: Bools
    table: pa.Table


class _GrowingFile(NamedTuple):
    """A council's file and the day on which it is sent; `parts` has, by index of cohort, the slice of its rows."""

    day: dt.date
    source: str
    council: int
    name: str
    parts: tuple[tuple[int, slice], ...]


@dataclass(frozen=True)
class GrowingWorld:
    """Some cohorts and everything that their councils send, from the first birth to the end of Reception."""

    cohorts: Sequence[LivingWorld]
    scale: float

    @classmethod
    def draw(
        cls, first: str, number: int, *, scale: float = 1.0, seed: int = DEFAULT_SEED, contract_names: bool = False
    ) -> "GrowingWorld":
        """Draw pilot cohorts from `first` on. Raises `InvalidCohort`, `ValueError` if the scale is 0 or too large."""
        if scale <= 0:
            raise ValueError(f"scale must be above 0, not {scale}")
        year = Cohort(first).first_year
        cohorts = (Cohort.build(year + place) for place in range(number))
        return cls([draw_living_world(each, seed, scale, contract_names, at) for at, each in enumerate(cohorts)], scale)

    @cached_property
    def sent(self) -> dict[str, list[Sent]]:
        """Everything that is ever sent, by source and cohort."""
        return {source: [draw(living) for living in self.cohorts] for source, draw in _SENT.items()}

    @cached_property
    def files(self) -> list[_GrowingFile]:
        """Every file, in order of the day on which it is sent."""
        found: list[_GrowingFile] = []
        for source, of_cohorts in self.sent.items():
            parts: dict[tuple[int, dt.date], list[tuple[int, slice]]] = defaultdict(list)
            for index, sent in enumerate(of_cohorts):
                keys, starts = np.unique(np.rec.fromarrays([sent.council, sent.month]), return_index=True)
                for key, start, end in zip(keys.tolist(), starts, [*starts[1:], len(sent.month)], strict=True):
                    parts[key].append((index, slice(start, end)))
            for (council, month), rows in parts.items():
                cohort = self.cohorts[rows[0][0]].world.cohort
                name = f"{month:%Y-%m}" if source in _IN_PARTS else cohort.code
                day = find_day_sent(source, np.array([month], "datetime64[M]"))[0].item()
                if source not in _IN_PARTS:
                    day = CONTRACTS[source].get_due_day(cohort)
                found.append(_GrowingFile(day, source, council, name, tuple(rows)))
        return sorted(found)

    def write(self, landing: Path, until: dt.date, after: dt.date = dt.date.min) -> list[Path]:
        """Write the files sent after the day `after` and by the day `until` into `landing`, and write the truth.

        Returns these files. A file that already has the right bytes is left alone. Three things are written beside
        `landing`:

        - `truth_rows.parquet`: the child of each row (source, council, file, source_row, cohort, person_id, deletes);
        - `truth_known.parquet`: the first day on which each source of a council knew a child;
        - `councils/`: council files that let parts delete records, for READINESS_COUNCILS.
        """
        world = self.cohorts[0].world
        world.geography.write_directory(landing / "reference" / "postcode_directory.csv")
        for living in self.cohorts:
            writing.write_expected(landing / "reference" / EXPECTED_ROWS_FILE, living.world, self.scale)
        _write_council_files(landing.resolve().parent / "councils", world)
        here = [file for file in self.files if file.day <= until]
        written = [self._write_file(landing, file) for file in here if file.day > after]
        mark_as_synthetic(landing, written)
        rows = pa.concat_tables([_NO_ROWS, *(self.build_truth(file) for file in here)])
        known = rows.filter(pc.invert(rows["deletes"])).group_by(["person_id", "cohort", "source", "council"])
        first = known.aggregate([("day", "min")]).rename_columns({"day_min": "first_day"})
        keys = [(name, "ascending") for name in ("person_id", "source", "council")]
        truth = {"truth_rows": rows.drop_columns("day"), "truth_known": first.sort_by(keys)}
        for name, table in truth.items():
            pyarrow.parquet.write_table(table, landing.resolve().parent / f"{name}.parquet", compression="zstd")
        return written

    def _write_file(self, landing: Path, file: _GrowingFile) -> Path:
        world, parts = self.cohorts[0].world, []
        place = world.margins.councils[file.council].council
        for cohort, rows in file.parts:
            sent = self.sent[file.source][cohort]
            seed = zlib.crc32(f"{file.source} {place} {file.name} {cohort}".encode())
            status = {_STATUS: pa.array(np.where(sent.deletes[rows], _DELETED, ""))}
            parts.append((sent.table[rows], seed, status if file.source in _IN_PARTS else {}))
        return writing.write_file(landing, world, place, file.source, file.name, parts)

    def build_truth(self, file: _GrowingFile) -> pa.Table:
        """Return the child of each row of a file, with the day on which it is sent."""
        place = self.cohorts[0].world.margins.councils[file.council].council
        tables = []
        for index, rows in file.parts:
            cohort, sent, size = self.cohorts[index].world.cohort, self.sent[file.source][index], rows.stop - rows.start
            fixed = {"source": file.source, "council": place, "file": file.name, "cohort": cohort.code, "day": file.day}
            columns = {name: pa.repeat(pa.scalar(value), size) for name, value in fixed.items()}
            person = cohort.first_year * 10_000_000 + sent.person[rows]
            tables.append(pa.table({**columns, "person_id": person, "deletes": sent.deletes[rows]}))
        table = pa.concat_tables(tables)
        return table.append_column("source_row", pa.array(np.arange(table.num_rows) + 1)).select(_NO_ROWS.column_names)


_NO_ROWS = pa.schema(
    [
        *((name, pa.string()) for name in ("source", "council", "file")),
        ("source_row", pa.int64()),
        ("cohort", pa.string()),
        ("person_id", pa.int64()),
        ("deletes", pa.bool_()),
        ("day", pa.date32()),
    ]
).empty_table()


def find_day_sent(source: str, month: Dates) -> Dates:
    """Return the day on which each month's file is sent."""
    usual = (month.astype("datetime64[M]") + 1).astype("datetime64[D]") + (_SENT_ON - 1)
    census = (month.astype("datetime64[M]") + 2).astype("datetime64[D]") + 14
    in_january = month.astype("datetime64[M]").astype(np.int64) % 12 == 0
    return np.where(in_january & (source == "early_years_census"), census, usual)


def _write_council_files(folder: Path, world: World) -> None:
    """Write the pilot's council files, changed so that parts can delete records."""
    folder.mkdir(parents=True, exist_ok=True)
    for place in world.margins.councils:
        shipped = yaml.load((SHIPPED / f"{place.council}.yaml").read_text(encoding="utf-8"), yaml.BaseLoader)
        sources = {} if world.contract_names else shipped["sources"]
        for source in _IN_PARTS:
            # Under contract names too, columns must be mapped: one that the council file leaves out would not be sent.
            sent = writing.list_columns_sent(CONTRACTS[source], place.council, world.contract_names)
            own = sources.get(source, {"columns": {column.name: column.name for column in sent}})
            sources[source] = {**own, "parts": "changes", "deleted": {_STATUS: _DELETED}}
        content = yaml.safe_dump({"council": place.council, "sources": sources}, allow_unicode=True)
        (folder / f"{place.council}.yaml").write_text(content, encoding="utf-8")


def draw_reviews_sent(living: LivingWorld) -> Sent:
    """Draw the reviews of every child: on time, late or missed, by the council where the child lives at the time."""
    world, lives = living.world, living.lives
    rng, born = world.streams("reviews of lives"), world.people.born
    everyone, width = np.arange(len(born)), len(world.margins.councils)
    by_fsm = np.array(_REVIEWS["by_fsm"])[world.people.categories[FSM]]
    child, kind, date = [], [], []
    for index, (done, on_time) in enumerate(zip(_REVIEWS["done"], _REVIEWS["on_time"], strict=True)):
        lot = rng.random(len(born)) - by_fsm
        days = [draw_dates_after(rng, born, *_REVIEWS[name][index]) for name in ("days", "late_days")]
        reviewed = everyone[lot < done]
        child.append(reviewed)
        kind.append(np.full(len(reviewed), index))
        date.append(np.where(lot < on_time, *days)[reviewed])
    who, which, day = (np.concatenate(part) for part in (child, kind, date))
    home = lives.find_home(who, day)
    before = home - 1
    first = lives.child[before] != who
    same_council = ~first & (lives.council[before] == lives.council[home])
    since = (day - lives.since[home]).astype(np.int64)
    unregistered = ~first & ~same_council & (since < rng.integers(0, _REVIEWS["unregistered_days"], len(who)))
    home = np.where(same_council & (rng.random(len(who)) < _REVIEWS["old_address"]), before, home)
    seen = np.flatnonzero((lives.council[home] != OUTSIDE) & ~unregistered & ~(lives.ended[who] <= day))
    who, which, day, home = who[seen], which[seen], day[seen], home[seen]
    where = lives.council[home]
    registrations, enrolment = np.unique(who * width + where, return_inverse=True)
    reviews = returns.Reviews(enrolment, which, day)
    identity = living.record(rng, "hv_reviews", home, day)
    # Drawn by registration and used for all its reviews: some never get a number, some get it late.
    lot = rng.random(len(registrations))[enrolment]
    earliest, latest = _REVIEWS["number_days"]
    until = born[who] + rng.integers(earliest, latest, len(registrations))[enrolment].astype("timedelta64[D]")
    never = lot < VISITS["nhs_number_missing"]
    missing = never | ((lot < VISITS["nhs_number_missing"] + _REVIEWS["number_late"]) & (day < until))
    number = 1_000_000 * (world.cohort.first_year % 100) + rng.permutation(len(registrations))
    table = pa.table(
        {
            "local_patient_id": build_text(number[enrolment].astype("U8")),
            **returns.build_number_columns(world.people.nhs_number[who], missing),
            **returns.draw_review_columns(rng, world, who, where, identity, reviews),
        }
    )
    late = np.where(rng.random(len(who)) < _REVIEWS["recorded_late"], rng.integers(1, 3, len(who)), 0)
    return _send(living, "hv_reviews", day.astype("datetime64[M]") + late, where, who, table)


def draw_censuses_sent(living: LivingWorld) -> Sent:
    """Draw the rows of nurseries and childminders for each January from age two on."""
    world, lives = living.world, living.lives
    rng, size, width = world.streams("nurseries of lives"), len(living.world.people), len(world.margins.councils)
    coverage = world.vary_by_council("early years census", *SETTINGS["coverage"])
    attends, starts, second = (rng.random(size) for _ in range(3))
    changes = np.zeros(size, np.int64)
    found: list[tuple[Ints, ...]] = []
    days = np.array([find_census_day(world.cohort.first_year + year) for year in (-2, -1, 0)])
    for index, started in enumerate(_NURSERIES["started"]):
        changes += rng.random(size) < _NURSERIES["changed"]
        # Children aged two at the end of December.
        child = np.flatnonzero((world.people.born < days[index].astype("datetime64[Y]") - 2) & (starts < started))
        home = lives.find_home(child, np.full(len(child), days[index]))
        there = (lives.council[home] != OUTSIDE) & (attends[child] < coverage[lives.council[home]])
        child, home = child[there], home[there]
        for chosen, second_place in ((np.full(len(child), True), 0), (second[child] < SETTINGS["two_settings"], 1)):
            of_child = 2 * changes[child[chosen]] + second_place
            found.append((child[chosen], home[chosen], of_child, np.full(chosen.sum(), index)))
    who, home, place, census = (np.concatenate(part) for part in zip(*found, strict=True))
    where, day = lives.council[home], days[census]
    _, first, at = np.unique((who * width + where) * 8 + place, return_index=True, return_inverse=True)
    places = returns.draw_places(rng, world, who[first], where[first])
    gets_number = rng.random(len(first)) < _NURSERIES["number_late"]
    # Rows are in order of census, so the first row of a place is its first January.
    has_number = (places.has_number | gets_number)[at] & (places.has_number[at] | (census > census[first][at]))
    identity = living.record(rng, "early_years_census", home, day)
    columns = {name: values.take(pa.array(at)) for name, values in places.payload.items()}
    has_sen = np.array(_NURSERIES["sen_since"])[census] > rng.random(size)[who]
    sen = np.where(has_sen, columns["sen_provision"].indices.to_numpy(), 0)
    checked = columns["progress_check_date"].to_numpy(zero_copy_only=False)
    done = checked <= day
    outcome = np.where(done, columns["progress_check_outcome"].indices.to_numpy(), _NOT_DONE)
    columns |= {
        "nhs_number": build_text(np.where(has_number, world.people.nhs_number[who], "")),
        "sen_provision": build_codes(sen, tuple(SEN_CODES)),
        "progress_check_date": build_dates(np.where(done, checked, np.datetime64("NaT"))),
        "progress_check_outcome": build_codes(outcome, tuple(PROGRESS_CHECK_CODES)),
    }
    table = pa.table(columns | identity.build_columns())
    return _send(living, "early_years_census", day.astype("datetime64[M]"), where, who, table)


_NOT_DONE = list(PROGRESS_CHECK_CODES).index("not_done")


def find_census_day(year: int) -> np.datetime64:
    """Return census day: the third Thursday of January."""
    start = np.datetime64(f"{year}-01-01")
    # Day 0 of numpy, 1 January 1970, was a Thursday.
    return start + (-start.astype(np.int64)) % 7 + 14


def _send(living: LivingWorld, source: str, month: Dates, council: Ints, person: Ints, table: pa.Table) -> Sent:
    """Return rows in the order in which they are sent, with those that delete the records of an ended identity."""
    ended = living.lives.ended[person]
    sent = np.flatnonzero(~(ended <= find_day_sent(source, month)))
    again = sent[ended[sent] == ended[sent]]
    row = np.concatenate([sent, again])
    deletes = np.arange(len(row)) >= len(sent)
    file = np.where(deletes, ended[row].astype("datetime64[M]"), month[row])
    order = np.lexsort((row, deletes, file, council[row]))
    row = row[order]
    return Sent(file[order], council[row], person[row], deletes[order], table.take(pa.array(row)))


def _send_whole(living: LivingWorld, source: str, draw: Callable[[World], Rows]) -> Sent:
    rows = draw(living.world)
    assert rows.person is not None
    month = np.full(len(rows.council), CONTRACTS[source].get_due_day(living.world.cohort), "datetime64[M]")
    return Sent(month, rows.council, rows.person, np.zeros(len(month), bool), rows.table)


_SENT: dict[str, Callable[[LivingWorld], Sent]] = {
    "hv_reviews": draw_reviews_sent,
    "early_years_census": draw_censuses_sent,
    "school_census": partial(
        _send_whole, source="school_census", draw=partial(returns.draw_school_census, leavers=False)
    ),
    "eyfsp": partial(_send_whole, source="eyfsp", draw=returns.draw_eyfsp),
}
