"""Reports on the privacy budget: `readiness plan`, before anything is spent, and `budget`, the ledger as an account."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from statistics import median
from typing import Any

from assets.release.planning import format_percent
from assets.release.record import WHOLE
from ndl_export.tables import TABLES
from pipelines.reports.document import Grid, Report, Section, format_minute
from privacy.release.approval import SignOffs
from privacy.release.ledger import NANO, Ledger, collect_charges
from privacy.release.ledger_storage import CHILD, Entry, EntryKind
from privacy.release.mechanism import compute_epsilon
from privacy.release.policy import load_policy

Account = dict[str, Any]
Row = dict[str, Any]

ROWS_PER_WARNING = 3
"""Rows of a table that the warnings of a plan list, unless all are asked for."""

_OPEN = "charged; no measurement is recorded yet: a run is in progress, or one stopped and the next gives it back"
_LEGEND = "Open: a run is drawing noise now, or stopped doing so: the next run then gives the charge back."


def build_statement(location: Path | str) -> list[Account]:
    """Return the accounts by cohort and unit: cap, releases with their charges, and what is left; JSON-ready.

    `charges` are in the order of the ledger. `releases` add them up, with the total spent up to each. `given_back` is
    how often a charge was given back. `approvals` are signatures, and whether each counted. Raises `LedgerError`.
    """
    ledger = Ledger(location)
    ledger.verify_chain()
    entries, delta, signed = ledger.list_entries(), load_policy().delta, SignOffs(ledger)
    approved = [(entry.cohort, entry.unit) for entry in entries if entry.kind == EntryKind.APPROVE]
    # a cohort has no cap before its first charge, but people may have signed for it
    waiting = {each.approval.cohort for each in signed.approvals} - {"", *(cohort for cohort, _ in approved)}
    return [
        _build_account(cohort, unit, entries, delta) | {"approvals": list(_iter_approvals(cohort, signed))}
        for cohort, unit in [*approved, *((cohort, CHILD) for cohort in sorted(waiting))]
    ]


def report_budget(found: Sequence[Account]) -> Report:
    """Report what each account may spend, has spent and has left, its charges by release, and signatures."""
    return Report(
        kind="ledger",
        title="Privacy budget spent and left",
        outcome=[_describe_outcome(account) for account in found] or ["No cohort has a budget yet."],
        sections=[*map(_build_section, found), *(explain_budget_units(account["delta"]) for account in found[:1])],
        facts=list(found),
        good=all(not account["cap_rho"] or account["remaining_rho"] for account in found),
    )


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


def _describe_outcome(account: Account) -> str:
    if not account["cap_rho"]:
        return f"Cohort {account['cohort']}: no budget is approved yet."
    spent, left = account["spent"], account["remaining_rho"]
    rest = f"rho {left:.4f} is left, epsilon {account['remaining_epsilon']:.2f} if spent at once"
    return (
        f"Cohort {account['cohort']}, one {account['unit']}: of rho {account['cap_rho']:.4f}, {spent['rho']:.4f} is"
        f" spent (epsilon {spent['epsilon']:.2f}); {rest if left else 'nothing is left, and no more can be released'}."
    )


def _build_section(account: Account) -> Section:
    sentences = [_LEGEND] if any(charge["state"] == "open" for charge in account["charges"]) else []
    if account["given_back"]:
        sentences.append(
            f"Given back: {account['given_back']} times a run stopped between charge and commit; what it had drawn, if"
            " anything, was removed unseen, and cost nothing."
        )
    grids = [_build_charge_grid(account)] if account["charges"] else []
    if account["approvals"] and account["unit"] == CHILD:
        lines = [
            (
                *(each["release"], each["stage"]),
                "a demonstration key" if each["is_demonstration"] else str(each["role"]),
                *(format_minute(each["signed_at"]), "yes" if each["counted"] else "no"),
            )
            for each in account["approvals"]
        ]
        header = ("release", "of the", "by", "signed (UTC)", "counts")
        grids.append(Grid("Signatures under releases", header, lines))
    return Section(f"Cohort {account['cohort']}, one {account['unit']}", sentences, grids)


def _build_charge_grid(account: Account) -> Grid:
    """Return a line for each charge, and for each release its total and the running total."""
    lines = []
    for release in account["releases"]:
        own = [charge for charge in account["charges"] if charge["release"] == release["release"]]
        lines += [
            (each["release"], each["family"], each["state"], format_minute(each["recorded_at"]), *_format_amount(each))
            for each in own
        ]
        lines.append((release["release"], "together", "", "", *_format_amount(release)))
        if release["to_date_rho"] > release["rho"]:
            so_far = {"rho": release["to_date_rho"], "epsilon": release["to_date_epsilon"]}
            lines.append((release["release"], "so far, in all", "", "", *_format_amount(so_far)))
    header = ("release", "charged for", "state", "recorded (UTC)", "rho", "epsilon")
    return Grid(f"Charges to one {account['unit']} of {account['cohort']}", header, lines, numbers=2)


def _format_amount(amount: dict[str, float]) -> tuple[str, str]:
    return f"{amount['rho']:.4f}", f"{amount['epsilon']:.2f}"


def report_plan(found: Row, *, council: str | None = None, everything: bool = False) -> Report:
    """Report what a release would charge, whether that fits and is worth it, and how accurate its tables will be.

    Accuracy is given over all councils, for one `council`, or with `everything` for each area and with all warnings.
    """
    minima = [entry for entry in found["minimum_accuracy"] if not entry["met"]]
    most = None if everything else ROWS_PER_WARNING
    worth = "Every family of tables is as accurate as the policy asks for."
    if minima:
        families = ", ".join(entry["family"] for entry in minima)
        refused = found["budget"]["share"] == WHOLE
        worth = f"Less accurate than the policy asks for: {families}; "
        worth += "it would not be measured." if refused else "a share is measured all the same."
    if council is not None:
        accuracy = [_build_area_section([row for row in found["tables"] if row["council"] == council])]
    elif everything:
        accuracy = [_build_area_section(found["tables"]), _build_warning_section(found["warnings"], most)]
    else:
        accuracy = [_build_brief_section(found), _build_warning_section(found["warnings"], most)]
    return Report(
        kind="plan",
        title=f"Plan of a release of cohort {found['cohort']}",
        outcome=[*_describe_verdict(found["budget"]), worth],
        sections=[
            _build_charge_section(found),
            _build_minima_section(found),
            *(each for each in accuracy if each.grids),
            explain_budget_units(found["delta"]),
        ],
        facts=found,
        # a cohort that already has a release needs no room for another
        good=(found["budget"]["fits"] or bool(found["budget"]["releases"])) and not minima,
    )


def _describe_verdict(room: Row) -> Iterator[str]:
    """Yield whether the release fits; if the cohort was already measured, first that a repeat is free."""
    released = room["releases"]
    if released:
        yield (
            f"Already measured and paid for: release {', '.join(released)}. The same release again charges nothing:"
            " the same plan is never charged twice."
        )
        yield f"Left of the cohort's budget: {_format_amounts(room['left_rho'])}."
    if released and not room["share_was_asked"]:
        yield (
            f"Another release could spend a share of at most {room['largest_share']:g} of the policy's split;"
            f" --share {room['largest_share']:g} shows what it could say."
            if room["largest_share"]
            else "Nothing that could be used is left for another release."
        )
        return
    what, left, share, largest = "It", "", room["share"], room["largest_share"]
    if released:
        what = f"Another release, with a share of {share:g},"
    else:
        left = f"; the cohort has {_format_amounts(room['left_rho'])}"
        what += "" if share == WHOLE else f", with a share of {share:g} of the policy's split,"
    fit = "it does not fit; " + (f"the largest share that would is {largest:g}" if largest else "no share would")
    yield f"{what} would charge {_format_amounts(room['asked_rho'])}{left}: {'it fits' if room['fits'] else fit}."


def _format_amounts(by_unit: Mapping[str, float]) -> str:
    return " and ".join(f"rho {rho:.4f} for a {unit}" for unit, rho in by_unit.items())


def _build_charge_section(found: Row) -> Section:
    rows = [
        (family["family"], family["plan_sha256"][:16], f"{family['rho']:.4f}", f"{family['epsilon']:.2f}")
        for family in found["families"]
    ]
    limit = f"The policy allows a cohort at most {_format_amounts(found['cap_rho'])}."
    return Section(
        "What is charged, by family", [limit], [Grid("", ("family", "plan", "rho", "epsilon"), rows, numbers=2)]
    )


def _build_minima_section(found: Row) -> Section:
    wanted = load_policy().minimum_accuracy
    rows = [
        (
            entry["family"],
            "met" if entry["met"] else "NOT MET",
            f"at best {entry['share_accurate']:.1%} of {entry['rates']:,} rates within"
            f" {wanted[entry['family']].half_width_points:g} points;"
            f" at least {wanted[entry['family']].share_of_rates:.0%} are asked for",
        )
        for entry in found["minimum_accuracy"]
    ]
    return Section("Whether it is worth that", grids=[Grid("", ("family", "minimum", "expected accuracy"), rows)])


def _build_brief_section(found: Row) -> Section:
    """Return a line per table: lowest, median and highest half-width over councils, and how much is published."""
    rows, by_table = found["tables"], {row["table"]: row for row in found["by_table"]}
    councils = {row["council"] for row in rows} - {None}
    lines = []
    for table, own in groupby(rows, key=itemgetter("table")):
        areas = list(own)
        found_widths = (row["median_rate_half_width"] for row in areas if row["council"] is not None)
        widths = [width for width in found_widths if width is not None]
        spread = [f"{of(widths):.1f}" if widths else "-" for of in (min, median, max)]
        lines.append((TABLES[table].title, *spread, *_format_outlook(by_table[table])))
    return Section(
        "What it can say",
        [
            f"Expected half-width of 95% intervals of rates, in points, in {len(councils)} councils, from public sizes"
            " (for a council, the median over the rates that are published); how many rates a table defines, and over"
            " all plausible shares how many of these are published, and how many can be used. For one council:"
            " --council; for every area: --all."
        ],
        [Grid("", ("table", "least", "median", "most", "rates", "published", "usable"), lines, numbers=6)],
    )


def _format_outlook(row: Row) -> tuple[str, ...]:
    """Return the number of rates, and the shares that are published and usable."""
    return (f"{row['rates']:,}", *(format_percent(row[what], row["rates"]) for what in ("published", "usable")))


def _build_area_section(rows: Sequence[Row]) -> Section:
    header = ("area", "count ±", "rate ± points", "rates", "published", "usable")
    return Section(
        "What it can say, by area",
        [
            "Expected half-width of 95% intervals, from public sizes (median over the counts of a table, and over the"
            " rates that are published); and over all plausible shares how many rates are published, and can be used."
        ],
        [
            Grid(TABLES[table].title, header, [_format_area(row) for row in areas], numbers=5)
            for table, areas in groupby(rows, key=itemgetter("table"))
        ],
    )


def _format_area(row: Row) -> tuple[str, ...]:
    count, rate = row["median_count_half_width"], row["median_rate_half_width"]
    return (
        row["area"],
        "-" if count is None else f"{count:.1f}",
        "-" if rate is None else f"{rate:.2f}",
        *_format_outlook(row),
    )


def _build_warning_section(warnings: Sequence[Row], most: int | None) -> Section:
    """Return the rows that will be unusable, the largest groups of each table first."""
    grids = []
    for table, rows in groupby(warnings, key=itemgetter("table")):
        largest = sorted(rows, key=lambda row: -row["denominator"])
        shown = [
            (
                row["rows"],
                *(f"{row[what]:,.0f}" for what in ("denominator", "flagged_unreliable", "withheld", "councils")),
            )
            for row in largest[:most]
        ]
        more = f" (and {len(largest) - len(shown)} smaller ones: --all)" if len(largest) > len(shown) else ""
        header = ("row", "children", "u in", "withheld in", "of councils")
        grids.append(Grid(f"Rows of: {TABLES[table].title}{more}", header, shown, numbers=4))
    return Section(
        "Rows to be warned of",
        [
            "A release is about these rows, and in at least half of the councils that have them they will be unreliable"
            " (u) or withheld. Children are those of the median council, by public sizes."
        ],
        grids,
    )


def explain_budget_units(delta: float) -> Section:
    """Explain rho and epsilon, and whose budgets they are, for a person who signs."""
    return Section(
        "How to read it",
        [
            "Rho is the unit of the budget: the more of it is spent, the less noise the figures have, and the less"
            f" anybody in them is protected. Epsilon is the same in the more common unit, at delta {delta:g}. A"
            " child (all records of it) and a response (one parent's answers) have separate budgets."
        ],
    )
