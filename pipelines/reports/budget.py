"""Reports on the privacy budget: `readiness plan`, before anything is spent, and `budget`, the ledger as an account."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from assets.home.paths import Home
from assets.release import record
from ndl_export.pages.number_format import format_percent_range
from ndl_export.tables import TABLES
from pipelines.reports.document import Report, write_text
from privacy.release.approval import SignOffs, describe_ignored
from privacy.release.ledger import NANO, collect_charges
from privacy.release.ledger_storage import CHILD, Entry, EntryKind
from privacy.release.mechanism import compute_epsilon
from privacy.release.policy import MinimumAccuracy

Account = dict[str, Any]
Row = dict[str, Any]

ROWS_PER_WARNING = 3
"""Rows of a table that the warnings of a plan list, unless all are asked for."""

_OPEN = "charged; no measurement is recorded yet: a run is in progress, or one stopped and the next gives it back"


def build_statement(home: Home) -> list[Account]:
    """Return the accounts by cohort and unit: cap, releases with their charges, and what is left; JSON-ready.

    `charges` are in the order of the ledger. `releases` add them up, with the total spent up to each. `given_back` is
    how often a charge was given back. `approvals` are signatures, and whether each counted. Raises `LedgerError`.
    """
    ledger = home.open_ledger()
    ledger.verify_chain()
    entries, delta, signed = ledger.list_entries(), home.load_policy().delta, home.read_sign_offs()
    approved = [(entry.cohort, entry.unit) for entry in entries if entry.kind == EntryKind.APPROVE]
    # a cohort has no cap before its first charge, but people may have signed for it
    waiting = {each.approval.cohort for each in signed.approvals} - {"", *(cohort for cohort, _ in approved)}
    return [
        _build_account(cohort, unit, entries, delta) | {"approvals": list(_iter_approvals(cohort, signed))}
        for cohort, unit in [*approved, *((cohort, CHILD) for cohort in sorted(waiting))]
    ]


def report_budget(home: Home) -> Report:
    """Report what each account may spend, has spent and has left, its charges by release, and signatures."""
    found, ignored = build_statement(home), home.read_sign_offs().ignored
    good = all(not account["cap_rho"] or account["remaining_rho"] for account in found)
    text = write_text("budget.md.j2", accounts=found, ignored=describe_ignored(ignored) if ignored else "")
    return Report("ledger", text, list(found), good)


def _build_account(cohort: str, unit: str, entries: Iterable[Entry], delta: float) -> Account:
    own = [entry for entry in entries if (entry.cohort, entry.unit) == (cohort, unit)]
    cap = next((entry.nano_rho for entry in own if entry.kind == EntryKind.APPROVE), 0)
    charges = list(collect_charges(own).values())
    reserved = [charge.entry for charge in charges]
    spent = sum(entry.nano_rho for entry in reserved)
    return {
        "cohort": cohort,
        "unit": unit,
        "cap_rho": cap / NANO,
        "delta": delta,
        "charges": [
            {
                "release": charge.entry.release,
                "family": charge.entry.family,
                **_build_amount(charge.entry.nano_rho, delta),
                "state": "measured" if charge.end else "open",
                "note": charge.end.note if charge.end else _OPEN,
                "recorded_at": charge.entry.recorded_at,
                "entry": charge.entry.entry_hash,
            }
            for charge in charges
        ],
        "releases": _list_releases(reserved, delta),
        "spent": _build_amount(spent, delta),
        "given_back": sum(entry.kind == EntryKind.VOID for entry in own),
        "remaining_rho": (cap - spent) / NANO,
        "remaining_epsilon": _build_amount(cap - spent, delta)["epsilon"],
    }


def _iter_approvals(cohort: str, signed: SignOffs) -> Iterator[dict[str, Any]]:
    """Yield the signatures on releases of the cohort, oldest first, without names."""
    for each in signed.approvals:
        stage, release = each.request["stage"], each.request["release"]
        if each.approval.cohort == cohort:
            yield {
                "release": release,
                "stage": stage,
                "role": each.person.role,
                "is_demonstration": each.is_demonstration,
                "signed_at": each.line.recorded_at,
                "counted": each.line.entry_hash
                in {other.line.entry_hash for other in signed.list_allowed(stage, release)},
                "line": each.line.entry_hash,
            }


def _list_releases(reserved: Sequence[Entry], delta: float) -> list[dict[str, Any]]:
    """Return each release in the order of its first charge, with its charge and the running total."""
    found = []
    for release in dict.fromkeys(entry.release for entry in reserved):
        own = [entry for entry in reserved if entry.release == release]
        to_date = _build_amount(sum(entry.nano_rho for entry in reserved if entry.seq <= own[-1].seq), delta)
        amount = _build_amount(sum(entry.nano_rho for entry in own), delta)
        found.append({"release": release, **amount, **{f"to_date_{name}": value for name, value in to_date.items()}})
    return found


def _build_amount(nano_rho: int, delta: float) -> dict[str, float]:
    return {"rho": nano_rho / NANO, "epsilon": compute_epsilon(nano_rho / NANO, delta) if nano_rho else 0.0}


def report_plan(
    found: Row, minimum: Mapping[str, MinimumAccuracy], *, council: str | None = None, everything: bool = False
) -> Report:
    """Report what a release would charge, whether that fits and is worth it, and how accurate its tables will be.

    Accuracy is given over all councils, for one `council`, or with `everything` for each area and with all warnings.
    """
    in_brief = council is None and not everything
    text = write_text(
        "plan.md.j2",
        **found | {"warnings": [] if council else found["warnings"]},
        whole=record.WHOLE,
        minimum=minimum,
        titles={name: table.title for name, table in TABLES.items()},
        share=format_percent_range,
        spreads=_summarise_by_table(found) if in_brief else [],
        in_councils=len({row["council"] for row in found["tables"]} - {None}),
        areas=[] if in_brief else [row for row in found["tables"] if council is None or row["council"] == council],
        most=None if everything else ROWS_PER_WARNING,
    )
    room, is_worth_it = found["budget"], all(entry["met"] for entry in found["minimum_accuracy"])
    # a cohort that already has a release needs no room for another
    return Report("plan", text, found, good=(room["fits"] or bool(room["releases"])) and is_worth_it)


def _summarise_by_table(found: Row) -> list[Row]:
    """Return each table with its outlook, and the lowest, median and highest half-width of its rates in a council."""
    outlook, widths = {row["table"]: row for row in found["by_table"]}, dict[str, list[float]]()
    for row in found["tables"]:
        own = widths.setdefault(row["table"], [])
        if row["council"] is not None and row["median_rate_half_width"] is not None:
            own.append(row["median_rate_half_width"])
    return [
        {**outlook[table], "spread": [of(own) if own else None for of in (min, median, max)]}
        for table, own in widths.items()
    ]
