"""When the catalogue calls an asset stale.

Dagster judges a partitioned asset by its newest materialisation, whichever the partition. A policy here therefore says
whether a source, or the linkage, has moved at all when it should have; which council and cohort is late is said by the
check `arrivals`.
"""

from __future__ import annotations

import datetime as dt

import dagster as dg

from sources.contracts import SourceContract

WINDOW = dt.timedelta(days=180)
"""How long before the due date an extract that is taken counts for it."""
LINKED_WITHIN, LINKED_WARN = dt.timedelta(days=160), dt.timedelta(days=155)
"""The linkage runs after each term; from April to September are 153 days."""
_TIMEZONE = "Europe/London"


def due_freshness(contract: SourceContract) -> dg.FreshnessPolicy:
    """Stale from the end of the source's due date, every year, until an extract is taken or found unchanged."""
    return dg.FreshnessPolicy.cron(
        deadline_cron=f"59 23 {contract.due.day} {contract.due.month} *",
        lower_bound_delta=WINDOW,
        timezone=_TIMEZONE,
    )


def linked_freshness() -> dg.FreshnessPolicy:
    """Stale where no cohort was linked for longer than the termly schedule leaves between two runs."""
    return dg.FreshnessPolicy.time_window(fail_window=LINKED_WITHIN, warn_window=LINKED_WARN)
