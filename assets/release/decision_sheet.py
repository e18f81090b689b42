"""The page that people read before they sign a release off: one sheet of A4, in the restricted zone.

It shows what the release can say, what it costs and how much budget is left, what is wrong or missing in the extracts,
and what is outside the guarantee. Everything on it is public or in bands, except the holds and the operator's expected
numbers, which show the sender's own numbers. It depends only on what is signed, accepted and taken in, so that its
SHA-256, which is signed too, can be checked.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from assets.home.paths import CohortStore, Home
from assets.release.expected_figures import iter_expected, iter_published
from assets.release.holds import read_state
from assets.release.linkage_error import select_by_services
from assets.release.published_charges import explain_unconfirmed_ledger
from assets.release.record import ReleaseRecord
from assets.release.release import CohortRelease, Release
from assets.release.taken_extracts import (
    BANDS,
    collect_findings,
    iter_expected_rows,
    iter_set_aside,
    name_band,
)
from ndl_export.facts.missing import format_missing
from ndl_export.pages import kit
from ndl_export.pages.number_format import format_percent_range
from ndl_export.tables.pupil import CONCERN_GIVEN_SEEN
from privacy.doors import files
from privacy.estimation.covariance import Covariances
from privacy.estimation.intervals import compute_count_half_widths
from privacy.linkage.cells import REVIEW
from privacy.linkage.missed import TOO_MANY
from privacy.release.canonical import compute_sha256, hash_json
from privacy.release.ledger import NANO
from privacy.release.mechanism import compute_epsilon
from privacy.release.policy import Stage
from privacy.release.signed_lines import TEXT_PAGES, Approval, Request, render_text_page
from privacy.release.statement import read_sentences
from sources.reference.cohorts import Cohort
from sources.reference.places import get_place

_TEMPLATES = Path(__file__).parent / "templates"


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
    set_aside = [line for store, entry in taken for line in iter_set_aside(store, entry)]
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
        usable=list(iter_published(release.find_bundle()) if is_publication else iter_expected(release, record)),
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
        bands=[words for _, words in BANDS[1:]],
        findings=collect_findings(taken),
        held=None if is_publication else read_state(home, measured),
        expected=[line for part in to_measure for line in iter_expected_rows(part.store)],
        taking_part=[tuple(get_place(council).la_name for council in record[cohort].councils) for cohort in measured],
        outside=read_sentences()["outside_the_guarantee"],
        charges=read_sentences()["charges"],
    )


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


def _iter_missed(store: CohortStore) -> Iterator[dict[str, Any]]:
    """Yield, by what children are linked to, the band of the share of links that are missed, by the linkage report."""
    if not store.linkage_report.exists():
        return
    report = json.loads(store.linkage_report.read_text(encoding="utf-8"))
    for name, line in report["missed_links"].items():
        bands = [name_band(line[what]) for what in ("share", "lower", "upper")]
        most = [(each["topic"], each["ends"][1]) for each in line["groups"]]
        groups = [f"{topic} up to {name_band(end['share'])} ({end['group']})" for topic, end in most]
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
