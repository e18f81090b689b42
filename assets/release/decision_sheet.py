"""The page that people read before they sign a release off: one sheet of A4, in the restricted zone.

It shows what the release can say, what it costs and how much budget is left, what is wrong or missing in the extracts,
and what is outside the guarantee. Everything on it is public or in bands, except the holds and the operator's expected
numbers, which show the sender's own numbers. It depends only on what is signed, accepted and taken in, so that its
SHA-256, which is signed too, can be checked.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from assets.home.paths import CohortStore, Home
from assets.intake import deliveries
from assets.linkage.inputs import PROFILE, read_record
from assets.release.holds import read_state
from assets.release.linkage_error import select_by_services
from assets.release.planning import LeastAndMost, compute_expected_accuracy
from assets.release.published_charges import explain_unconfirmed_ledger
from assets.release.record import CohortRecord, ReleaseRecord
from assets.release.release import CohortRelease, Release
from assets.release.requests.register import read_known
from ndl_export.facts.missing import SOURCES, format_missing
from ndl_export.facts.on_request import RequestedTable
from ndl_export.pages import kit
from ndl_export.pages.number_format import format_percent_range
from ndl_export.tables import TABLES
from ndl_export.tables.geography import ALL_TOGETHER
from ndl_export.tables.pupil import CONCERN_GIVEN_SEEN
from ndl_export.tables.schema import ColumnRole, Flag, get_column_name
from privacy.doors import files
from privacy.estimation.covariance import Covariances
from privacy.estimation.intervals import UNRELIABLE, WITHHELD, compute_count_half_widths
from privacy.linkage.cells import REVIEW
from privacy.linkage.missed import TOO_MANY
from privacy.release.canonical import compute_sha256, hash_json
from privacy.release.ledger import NANO
from privacy.release.mechanism import compute_epsilon
from privacy.release.policy import Stage
from privacy.release.signed_lines import TEXT_PAGES, Approval, Request, render_text_page
from privacy.release.statement import read_sentences
from sources.contracts import CONTRACTS
from sources.reference.cohorts import Cohort
from sources.reference.places import get_place
from sources.reference.published_figures import find_published_rows

_TEMPLATES = Path(__file__).parent / "templates"
_BANDS = ((0.0, "none"), (0.01, "under 1%"), (0.05, "1% to 5%"), (1.0, "5% and more"))
"""Upper bounds of shares of rows, each with the words for its band."""


@dataclass(frozen=True)
class Usable:
    """Numbers of rates in a table: all that it defines and, as (least, most), those published and those usable."""

    title: str
    rates: int
    published: LeastAndMost
    usable: LeastAndMost
    half_width: float | None
    """Median half-width, in points, of the published rates in the middle of the plausible range."""
    detail: str = ""
    """The detail at which the plan defines the rates, in words."""


def write_sheet(home: Home, request: Request) -> str:
    """Write the page for a request; return its SHA-256."""
    page = render_sheet(home, request).encode()
    files.write(get_sheet_path(home, request), page)
    return compute_sha256(page)


def get_sheet_path(home: Home, request: Request) -> Path:
    sheet = home.get_decision_sheet_path(request["release"] or "change-of", request["stage"])
    return sheet.with_suffix(".txt") if request["stage"] in TEXT_PAGES else sheet


def render_sheet(home: Home, request: Request) -> str:
    """Return the page, as HTML or a few lines of text. Raises `NotLinked` and `Refused`."""
    if request["stage"] in TEXT_PAGES:
        return render_text_page(request)
    release = Release(home, request["release"])
    record = release.read_begun_record()
    measured = record.measured
    is_publication = request["stage"] == Stage.PUBLICATION
    to_measure = [] if is_publication else [release.get_cohort(cohort) for cohort in measured]
    taken = [(home.get_cohort(cohort), record[cohort]) for cohort in measured]
    set_aside = [line for store, entry in taken for line in _iter_set_aside(store, entry)]
    return kit.render(
        _TEMPLATES,
        "decision.html.j2",
        request=request,
        request_sha256=hash_json(request),
        is_publication=is_publication,
        unconfirmed="" if is_publication else explain_unconfirmed_ledger(home, release.version),
        measured=measured,
        titles=[Cohort(cohort).label for cohort in record],
        used_again={cohort: fixed.measured_in for cohort, fixed in record.items() if cohort not in measured},
        requested=record.answers,
        usable=list(_iter_published(release.find_bundle()) if is_publication else _iter_expected(release, record)),
        percent_of=format_percent_range,
        costs=[cost for cohort in record for cost in _iter_costs(release.get_cohort(cohort), record)],
        policy=home.load_policy(),
        missing=format_missing(
            {
                cohort: Release(home, entry.measured_in).read_record().get(cohort, entry).missing
                for cohort, entry in record.items()
            }
        ),
        missed_links=[line for part in to_measure for line in _iter_missed(part.store)],
        intervals=[line for part in to_measure for line in _iter_intervals(part)],
        too_many=TOO_MANY,
        set_aside=[line for line in set_aside if line["bands"]],
        untouched=[line["source"] for line in set_aside if not line["bands"]],
        bands=[words for _, words in _BANDS[1:]],
        findings=_collect_findings(taken),
        held=None if is_publication else read_state(home, measured),
        expected=[line for part in to_measure for line in _iter_expected_rows(part.store)],
        taking_part=[tuple(get_place(council).la_name for council in record[cohort].councils) for cohort in measured],
        outside=read_sentences()["outside_the_guarantee"],
        charges=read_sentences()["charges"],
    )


def _iter_expected(release: Release, record: ReleaseRecord) -> Iterator[Usable]:
    """Yield the expected figures by table, from public figures alone, then those of every requested table."""
    # the first cohort alone, because the others have the same plan
    for cohort in record.measured[:1]:
        store = release.home.get_cohort(cohort)
        # the operator's expected numbers of Profiles, for councils where they differ from the published ones
        expected = _iter_expectations(store)
        children = {council: number for source, council, number, _ in expected if source == PROFILE}
        policy = release.get_cohort(cohort).load_policy()
        found = compute_expected_accuracy(record[cohort].councils, policy, children)
        areas = {name: list(of_table) for name, of_table in groupby(found["tables"], key=itemgetter("table"))}
        for line in found["by_table"]:
            own = areas[line["table"]]
            widths = [row["median_rate_half_width"] for row in own if row["median_rate_half_width"] is not None]
            half_width = median(widths) if widths else None
            published, usable = tuple(line["published"]), tuple(line["usable"])
            title = TABLES[line["table"]].title
            yield Usable(title, line["rates"], published, usable, half_width, _describe_areas(own))
    for cohort, entry in record.items():
        for table in ReleaseRecord(record.version, {cohort: entry}).answers:
            yield _estimate_requested(release.get_cohort(cohort), entry, table)


def _estimate_requested(part: CohortRelease, entry: CohortRecord, requested: RequestedTable) -> Usable:
    """Return the expected figures of a requested table, given everything that will have been measured by then."""
    found = read_known(part, entry).estimate(requested)
    assert found is not None  # the plan was made for the table, or the table followed from known counts
    unreliable, withheld = (int((found.flags == flag).sum()) for flag in (UNRELIABLE, WITHHELD))
    published, usable = found.flags.size - withheld, found.flags.size - withheld - unreliable
    about, half_width = f"cohort {part.cohort}, for {requested.asked_by}", float(np.median(found.half_widths))
    return Usable(requested.table.title, found.flags.size, (published, published), (usable, usable), half_width, about)


def _iter_published(bundle: Path) -> Iterator[Usable]:
    """Yield the figures by table, from the flags in the bundle, which are computed from noisy figures alone."""
    for name, table in TABLES.items():
        # counts are never withheld, so their flags say nothing about how much of a table can be used
        columns = [get_column_name(measure, ColumnRole.FLAG) for measure in table.measures if not measure.is_count]
        flags = pq.ParquetFile(bundle / f"{name}.parquet").read(columns).to_pydict().values()
        no_figure = (Flag.NOT_APPLICABLE, Flag.NOT_AVAILABLE)
        if shown := [flag for flag in chain.from_iterable(flags) if flag not in no_figure]:
            published, usable = len(shown) - shown.count(Flag.WITHHELD), shown.count(None)
            yield Usable(table.title, len(shown), (published, published), (usable, usable), None)


def _describe_areas(areas: Sequence[dict[str, Any]]) -> str:
    """Return the number of rates of a table in words: for all councils together, for areas of several, for councils."""
    together = sum(row["rates"] for row in areas if row["level"] == ALL_TOGETHER)
    councils = [row["rates"] for row in areas if row["council"] is not None]
    larger = [row["rates"] for row in areas if row["council"] is None and row["level"] != ALL_TOGETHER]
    counted = ((larger, "area of several", "areas of several"), (councils, "council", "councils"))
    found = [f"{sum(own):,} in {len(own)} {one if len(own) == 1 else more}" for own, one, more in counted if own]
    return ", ".join([f"{together:,} of all together", *found])


def _iter_costs(part: CohortRelease, record: ReleaseRecord) -> Iterator[dict[str, Any]]:
    """Yield the rho and epsilon of each account of a cohort: cap, earlier charges, this release, and the remainder."""
    policy, ledger, cohort = part.load_policy(), part.home.open_ledger(), part.cohort
    whole = cohort in record.measured
    further = [part.read_request_plan(family) for family in record[cohort].on_request.get(part.version, ())]
    for unit, account in policy.accounts.items():
        split = account.split if whole else {}
        split = {**split, **{plan.family.name: plan.rho for plan in further if plan.family.unit == unit}}
        if not split:
            continue
        of_split = f"{100 * record[cohort].share:g}% of the policy's split"
        if REVIEW in split:
            of_split += ", and a clerical review of links"
        cap = ledger.get_cap(cohort, unit) or account.cap_rho
        before = ledger.sum_other_charges(cohort, part.version, unit) / NANO
        own = sum(split.values())
        amounts = {"cap": cap, "before": before, "own": own, "left": max(cap - before - own, 0.0)}
        yield {
            "cohort": Cohort(cohort).label,
            "unit": unit,
            "what": of_split if whole else "tables on request",
            **{what: (rho, compute_epsilon(rho, policy.delta) if rho > 0 else 0.0) for what, rho in amounts.items()},
            "families": {family: (rho, compute_epsilon(rho, policy.delta)) for family, rho in split.items()},
        }


def _iter_expected_rows(store: CohortStore) -> Iterator[dict[str, Any]]:
    """Yield, by source, the councils for which the operator expects a number of rows other than the published one."""
    by_source: dict[str, list[str]] = {}
    for source, council, expected, number in _iter_expectations(store):
        published = "none published" if number is None else f"published {number:,}"
        by_source.setdefault(source, []).append(f"{get_place(council).la_name} {expected:,} ({published})")
    for source, councils in by_source.items():
        yield {"source": SOURCES[source].title, "councils": councils}


def _iter_taken(store: CohortStore, entry: CohortRecord) -> Iterator[tuple[str, str, deliveries.ExtractQuality]]:
    """Yield the title of the source, the name of the council and the result of each extract that a cohort is made of.

    They are those of the record, so that the page stays the same when something else arrives.
    """
    for source, about in SOURCES.items():
        for council in entry.councils:
            mac = entry.measured_from.get(f"{council}/{source}", "")
            if quality := deliveries.read_delivered(store.get_extract(source, council), mac):
                yield about.title, get_place(council).la_name, quality


def _iter_missed(store: CohortStore) -> Iterator[dict[str, Any]]:
    """Yield, by what children are linked to, the band of the share of links that are missed, by the linkage report."""
    if not store.linkage_report.exists():
        return
    report = json.loads(store.linkage_report.read_text(encoding="utf-8"))
    for name, line in report["missed_links"].items():
        bands = [_name_band(line[what]) for what in ("share", "lower", "upper")]
        most = [(each["topic"], each["ends"][1]) for each in line["groups"]]
        groups = [f"{topic} up to {_name_band(end['share'])} ({end['group']})" for topic, end in most]
        yield {"linked_to": name, "bands": bands, "share": line["share"], "groups": groups}


def _iter_intervals(part: CohortRelease) -> Iterator[tuple[str, int]]:
    """Yield the services that saw a child, and a limit in children of half the width of the interval of their number.

    It is for all councils together, from the noise of the plan and the missed links, rounded up so that it is a band.
    """
    if not part.store.linkage_report.exists():
        return
    report = json.loads(part.store.linkage_report.read_text(encoding="utf-8"))
    plan = part.find_plan("pupil")
    of_noise = compute_count_half_widths(Covariances(plan), select_by_services(plan.family))[0]
    by_seen = dict(zip(CONCERN_GIVEN_SEEN, of_noise, strict=True))
    for name, of_links in report["headline"].items():
        yield name, _round_up(float(np.hypot(of_links, by_seen[name])))


def _round_up(width: float) -> int:
    """Return the next number that is 1, 2 or 5 times a power of 10."""
    tens = 10 ** int(np.floor(np.log10(max(width, 1.0))))
    return next(int(each * tens) for each in (1, 2, 5, 10) if width <= each * tens)


def _name_band(share: float) -> str:
    return next(words for most, words in _BANDS if share <= most)


def _iter_set_aside(store: CohortStore, entry: CohortRecord) -> Iterator[dict[str, Any]]:
    """Yield, by source, the councils with rows set aside at intake, grouped by the band of their share."""
    read = (each for each in _iter_taken(store, entry) if each[2].rows_read)
    for title, extracts in groupby(read, key=itemgetter(0)):
        bands: dict[str, list[str]] = {}
        for _, council, quality in extracts:
            if share := quality.rows_rejected / quality.rows_read:
                bands.setdefault(next(words for most, words in _BANDS if share <= most), []).append(council)
        yield {"source": title, "bands": bands}


def _collect_findings(taken: Sequence[tuple[CohortStore, CohortRecord]]) -> list[tuple[str, list[str]]]:
    """Return the findings of extract checks as sentences with the councils they apply to, commonest first."""
    found: dict[str, list[str]] = {}
    for title, council, quality in (each for store, entry in taken for each in _iter_taken(store, entry)):
        of_rows = {rule.rule for rule in quality.rules}
        for finding in quality.findings:
            if not finding.passed and finding.rule not in of_rows:
                found.setdefault(f"{title}: {finding.sentence}", []).append(council)
    return sorted(found.items(), key=lambda line: (-len(line[1]), line[0]))


def _iter_expectations(store: CohortStore) -> Iterator[tuple[str, str, int, int | None]]:
    """Yield (source, council, expected, published or None) where the operator expects another number."""
    for source in CONTRACTS:
        for council in read_record(store).taking_part:
            quality = deliveries.read(store.get_extract(source, council).quality)
            published = find_published_rows(source, council)
            if quality and quality.rows_expected is not None and quality.rows_expected != published:
                yield source, council, quality.rows_expected, published


def hash_expectations(store: CohortStore) -> str | None:
    """Return the SHA-256 of the operator's expected numbers, for a request; None if all are the published numbers."""
    found = [
        {"name": f"{council}/{source}", "expected": expected, "published": published}
        for source, council, expected, published in _iter_expectations(store)
    ]
    return hash_json(found) if found else None


@dataclass(frozen=True)
class ToSign:
    """Files for a person to read and sign: the sheet, its SHA-256, and the file whose bytes are signed."""

    sheet: Path
    sheet_sha256: str
    file: Path


def write_decision_sheet(store: CohortStore, request: Request) -> ToSign:
    """Write the sheet about a request, and the file to sign."""
    sheet, sheet_sha256 = get_sheet_path(store.home, request), write_sheet(store.home, request)
    file = sheet.with_suffix(".request")
    files.write(file, Approval("", "", request, store.cohort, sheet_sha256).message)
    return ToSign(sheet, sheet_sha256, file)
