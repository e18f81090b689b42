"""Tags of runs: who started one, why, and what it spends. The list of runs in Dagster can be searched by them."""

from __future__ import annotations

import getpass

BY, WHY = "readiness/by", "readiness/why"
RELEASE, SHARE = "readiness/release", "readiness/share"
SPENDS_BUDGET = "spends_budget"


def started_by_command(command: str) -> dict[str, str]:
    """Tags of a run that a person started with a command: the account of the operating system, and the command."""
    return {BY: getpass.getuser(), WHY: command}


def of_release(version: str, share: float | None) -> dict[str, str]:
    """Tags that say which release is made, and which share of the policy's split it may spend."""
    return {RELEASE: version, SHARE: "as begun, else 1" if share is None else f"{share:g}"}
