"""`readiness budget`: the ledger as a statement of account."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from privacy.release.approval import SignOffs
from privacy.release.ledger import NANO, Ledger, charges_of
from privacy.release.ledger_storage import CHILD, Entry, EntryKind
from privacy.release.mechanism import epsilon
from privacy.release.policy import Stage, load_policy

Account = dict[str, Any]

_STATES = {EntryKind.COMMIT: "measured", EntryKind.WRITE_OFF: "written off"}
_OPEN = "charged; no measurement is recorded yet: a run is at work, or one stopped, and the next gives the charge back"
_LEGEND = {
    "written off": "spent in a crash by an earlier version of this software, with nothing kept: a new release version "
    "measures anew, from what is left.",
    "open": "a run is drawing noise now, or stopped doing so: the next run then gives the charge back.",
}


def statement(location: Path | str) -> list[Account]:
    """By cohort and unit: cap, releases with their charges, and what is left; JSON-ready.

    `charges` are in the order of the ledger, `releases` add them up, with what had been spent up to each; `given_back`
    is how often a charge was; `approvals` are what people signed, and whether it counted. Raises `LedgerError`.
    """
    ledger = Ledger(location)
    ledger.verify_chain()
    entries, delta, signed = ledger.entries(), load_policy().delta, SignOffs(ledger)
    approved = [(entry.cohort, entry.account) for entry in entries if entry.kind == EntryKind.APPROVE]
    waiting = {each.approval.cohort for each in signed.approvals} - {cohort for cohort, _ in approved}
    return [
        _account(cohort, unit, entries, delta) | {"approvals": list(_approvals(cohort, signed))}
        for cohort, unit in [*approved, *((cohort, CHILD) for cohort in sorted(waiting))]
    ]


def render(found: Sequence[Account]) -> str:
    """A block for each account: its charges, sums by release, what is left, and what the states mean."""
    return "\n\n".join("\n".join(_block(account)) for account in found)


def _account(cohort: str, unit: str, entries: Iterable[Entry], delta: float) -> Account:
    own = [entry for entry in entries if (entry.cohort, entry.account) == (cohort, unit)]
    cap = next((entry.nano_rho for entry in own if entry.kind == EntryKind.APPROVE), 0)
    charges = list(charges_of(own).values())
    reserved = [charge.entry for charge in charges]
    spent = sum(entry.nano_rho for entry in reserved)
    return {
        "cohort": cohort,
        "unit": unit,
        "cap_rho": cap / NANO,
        "delta": delta,
        "charges": [_charge(charge.entry, charge.end, delta) for charge in charges],
        "releases": _releases(reserved, delta),
        "spent": _amount(spent, delta),
        "written_off_rho": sum(charge.entry.nano_rho for charge in charges if charge.is_written_off) / NANO,
        "given_back": sum(entry.kind == EntryKind.VOID for entry in own),
        "remaining_rho": (cap - spent) / NANO,
        "remaining_epsilon": _epsilon(cap - spent, delta),
    }


def _approvals(cohort: str, signed: SignOffs) -> Iterator[dict[str, Any]]:
    """Signatures on releases of the cohort, oldest first. Names are not among them."""
    for each in signed.approvals:
        stage, release = Stage(each.request["stage"]), each.request["release"]
        if each.approval.cohort == cohort:
            yield {
                "release": release,
                "stage": stage.value,
                "role": each.approval.role,
                "is_demonstration": each.approval.is_demonstration,
                "signed_at": each.approval.signed_at,
                "counted": each.entry_hash in {other.entry_hash for other in signed.allowed(stage, release)},
                "line": each.entry_hash,
            }


def _charge(reserved: Entry, end: Entry | None, delta: float) -> dict[str, Any]:
    return {
        "release": reserved.release,
        "family": reserved.family,
        **_amount(reserved.nano_rho, delta),
        "state": _STATES[EntryKind(end.kind)] if end else "open",
        "note": end.note if end else _OPEN,
        "recorded_at": reserved.recorded_at,
        "entry": reserved.entry_hash,
    }


def _releases(reserved: Sequence[Entry], delta: float) -> list[dict[str, Any]]:
    """Each release, in the order of its first charge: its charge, and the running total after it."""
    found = []
    for release in dict.fromkeys(entry.release for entry in reserved):
        own = [entry for entry in reserved if entry.release == release]
        to_date = sum(entry.nano_rho for entry in reserved if entry.seq <= own[-1].seq)
        found.append(
            {
                "release": release,
                **_amount(sum(entry.nano_rho for entry in own), delta),
                "to_date_rho": to_date / NANO,
                "to_date_epsilon": _epsilon(to_date, delta),
            }
        )
    return found


def _amount(nano_rho: int, delta: float) -> dict[str, float]:
    return {"rho": nano_rho / NANO, "epsilon": _epsilon(nano_rho, delta)}


def _epsilon(nano_rho: int, delta: float) -> float:
    return epsilon(nano_rho / NANO, delta) if nano_rho else 0.0


def _block(account: Account) -> list[str]:
    charges, states = account["charges"], {charge["state"] for charge in account["charges"]}
    if not account["cap_rho"]:
        return [f"Cohort {account['cohort']}: no budget approved yet", *_signatures(account["approvals"])]
    lines = [
        f"Cohort {account['cohort']}, one {account['unit']}: cap rho {account['cap_rho']:.9f}; epsilon at delta"
        f" {account['delta']:g}",
        f"  {'release':<12}{'family':<10}{'rho':>12}{'epsilon':>9}  {'state':<12} recorded",
    ]
    for release in account["releases"]:
        lines += [_row(charge) for charge in charges if charge["release"] == release["release"]]
        lines.append(
            f"  {'':<12}{'together':<10}{release['rho']:>12.9f}{release['epsilon']:>9.2f}"
            f"  of the cohort so far: rho {release['to_date_rho']:.9f}, epsilon {release['to_date_epsilon']:.2f}"
        )
    left = f"rho {account['remaining_rho']:.9f}, epsilon {account['remaining_epsilon']:.2f} if spent at once"
    lines.append(f"  left: {left if account['remaining_rho'] else 'nothing; no more can be released of it'}")
    if account["given_back"]:
        lines.append(
            f"  given back: {account['given_back']} times a run stopped between charge and commit; what it had drawn,"
            " if anything, was removed unseen, and cost nothing"
        )
    lines += [f"  {state}: {meaning}" for state, meaning in _LEGEND.items() if state in states]
    return [*lines, *(_signatures(account["approvals"]) if account["unit"] == CHILD else [])]


def _signatures(approvals: Sequence[dict[str, Any]]) -> list[str]:
    lines = [
        f"  {each['release']:<12}{each['stage']:<13} {_by_whom(each):<34} {each['signed_at']}"
        f"{'' if each['counted'] else '  (has not counted)'}"
        for each in approvals
    ]
    return ["  approvals:", *lines] if lines else []


def _by_whom(approval: dict[str, Any]) -> str:
    return "approved with a demonstration key" if approval["is_demonstration"] else f"signed by {approval['role']}"


def _row(charge: dict[str, Any]) -> str:
    note = f"  {charge['note']}" if charge["state"] == "written off" else ""
    return (
        f"  {charge['release']:<12}{charge['family']:<10}{charge['rho']:>12.9f}{charge['epsilon']:>9.2f}"
        f"  {charge['state']:<12} {charge['recorded_at']}{note}"
    )
