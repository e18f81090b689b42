"""When a return is made, when nothing is, what stays as it is, and what the log says."""

import datetime as dt
import json
import re
import stat
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import Result

from assets.home.errors import Refused
from assets.returns.make import Maker
from assets.returns.row_history import forget_rows
from pipelines.commands.console import Ending
from pipelines.reports.doctor import CheckStatus, examine
from privacy.chained_log import LogBroken, append, read_entries
from privacy.services import SERVICE_NAMES, SERVICES
from tests.support.independent import write_extracts
from tests.support.installation.commands import invoke
from tests.support.returns.agreements import format_all_terms, format_terms, write
from tests.support.returns.pipeline import COHORT, REVIEW_DAYS, TODAY, Pipeline, make_pipeline

pytestmark = pytest.mark.slow

COUNCILS = ("leeds", "wirral")
DAY = dt.timedelta(days=1)
KNOWN_TO = {service: ["known_to"] for service in SERVICE_NAMES}


@pytest.fixture(scope="module")
def linked(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    pipeline = make_pipeline(tmp_path_factory.mktemp("linked"))
    write_extracts(pipeline.landing, children=80, councils=COUNCILS)
    pipeline.ingest_and_link(COUNCILS)
    return pipeline


@pytest.fixture(scope="module")
def linked_logs(linked: Pipeline) -> dict[Path, bytes]:
    """The processing log and its head, before any return."""
    log = linked.home.processing_log
    return {path: path.read_bytes() for path in (log, log.with_suffix(".head.json"))}


@pytest.fixture
def pipeline(linked: Pipeline, linked_logs: dict[Path, bytes], tmp_path: Path) -> Pipeline:
    """The linked cohort with no agreement and no return yet, nor a line about one."""
    for path in (linked.home.returns, linked.agreements):
        if path.exists():
            path.rename(tmp_path / path.name)
    for path, content in linked_logs.items():
        path.write_bytes(content)
    linked.agreements.mkdir()
    return linked


def sentences(pipeline: Pipeline, on: dt.date = TODAY) -> dict[str, str]:
    return {f"{made.council}/{made.source}": made.sentence for made in pipeline.make(on)}


def agree(pipeline: Pipeline, council: str = "leeds", tells: str | None = None, **terms: Any) -> None:
    write(pipeline.agreements, council, pipeline.recipients, tells, **terms)


def command(pipeline: Pipeline, *arguments: str) -> Result:
    return invoke("returns", *arguments, "--home", pipeline.home.root, catch_exceptions=False)


def make_by_command(pipeline: Pipeline) -> Result:
    folders = ["--agreements", str(pipeline.agreements), "--keys", str(pipeline.root / "keys")]
    return command(pipeline, "make", "--cohort", COHORT, *folders)


def files(pipeline: Pipeline) -> list[Path]:
    return sorted(path for path in pipeline.home.returns.rglob("*") if path.is_file())


def test_only_the_council_with_an_agreement_gets_returns_of_its_own_services(pipeline: Pipeline) -> None:
    assert set(sentences(pipeline).values()) == {"nothing is made: no sharing agreement is on file"}
    assert files(pipeline) == []
    agree(pipeline)
    pipeline.make()
    made = {str(path.relative_to(pipeline.home.returns)) for path in files(pipeline)}
    of_leeds = {f"leeds/{source}/{COHORT}.age" for source in SERVICES}
    summaries = {f"leeds/summary-{COHORT}.{kind}" for kind in ("json", "html")}
    told = {f"leeds/told-{service}-{COHORT}.age" for service in SERVICE_NAMES}
    log = {"disclosures.jsonl", "disclosures.head.json"}
    assert made == {*of_leeds, *told, *summaries, *log, f"standing-{COHORT}.parquet", f"made-{COHORT}.json"}
    assert {contact["council"] for f in pipeline.read_facts("leeds", "eyfsp") for contact in f.get("known_to", ())} == {
        "leeds"
    }
    for path in files(pipeline):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


@pytest.mark.parametrize(
    ("agreement", "said"),
    [
        ({"status": "revoked"}, "the agreement ISA-leeds-1 is revoked"),
        ({"expires": str(TODAY - DAY)}, f"the agreement ISA-leeds-1 expired on {TODAY - DAY}"),
        ({"starts": str(TODAY + DAY)}, f"the agreement ISA-leeds-1 starts on {TODAY + DAY}"),
        ({"services": ["settings", "health"]}, "the agreement ISA-leeds-1 names no recipient for education"),
        (
            {"tells": format_terms("education", "health", ["known_to"])},
            "no agreement lets any service tell education anything",
        ),
    ],
)
def test_where_the_agreement_does_not_stand_nothing_is_made_and_what_was_made_goes(
    pipeline: Pipeline, agreement: dict[str, str], said: str
) -> None:
    agree(pipeline, **agreement)
    assert sentences(pipeline)["leeds/eyfsp"] == f"nothing is made: {said}"
    assert not pipeline.get_file("leeds", "eyfsp").exists()
    agree(pipeline)
    pipeline.make()
    assert pipeline.get_file("leeds", "eyfsp").exists()
    agree(pipeline, **agreement)
    assert sentences(pipeline)["leeds/eyfsp"] == f"the return made before is withdrawn, nothing is made: {said}"
    assert not pipeline.get_file("leeds", "eyfsp").exists()
    last = [e for e in read_entries(pipeline.home.disclosures) if e["source"] == "eyfsp"][-1]
    assert (last["what"], last["reason"], last["rows"]) == ("withdrawn", said, 0)


def test_the_same_return_again_is_no_new_file_and_no_new_line(pipeline: Pipeline) -> None:
    agree(pipeline)
    pipeline.make()
    before = {path: path.read_bytes() for path in files(pipeline)}
    again = sentences(pipeline, TODAY + DAY)
    assert again["leeds/eyfsp"] == "unchanged since it was last made"
    assert {path: path.read_bytes() for path in files(pipeline)} == before
    agree(pipeline, tells=format_all_terms(KNOWN_TO))
    assert sentences(pipeline)["leeds/eyfsp"].startswith("made for")
    for source in SERVICES:
        contacts = [contact for fact in pipeline.read_facts("leeds", source) for contact in fact["known_to"]]
        assert {tuple(contact) for contact in contacts} == {("council", "service")}
    lines = read_entries(pipeline.home.disclosures)
    assert [line["serial"] for line in lines if line["source"] == "eyfsp"] == [1, 2]
    assert len(lines) == 2 * len((*SERVICES, *SERVICE_NAMES))
    pipeline.get_file("leeds", "eyfsp").write_bytes(b"lost or changed")
    assert sentences(pipeline)["leeds/eyfsp"].startswith("made for")
    assert pipeline.read_facts("leeds", "eyfsp")


def test_a_night_on_which_nothing_changed_reads_no_row(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    agree(pipeline, new_children="new_children: {first_delivery: at_once}\n")
    pipeline.make()
    read, load = [], Maker.load_records

    def note(maker: Maker) -> None:
        read.append(maker.on)
        load(maker)

    def is_read(on: dt.date = TODAY + DAY) -> bool:
        before = len(read)
        pipeline.make(on)
        return len(read) > before

    monkeypatch.setattr(Maker, "load_records", note)

    assert not is_read()
    assert sentences(pipeline, TODAY + DAY)["leeds/eyfsp"] == "unchanged since it was last made"
    assert is_read(TODAY - DAY), "the clock was put back"
    assert not is_read()
    agree(pipeline, new_children="new_children: {first_delivery: at_once, after_days: 7}\n")
    assert is_read()
    pipeline.get_file("leeds", "eyfsp").write_bytes(b"lost or changed")
    assert is_read()
    store = pipeline.home.get_cohort(COHORT)
    store.get_return_summary_path("leeds").unlink()
    assert is_read()
    store.returns_record.write_text("{}")
    assert is_read()
    assert not is_read()


def test_a_row_that_is_no_longer_new_renews_the_returns(pipeline: Pipeline) -> None:
    agree(pipeline, new_children="")
    pipeline.make()
    assert sentences(pipeline, TODAY + 27 * DAY)["leeds/eyfsp"] == "unchanged since it was last made"
    assert not pipeline.read_facts("leeds", "eyfsp")
    assert sentences(pipeline, TODAY + 28 * DAY)["leeds/eyfsp"].startswith("made for")
    assert pipeline.read_facts("leeds", "eyfsp")


def test_a_clock_that_went_back_gives_no_agreement_its_life_again(pipeline: Pipeline) -> None:
    agree(pipeline, expires=str(TODAY - 5 * DAY))
    assert sentences(pipeline)["leeds/eyfsp"].startswith("nothing is made")
    agree(pipeline, "wirral")
    pipeline.make()
    before = files(pipeline)
    with pytest.raises(Refused, match="put the clock right"):
        pipeline.make(TODAY - 5 * DAY)
    assert files(pipeline) == before


def test_what_an_agreement_lacks_is_said_before_anything_is_made(pipeline: Pipeline) -> None:
    agree(pipeline, expires="31.8.2027")
    done = make_by_command(pipeline)
    assert done.exit_code == 1
    assert "1 thing to change before any return is made or withdrawn\nleeds.yaml:8:10: expires: must be" in done.output
    assert files(pipeline) == []


def test_two_runs_at_once_make_each_return_once(pipeline: Pipeline) -> None:
    agree(pipeline)
    with ThreadPoolExecutor(2) as both:
        runs = list(both.map(lambda _: pipeline.make(), range(2)))
    assert sorted(sum(made.written for made in run) for run in runs) == [0, len((*SERVICES, *SERVICE_NAMES))]
    assert len(read_entries(pipeline.home.disclosures)) == len((*SERVICES, *SERVICE_NAMES))


def test_what_is_said_outside_has_no_number_of_rows_or_children(pipeline: Pipeline) -> None:
    agree(pipeline)
    agree(pipeline, "wirral", expires="2026-01-01")
    done = make_by_command(pipeline)
    assert done.exit_code == 0, done.output
    for line in done.output.splitlines():
        said = line.replace("ISA-leeds-1", "").replace("ISA-wirral-1", "").replace("2026-01-01", "")
        assert not re.search(r"\d", said), line


def test_the_log_says_who_what_and_how_many(pipeline: Pipeline) -> None:
    agree(pipeline)
    pipeline.make()
    found = json.loads(command(pipeline, "log", "--json").output)
    line = next(entry for entry in found if entry["source"] == "eyfsp")
    assert (line["council"], line["recipient_name"]) == ("leeds", "education team of leeds")
    assert line["rows"] == len(pipeline.read_facts("leeds", "eyfsp"))
    assert line["tells"]["leeds/settings"] == [
        "concern_month",
        "concern_recorded",
        "known_to",
        "known_to_no_other",
        "last_contact_month",
    ]
    assert line["agreements"] == pipeline.read_opened("leeds", "eyfsp").header.agreements
    assert f"leeds/eyfsp  for education team of leeds, {line['rows']} rows" in command(pipeline, "log").output


def remove(pipeline: Pipeline, older: dict[Path, bytes]) -> None:
    for path in older:
        path.unlink()


def put_back_an_older_copy(pipeline: Pipeline, older: dict[Path, bytes]) -> None:
    for path, content in older.items():
        path.write_bytes(content)


def write_another(pipeline: Pipeline, older: dict[Path, bytes]) -> None:
    """A log of as many lines, each in its chain."""
    lines = read_entries(pipeline.home.disclosures)
    remove(pipeline, older)
    chain = ("seq", "previous_hash", "entry_hash")
    for line in lines:
        append(pipeline.home.disclosures, {k: v for k, v in line.items() if k not in chain} | {"rows": 0})


def change_a_line(pipeline: Pipeline, older: dict[Path, bytes]) -> None:
    log = pipeline.home.disclosures
    log.write_text(log.read_text().replace('"rows": ', '"rows": 1', 1))


@pytest.mark.parametrize(
    ("replace", "said"),
    [
        *((each, "which the processing log knows") for each in (remove, put_back_an_older_copy, write_another)),
        (change_a_line, "line 1 was changed"),
    ],
)
def test_a_log_that_was_changed_or_replaced_is_noticed(
    pipeline: Pipeline, replace: Callable[[Pipeline, dict[Path, bytes]], None], said: str
) -> None:
    agree(pipeline)
    pipeline.make()
    log = pipeline.home.disclosures
    older = {path: path.read_bytes() for path in (log, log.with_suffix(".head.json"))}
    agree(pipeline, status="revoked")
    pipeline.make()
    replace(pipeline, older)
    with pytest.raises(LogBroken, match=said):
        pipeline.make()
    shown = command(pipeline, "log")
    assert (shown.exit_code, said in shown.output) == (Ending.FAULT, True)
    found = {each.what: each for each in examine(pipeline.home.root)}["disclosure log"]
    assert (found.state, said in found.sentence) == (CheckStatus.MISSING, True)


def test_logs_that_were_all_deleted_are_noticed(pipeline: Pipeline, linked_logs: dict[Path, bytes]) -> None:
    """Also once the processing log has begun again with every extract, because the returns are still there."""
    agree(pipeline)
    pipeline.make()
    log = pipeline.home.disclosures
    for path in (log, log.with_suffix(".head.json"), *linked_logs):
        path.unlink()
    with pytest.raises(LogBroken, match=r"processing_log.jsonl: it does not know .*Restore the newest copies"):
        pipeline.make()
    found = {each.what: each for each in examine(pipeline.home.root)}["disclosure log"]
    assert (found.state, "begun again" in found.sentence) == (CheckStatus.MISSING, True)
    for path, content in linked_logs.items():
        path.write_bytes(content)
    with pytest.raises(LogBroken, match=r"disclosures.jsonl: it does not know leeds/\w+/202425, which is here"):
        pipeline.make()


def test_of_a_row_that_was_removed_nothing_is_kept(pipeline: Pipeline) -> None:
    store = pipeline.home.get_cohort(COHORT)
    agree(pipeline)
    pipeline.make()
    path, links = store.row_history, store.links
    before, linked = pq.read_table(path), pq.read_table(links)

    def rows(table: pa.Table) -> list[tuple[str, str, int]]:
        return list(zip(*(table[name].to_pylist() for name in ("source", "council", "row_key")), strict=True))

    gone = next(row for row in rows(linked) if row[:2] == ("eyfsp", "leeds"))
    try:
        pq.write_table(linked.filter(pa.array([row != gone for row in rows(linked)])), links)
        forget_rows(store)
        assert set(rows(before)) - set(rows(pq.read_table(path))) == {gone}
    finally:
        pq.write_table(linked, links)


def test_links_of_other_files_are_refused(tmp_path: Path) -> None:
    """Row numbers would be those of another file."""
    pipeline = make_pipeline(tmp_path)
    write_extracts(pipeline.landing, children=40, councils=("leeds",))
    pipeline.ingest(["leeds"])
    agree(pipeline)
    with pytest.raises(Refused, match="run the job linkage first"):
        pipeline.make()
    pipeline.link(["leeds"])
    path = pipeline.extract("leeds", "hv_reviews")
    header, first, *rest = path.read_text().splitlines()
    path.write_text("\n".join([header, *rest, first]) + "\n")
    pipeline.ingest(["leeds"])
    with pytest.raises(Refused, match="leeds/hv_reviews changed since the cohort was linked"):
        pipeline.make()
    pipeline.link(["leeds"])
    pipeline.make()
    assert pipeline.read_facts("leeds", "eyfsp")


def test_a_review_is_not_said_to_be_missing_once_it_came_or_if_a_month_is_not_in(tmp_path: Path) -> None:
    pipeline = make_pipeline(tmp_path)
    write_extracts(pipeline.landing, children=160, councils=("leeds",))
    of_one_month = pipeline.read_rows("leeds", "hv_reviews")
    reviews = [row | {"review_date": REVIEW_DAYS[number % len(REVIEW_DAYS)]} for number, row in enumerate(of_one_month)]
    agree(pipeline)

    def missing(rows: list[dict[str, str]]) -> set[int]:
        pipeline.put("leeds", "hv_reviews", rows)
        pipeline.ingest_and_link(["leeds"])
        pipeline.make()
        return {fact["row"] for fact in pipeline.read_facts("leeds", "eyfsp") if "reviews_not_recorded" in fact}

    before = missing(reviews)
    assert before
    row = min(before)
    child = pipeline.read_rows("leeds", "eyfsp")[row - 1]
    own = {name: child[name] for name in ("surname", "forename", "date_of_birth", "postcode", "sex")}
    came = reviews[0] | own | {"nhs_number": "", "local_patient_id": "came later"}
    assert missing([*reviews, came]) == before - {row}
    assert missing(reviews[: len(reviews) // 2]) == set()
    assert missing(of_one_month) == set()
    # Nothing is said of any child if nobody was reviewed in May: it may be the file that lacks May.
    assert missing([row for row in reviews if not row["review_date"].startswith("2022-05")]) == set()


def test_no_other_is_not_said_where_a_service_has_not_sent_everything(tmp_path: Path) -> None:
    pipeline = make_pipeline(tmp_path)
    write_extracts(pipeline.landing, children=40, councils=("leeds",))
    pipeline.extract("leeds", "early_years_census").unlink()
    pipeline.ingest_and_link(["leeds"])
    agree(pipeline)
    pipeline.make()
    assert (
        pipeline.read_opened("leeds", "eyfsp").header.absence_why_not
        == "not every extract of leeds/settings that was due is in"
    )
    assert not any("known_to_no_other" in fact for fact in pipeline.read_facts("leeds", "eyfsp"))
    summary = json.loads(pipeline.home.get_cohort(COHORT).get_return_summary_path("leeds").read_text())
    alone = {row["service"]: row["alone"] for row in summary["services"]}
    assert alone == {"education": None, "health": None}


def test_a_child_who_stays_at_a_nursery_was_last_seen_in_the_newest_census(tmp_path: Path) -> None:
    """The row that repeats last year's is left out; its month is not."""
    pipeline, gone = make_pipeline(tmp_path), 20
    write_extracts(pipeline.landing, children=80, councils=["leeds"])
    whole = pipeline.extract("leeds", "early_years_census")
    header, *rows = whole.read_text().splitlines()
    whole.unlink()
    whole.with_suffix("").mkdir()
    for month, sent in (("2023-01", rows), ("2024-01", rows[gone:])):
        (whole.with_suffix("") / f"{month}.csv").write_text("\n".join([header, *sent]) + "\n")
    pipeline.make_first(["leeds"])
    months = Counter(
        contact["last_contact"]
        for fact in pipeline.read_facts("leeds", "eyfsp")
        for contact in fact.get("known_to", ())
        if contact["service"] == "settings"
    )
    assert months.keys() == {"2023-01", "2024-01"}
    assert months["2023-01"] <= gone < months["2024-01"]
