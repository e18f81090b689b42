"""`readiness budget`: the ledger as a statement of account."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from privacy.release import Ledger, epsilon, load_policy

NANO = 1e9
_STATES = {"COMMIT": "measured", "WRITE_OFF": "written off"}


def statement(path: Path) -> list[dict[str, Any]]:
    """By cohort: cap, charges with their state, and what is left; JSON-ready. Raises `LedgerCorrupt`."""
    ledger = Ledger(path)
    ledger.verify_chain()
    entries = ledger.entries()
    delta = load_policy().delta
    found = []
    for approval in (entry for entry in entries if entry.kind == "APPROVE"):
        cohort = approval.cohort
        ends = {
            (entry.release, entry.family): entry
            for entry in entries
            if entry.cohort == cohort and entry.kind in _STATES
        }
        charges = []
        for entry in entries:
            if entry.cohort == cohort and entry.kind == "RESERVE":
                end = ends.get((entry.release, entry.family))
                charges.append(
                    {
                        "release": entry.release,
                        "family": entry.family,
                        "rho": entry.nano_rho / NANO,
                        "epsilon": epsilon(entry.nano_rho / NANO, delta),
                        "state": _STATES[end.kind] if end else "open",
                        "note": end.note if end else "charged; no measurement is recorded yet",
                        "recorded_at": entry.recorded_at,
                        "entry": entry.entry_hash,
                    }
                )
        found.append(
            {
                "cohort": cohort,
                "cap_rho": ledger.cap(cohort),
                "delta": delta,
                "charges": charges,
                "remaining_rho": ledger.remaining(cohort),
            }
        )
    return found


def render(found: list[dict[str, Any]]) -> str:
    """One block a cohort."""
    lines: list[str] = []
    for account in found:
        lines += [
            f"Cohort {account['cohort']}: cap rho {account['cap_rho']:.3f}",
            f"  {'release':<12}{'family':<10}{'rho':>12}{'epsilon':>9}  {'state':<12} recorded",
        ]
        lines += [
            f"  {c['release']:<12}{c['family']:<10}{c['rho']:>12.9f}{c['epsilon']:>9.2f}  {c['state']:<12}"
            f" {c['recorded_at']}{'  ' + c['note'] if c['note'] else ''}"
            for c in account["charges"]
        ]
        lines += [f"  left: rho {account['remaining_rho']:.9f}", ""]
    return "\n".join(lines).rstrip()
