"""`readiness budget`: the ledger as a statement of account."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pipelines.reports.document import Grid, Report, Section, format_minute
from privacy.release.approval import SignOffs
from privacy.release.ledger import NANO, Ledger, collect_charges
from privacy.release.ledger_storage import CHILD, Entry, EntryKind
from privacy.release.mechanism import compute_epsilon
from privacy.release.policy import load_policy

Account = dict[str, Any]

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


def report(found: Sequence[Account]) -> Report:
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
