"""Replays years of deliveries with several open cohorts, night by night, and measures what returns say in time.

    python -m bench.in_time FOLDER --scale 0.1 --cohorts 3 --seed 7
    python -m bench.in_time FOLDER --scale 0.1 --towns    # one cohort, by a generator of another hand
    python -m bench.in_time FOLDER --scale 1 --cohorts 6 --start 2024-06-30 --end 2024-08-31    # the pilot's size

The deliveries are those of `readiness synth --as-of`, under contract names, or of `bench.in_time.towns`. Each night
takes in, links and returns every open cohort as the schedules do, with all facts agreed between all services of the
eight councils under the usual rule on new children, but absence also for rows without a number. A person releases
unusual deliveries the night after. The date is simulated. Facts are compared with what the generator sent by then;
nothing that the pipeline knows enters that comparison, only the reasons for children who were not told of in time.
"""

import argparse
import datetime as dt
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import great_expectations  # noqa: F401  # so that validation runs, and is measured, in this process
import numpy as np
import pandas as pd

from assets.home.errors import Refused
from assets.intake import deliveries
from assets.intake.ingest import Intake
from assets.linkage.link import NothingToLink, link_cohort
from assets.returns.accounts import read_state
from assets.returns.agreements import load_all
from assets.returns.make import Maker, make_returns, release
from assets.returns.row_history import Extracts
from bench.in_time.towns import CHILDREN, draw_towns
from bench.in_time.truth import judge, list_rows_of_growing_world
from bench.pipeline.commands import measure_memory, reset_peak
from privacy.doors.environment import SIMULATED_DATE
from privacy.returns.seal import unseal
from privacy.row_keys import split_number
from privacy.services import SERVICES, Fact
from sources.extract.landing import find
from sources.reference.cohorts import Cohort
from sources.reference.places import PILOT
from sources.synthetic.growing import GrowingWorld
from tests.support.returns.agreements import EVERY_FACT, format_all_terms, format_terms, write
from tests.support.returns.pipeline import COHORT as FIRST, Pipeline, make_pipeline

