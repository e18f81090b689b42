"""Replays the deliveries of one cohort from birth to school, quarter by quarter, and measures what returns say in time.

python -m bench.in_time FOLDER --scale 0.1 --seed 7

The extracts are those of `readiness synth`, cut to what each service would have sent by a day: reviews up to the month
before, and in the early years census of each January the children who had a place by then (`PLACES`). Each quarter is
taken in, linked and returned as by the nightly schedules, with every fact agreed between all services of the eight
councils under the usual rule on new children. The clock of the log and of deliveries is set to the day.
"""

from __future__ import annotations

import argparse
import datetime as dt
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pandas as pd

from assets.intake import ingest, part_reader
from assets.returns import disclosure_log
from privacy.services import SERVICES
from sources.reference.cohorts import Cohort
from sources.reference.places import PILOT
from sources.synthetic import generate
from tests.support.returns.agreements import EVERY_FACT, everything, telling, write
from tests.support.returns.pipeline import COHORT, Pipeline, pipeline_at

PLACES = {2022: 0.45, 2023: 0.85, 2024: 1.0}
"""Share of the children of the last January census who have a place in that of each year, drawn once for each child: an
assumption, because no source says when each child starts."""
BEFORE_SCHOOL = dt.date(2023, 8, 31)
"""Twelve months before the cohort's Reception year begins."""
Rows = dict[tuple[str, str], pd.DataFrame]
"""Rows by council and source."""
NEW_ROWS = "new_children: {after_days: 28, without_number: [known_to, known_to_no_other]}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scale", type=float, default=0.1, help="of the eight pilot councils' real size")
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    generate(given.folder / "all" / "landing", COHORT, scale=given.scale, seed=given.seed, contract_names=True)
    sent = _read_rows(given.folder / "all", given.seed)
    pipeline = pipeline_at(given.folder)
    said: list[pd.DataFrame] = []
    print(f"{'day':10}  {'rows':>7}  {'absence said':>12}  {'wrong':>5}  {'withdrawn':>9}  {'seconds':>7}")
    for day in pd.date_range("2019-12-31", "2024-06-30", freq="QE").date:
        began = time.process_time()
        files = _land(pipeline, sent, day)
        if not files:
            continue
        with _set_clock(day):
            pipeline.ingest_and_link(sorted(PILOT))
            _agree(pipeline)
            pipeline.make(day)
        now = _read_absences(pipeline, files).assign(day=day)
        known = {source: set(rows.person_id) for source, rows in _gather(files).items()}
        other = {"hv_reviews": "early_years_census", "early_years_census": "hv_reviews"}
        wrong = sum(row.person_id in known.get(other[row.source], ()) for row in now.itertuples())
        gone = len(set(said[-1].person_id) - set(now.person_id)) if said else 0
        said.append(now)
        rows = sum(map(len, files.values()))
        seconds = time.process_time() - began
        print(f"{day}  {rows:7,}  {len(now):12,}  {wrong:5}  {gone:9}  {seconds:7.1f}", flush=True)
    _report(sent, pd.concat(said))


def _report(sent: Rows, said: pd.DataFrame) -> None:
    """Print the share of the children known to one service in the end that were named in time."""
    persons = {source: set(rows.person_id) for source, rows in _gather(sent).items()}
    for source, other in (("hv_reviews", "early_years_census"), ("early_years_census", "hv_reviews")):
        alone = persons[source] - persons[other]
        told = set(said[said.source == source].person_id)
        early = set(said[(said.source == source) & (said.day <= BEFORE_SCHOOL)].person_id)
        print(
            f"known to {source} and not to {other} in the end: {len(alone):,}; said of"
            f" {100 * len(alone & early) / max(len(alone), 1):.1f}% twelve months before Reception,"
            f" {100 * len(alone & told) / max(len(alone), 1):.1f}% before school"
        )
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