NEW_DAYS = 28
ABSENCES = (Fact.NO_OTHER, Fact.REVIEW)
NEW_ROWS = f"new_children: {{after_days: {NEW_DAYS}, without_number: [{', '.join((Fact.KNOWN_TO, *ABSENCES))}]}}\n"
EARLY = ("hv_reviews", "early_years_census")
"""Sources of the services that can be told, before school, that the other one does not know a child."""
MISSED = (
    "linked to another child",
    "could be a record of another child, or changed in the last 28 days",
)
"""Reasons for which a child who can be found was not told of in time."""
PLACE = ["source", "council", "file", "source_row"]
KEY = ["cohort", "source", "council", "person_id", "kind", "sender"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scale", type=float, default=0.1, help="of the eight pilot councils' real size")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--cohorts", type=int, default=3, help="at most 6")
    parser.add_argument("--towns", action="store_true", help="the cohort of `bench.in_time.towns`")
    parser.add_argument("--step", choices=["month", "quarter"], default="quarter")
    parser.add_argument("--start", type=dt.date.fromisoformat, help="first night; by default, soon after the births")
    parser.add_argument("--end", type=dt.date.fromisoformat, help="last night; by default, when Reception ends")
    given = parser.parse_args()
    oldest = Cohort(FIRST)
    start, end = given.start or oldest.born_from + dt.timedelta(120), given.end or oldest.reception_ends
    given.folder.mkdir(parents=True, exist_ok=True)
    replay = draw_replay(given)
    replay.agree()
    nights = pd.date_range(start, end, freq={"month": "ME", "quarter": "QE"}[given.step]).date
    print(f"{'night':10}  {'cohorts':>7}  {'rows':>8}  {'facts':>8}  {'absences':>8}  {'seconds':>7}  {'GiB':>5}")
    before = dt.date.min
    for day in nights:
        replay.write(replay.pipeline.landing, day, before)
        reset_peak()
        began = time.process_time()
        cohorts = replay.run(day)
        seconds, memory = time.process_time() - began, measure_memory("self", "VmHWM")
        told, rows = replay.measure(day, cohorts)
        absences = int(told.kind.isin(ABSENCES).sum())
        print(
            f"{day}  {len(cohorts):7}  {rows:8,}  {len(told):8,}  {absences:8,}  {seconds:7.1f}  {memory:5.2f}",
            flush=True,
        )
        before = day
    # What a person released the night before is returned first.
    replay.run(nights[-1] + dt.timedelta(1))
    began = time.process_time()
    replay.run(nights[-1] + dt.timedelta(2))
    print(f"a night on which nothing had changed: {time.process_time() - began:.1f} s of processor time")
    report(replay)
    print(f"deliveries that waited for a person: {replay.held}")
    measure_one_council(replay, nights[-1])


def draw_replay(given: argparse.Namespace) -> "Replay":
    pipeline = make_pipeline(given.folder)
    if given.towns:
        towns = draw_towns(round(CHILDREN * given.scale), given.seed)
        return Replay(pipeline, [FIRST], towns.rows, towns.write)
    world = GrowingWorld.draw(FIRST, given.cohorts, scale=given.scale, seed=given.seed, contract_names=True)
    codes = [living.world.cohort.code for living in world.cohorts]
    return Replay(pipeline, codes, list_rows_of_growing_world(world), world.write)


@dataclass
class Replay:
    """An installation, what is sent to it, and what was measured.

    `sent` has every row that the generator ever sends (`truth.COLUMNS`); `write` writes the files sent by a day.
    """

    pipeline: Pipeline
    codes: Sequence[str]
    sent: pd.DataFrame
    write: Callable[[Path, dt.date, dt.date], list[Path]]
    nights: list[dt.date] = field(default_factory=list)
    told: list[pd.DataFrame] = field(default_factory=list)
    """The facts of each night."""
    in_time: dict[str, pd.DataFrame] = field(default_factory=dict)
    """By cohort, the rows that were in at the last night twelve months before Reception."""
    answered: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    """By cohort, the extracts whose returns could say that night that no other service knows a child."""
    held: int = 0
    """Deliveries that waited for a person."""

    def agree(self) -> None:
        """Let every service disclose every fact to every other one of the eight councils."""
        os.environ["READINESS_COUNCILS"] = str(self.pipeline.root / "councils")
        (self.pipeline.root / "councils").mkdir(exist_ok=True)
        for council in PILOT:
            others = [other for other in PILOT if other != council]
            away = "".join(
                format_terms(a, b, EVERY_FACT[a], to) for to in others for a in EVERY_FACT for b in EVERY_FACT
            )
            folder, keys = self.pipeline.agreements, self.pipeline.recipients
            write(folder, council, keys, format_all_terms() + away, accepts_from=others, new_children=NEW_ROWS)

    def run(self, day: dt.date) -> list[str]:
        """Take in, link and return what has landed; return the cohorts that are open and linked."""
        pipeline, linked = self.pipeline, []
        os.environ[SIMULATED_DATE] = f"{day}T06:00"
        cohorts = map(Cohort, self.codes)
        for code in [each.code for each in cohorts if each.born_from <= day <= each.reception_ends]:
            intake = Intake(pipeline.landing, pipeline.home, pipeline.keys)
            waiting = intake.list_needing_intake(code, PILOT)
            for source in SERVICES if waiting else ():
                landed = [found for each in waiting if (found := find(pipeline.landing, each, source, code))]
                for outcome in intake.ingest_all(landed) if landed else ():
                    if isinstance(outcome, Exception):
                        print(f"  stopped: {outcome}")
            store = pipeline.home.get_cohort(code)
            try:
                link_cohort(store, sorted(PILOT), pipeline.keys)
                made = make_returns(store, load_all(pipeline.agreements), pipeline.keys, day)
            except (NothingToLink, Refused):
                continue
            linked.append(code)
            for one in made:
                if "unusual" in one.sentence:
                    self.held += 1
                    release(store.get_extract(one.source, one.council), "a person has looked at it")
        return linked

    def measure(self, day: dt.date, cohorts: Sequence[str]) -> tuple[pd.DataFrame, int]:
        """Compare the returns of a night with the truth; return their facts, and the number of rows that are in."""
        told, rows = [], 0
        self.nights.append(day)
        for code in cohorts:
            extracts = self.read_extracts(code)
            facts, answered = self.read_facts(code, extracts)
            sent = self.sent[self.sent.cohort == code]
            told.append(judge(facts, sent, day).assign(cohort=code, day=day))
            rows += sum(extract.rows_read for extract in extracts.values())
            if day <= find_deadline(code):
                self.in_time[code], self.answered[code] = self.read_records(code, day, extracts), answered
        self.told.append(pd.concat(told) if told else pd.DataFrame(columns=[*KEY, "said", "right", "day"]))
        return self.told[-1], rows

    def read_extracts(self, code: str) -> dict[tuple[str, str], deliveries.ExtractQuality]:
        """Return the extracts that are in, by council and source."""
        store = self.pipeline.home.get_cohort(code)
        return {
            (council, source): quality
            for source in SERVICES
            for council in PILOT
            if (quality := deliveries.read_current(store.get_extract(source, council)))
        }

    def read_records(self, code: str, day: dt.date, extracts: Extracts) -> pd.DataFrame:
        """Return the rows that are in with `person_id` and what the pipeline makes of them, to explain silence."""
        pipeline, store = self.pipeline, self.pipeline.home.get_cohort(code)
        with duckdb.connect() as con:
            Maker(store, {}, pipeline.keys, day, extracts, read_state(store), con).load_records()
            rows = con.sql("SELECT source, council, row, child_id, findable FROM records").df()
        named = name_files(rows, code, extracts)
        return named.merge(self.sent[[*PLACE, "person_id"]], on=PLACE)

    def read_facts(self, code: str, extracts: Extracts) -> tuple[pd.DataFrame, set[tuple[str, str]]]:
        """Return the facts of a cohort's returns, and the extracts whose senders are told nothing of absence."""
        facts: list[tuple[str, str, int, str, str, str]] = []
        told: set[tuple[str, str]] = set()
        for council in PILOT:
            for source, service in SERVICES.items():
                file = self.pipeline.home.get_extract(source, code, council).return_file
                if not file.exists():
                    continue
                opened = unseal(file, self.pipeline.recipients.get_key(council, service), self.pipeline.signer)
                told |= set() if opened.header.absence_why_not else {(council, source)}
                for fact in map(json.loads, opened.facts):
                    place = source, council, fact["row"]
                    if "known_to_no_other" in fact:
                        facts.append((*place, Fact.NO_OTHER.value, ",".join(opened.header.absence_of), ""))
                    for review in fact.get("reviews_not_recorded", ()):
                        facts.append((*place, Fact.REVIEW.value, ",".join(opened.header.reviews[review]), review))
                    for known in fact.get("known_to", ()):
                        sender = f"{known['council']}/{known['service']}"
                        facts.append((*place, Fact.KNOWN_TO.value, sender, ""))
                        if "last_contact" in known:
                            facts.append((*place, Fact.LAST_CONTACT.value, sender, known["last_contact"]))
                        if "concern" in known:
                            facts.append((*place, Fact.CONCERN.value, sender, str(known["concern"]).lower()))
                        if "concern_month" in known:
                            facts.append((*place, Fact.CONCERN_MONTH.value, sender, known["concern_month"]))
        found = pd.DataFrame(facts, columns=["source", "council", "row", "kind", "sender", "said"])
        return name_files(found, code, extracts), told


def name_files(rows: pd.DataFrame, code: str, extracts: Extracts) -> pd.DataFrame:
    """Return rows with the `file` in which each is, and its `source_row` there."""
    part, source_row = split_number(rows.row.to_numpy(np.int64))
    names = {
        (*key, each.number): each.file.partition(".")[0]
        for key, quality in extracts.items()
        for each in (quality.parts.parts if quality.parts else ())
    }
    places = zip(rows.council, rows.source, part, strict=True)
    return rows.assign(file=[names.get(place, code) for place in places], source_row=source_row)


def find_deadline(code: str) -> dt.date:
    """Return the day twelve months before a cohort's Reception year begins."""
    return dt.date(Cohort(code).first_year - 1, 8, 31)


def report(replay: Replay) -> None:
    """Print the share of children reported in time, the reasons for the others, and the facts wrong or withdrawn."""
    told = pd.concat(replay.told)
    distinct = told.groupby([*KEY, "said"]).right.min().reset_index()
    for kind, facts in [*distinct.groupby("kind"), ("all", distinct)]:
        wrong = int((~facts.right.astype(bool)).sum())
        print(f"{kind}: {len(facts):,} facts told, {wrong:,} wrong ({wrong / max(len(facts), 1):.3%})")
    report_withdrawn(told)
    first = replay.sent.groupby(["person_id", "cohort", "source"]).agg(first_day=("day", "min"), gone=("gone", "count"))
    known = first[first.gone == 0].reset_index()
    known["first_day"] = pd.to_datetime(known.first_day).dt.date
    for source in EARLY:
        tables = [
            explain_late(replay, told, known, code, source)
            for code in replay.in_time
            # Until the cohort's Reception begins, another service may still come to know a child.
            if replay.nights[-1] >= dt.date(Cohort(code).first_year, 8, 31)
        ]
        if tables:
            report_in_time(source, pd.concat(tables))


def report_withdrawn(told: pd.DataFrame) -> None:
    """Print how many facts were disclosed and later withdrawn while the cohort was still open, by kind."""
    last = told.groupby(KEY).day.max().reset_index()
    gone = last[last.day < last.cohort.map(told.groupby("cohort").day.max())]
    child = ["cohort", "source", "person_id"]
    known = told[told.kind == Fact.KNOWN_TO].groupby(child).day.max().rename("known_on").reset_index()
    then = gone.merge(known, on=child).query("known_on > day")
    for kind, number in last.kind.value_counts().items():
        appeared = (then.kind == kind).sum() if kind == Fact.NO_OTHER else 0
        also = f", {appeared:,} of them about a child who appeared at another service" if appeared else ""
        print(f"{kind}: {number:,} told, {(gone.kind == kind).sum():,} later withdrawn{also}")


def explain_late(replay: Replay, told: pd.DataFrame, known: pd.DataFrame, code: str, source: str) -> pd.DataFrame:
    """Return the children of a cohort whom a service alone knew before Reception, and why each was not told in time."""
    deadline, records = find_deadline(code), replay.in_time[code]
    (other,) = set(EARLY) - {source}
    before = known[(known.cohort == code) & (known.first_day <= dt.date(Cohort(code).first_year, 8, 31))]
    first = before[before.source == source].groupby("person_id").first_day.min()
    alone = first[~first.index.isin(before.person_id[before.source == other])].rename("first_day").reset_index()
    absences = told[(told.kind == Fact.NO_OTHER) & (told.source == source) & (told.cohort == code)]
    rows = records[records.source == source]
    places = pd.Series(list(zip(rows.council, rows.source, strict=True)), rows.index)
    last_night = max(day for day in replay.nights if day <= deadline)
    person = alone.person_id
    reasons = {
        "told in time": person.isin(absences.person_id[absences.day <= deadline]),
        "the record began later": alone.first_day > deadline,
        "in for under 28 days": alone.first_day > last_night - dt.timedelta(NEW_DAYS),
        "the row was set aside": ~person.isin(rows.person_id),
        "an extract was not in, or under 2% would be told of": ~person.isin(
            rows.person_id[places.isin(replay.answered[code])]
        ),
        "common surname, or a name, date or postcode is missing": ~person.isin(rows.person_id[rows.findable]),
        # With a record of another child at the other service.
        MISSED[0]: person.isin(rows.person_id[rows.child_id.isin(records.child_id[records.source == other])]),
    }
    alone["reason"] = MISSED[1]
    for reason, applies in reversed(reasons.items()):
        alone.loc[applies, "reason"] = reason
    return alone


def report_in_time(source: str, alone: pd.DataFrame) -> None:
    counts = alone.reason.value_counts()
    in_time = counts.get("told in time", 0)
    findable = in_time + sum(counts.get(reason, 0) for reason in MISSED)
    print(f"known to {source} alone before Reception: {len(alone):,}")
    for reason, number in counts.items():
        print(f"  {number:6,}  {number / len(alone):6.1%}  {reason}")
    print(f"  told twelve months before Reception, of those who can be found: {in_time / max(findable, 1):.1%}")


def measure_one_council(replay: Replay, before: dt.date) -> None:
    """Measure the time from the delivery of one council to its sealed returns, after a night with all the others."""
    day = before + dt.timedelta(31)
    late = [path for path in replay.write(replay.pipeline.landing, day, before) if path.parts[-3] == "leeds"]
    content = [path.read_bytes() for path in late]
    for path in late:
        path.unlink()
    replay.run(day)
    for path, sent in zip(late, content, strict=True):
        path.write_bytes(sent)
    began, processor = time.perf_counter(), time.process_time()
    replay.run(day)
    print(
        f"from one council's delivery to its sealed returns: {time.perf_counter() - began:.1f} s,"
        f" {time.process_time() - processor:.1f} s of processor time"
    )


if __name__ == "__main__":
    main()