def _read_rows(folder: Path, seed: int) -> Rows:
    """Return the rows of every extract by council and source, with `person_id` and `place`, uniform for each child."""
    truth = pd.read_parquet(folder / "truth.parquet")
    persons = np.sort(truth.person_id.unique())
    drawn = pd.Series(np.random.default_rng(seed).random(len(persons)), persons)
    found = {}
    for (council, source), known in truth.groupby(["council", "source"]):
        (file,) = (folder / "landing" / council / source).glob(f"{COHORT}.*")
        if file.suffix == ".parquet":
            rows = pd.read_parquet(file).astype(str)
        else:
            rows = pd.read_csv(file, dtype=str, keep_default_na=False)
        person = known.set_index("source_row").person_id.reindex(range(1, len(rows) + 1)).to_numpy()
        found[council, source] = rows.assign(person_id=person, place=drawn[person].to_numpy())
    return found


def _land(pipeline: Pipeline, sent: Rows, day: dt.date) -> Rows:
    """Write what each service has sent by a day, and return its rows."""
    files = {}
    for (council, source), rows in sent.items():
        if SERVICES[source] == "education":
            continue
        known = rows[_select_known(rows, source, day)]
        if len(known):
            path = pipeline.landing / council / source / f"{COHORT}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            known.drop(columns=["person_id", "place"]).to_csv(path, index=False)
            files[council, source] = known.reset_index(drop=True)
    return files


def _select_known(rows: pd.DataFrame, source: str, day: dt.date) -> pd.Series:
    if source == "hv_reviews":
        return rows.review_date.between("1", (day.replace(day=1) - dt.timedelta(1)).isoformat())
    censuses = [year for year in PLACES if dt.date(year, 3, 15) <= day]
    if not censuses:
        return pd.Series(False, rows.index)
    # From two years of age at the end of the year before.
    is_old_enough = rows.date_of_birth <= f"{censuses[-1] - 3}-12-31"
    return is_old_enough & (rows.place < PLACES[censuses[-1]])


def _agree(pipeline: Pipeline) -> None:
    for council in PILOT:
        others = [other for other in PILOT if other != council]
        away = "".join(telling(a, b, EVERY_FACT[a], to) for to in others for a in EVERY_FACT for b in EVERY_FACT)
        terms = everything() + away
        write(pipeline.agreements, council, pipeline.recipients, terms, accepts_from=others, new_children=NEW_ROWS)


def _read_absences(pipeline: Pipeline, files: Rows) -> pd.DataFrame:
    """Return the person and source of each row of which a return says that no other service knows the child."""
    named = [
        {"source": source, "person_id": rows.person_id[fact["row"] - 1]}
        for (council, source), rows in files.items()
        if pipeline.file(council, source).exists()
        for fact in pipeline.facts(council, source)
        if "known_to_no_other" in fact
    ]
    return pd.DataFrame(named, columns=["source", "person_id"]).drop_duplicates()


def _gather(files: Rows) -> dict[str, pd.DataFrame]:
    sources = sorted({source for _, source in files})
    return {source: pd.concat([rows for (_, of), rows in files.items() if of == source]) for source in sources}


@contextmanager
def _set_clock(day: dt.date) -> Iterator[None]:
    """Let deliveries and the disclosure log have the time of a day."""
    moment = dt.datetime.combine(day, dt.time(6), dt.UTC)

    class Clock(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> dt.datetime:  # type: ignore[override]
            return moment

    clock = SimpleNamespace(**{name: getattr(dt, name) for name in ("date", "timedelta", "UTC")}, datetime=Clock)
    text = moment.isoformat(timespec="seconds")
    with (
        patch.object(disclosure_log, "dt", clock),
        patch.object(part_reader, "format_now", lambda: text),
        patch.object(ingest, "format_now", lambda: text),
    ):
        yield


assert Cohort(COHORT).first_year == BEFORE_SCHOOL.year + 1

if __name__ == "__main__":
    main()
