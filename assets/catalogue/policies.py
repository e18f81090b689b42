"""When the catalogue calls an asset stale, and what Dagster starts by itself inside the restricted zone.

Dagster judges a partitioned asset by its newest materialisation, whichever the partition. The policy of a source is
therefore that of its landing, which is materialised only when every council that takes part has sent it; that of the
linkage says whether any cohort was linked. Which council and cohort is late is said by the check `arrivals`. Nothing of
the release has a policy of either kind.
"""

from __future__ import annotations

import datetime as dt

import dagster as dg

from sources.contracts import SourceContract

WINDOW = dt.timedelta(days=180)
"""How long before the due date an extract that is taken counts for it."""
LINKED_WITHIN, LINKED_WARN = dt.timedelta(days=160), dt.timedelta(days=155)
"""The linkage runs after each term; from April to September are 153 days."""
LINK_AT = "0 4 * * *"
"""The nightly intake is over by then."""
_TIMEZONE = "Europe/London"


def due_freshness(contract: SourceContract) -> dg.FreshnessPolicy:
    """Stale from the end of the source's due date, every year, until every council that takes part has sent it."""
    return dg.FreshnessPolicy.cron(
        deadline_cron=f"59 23 {contract.due.day} {contract.due.month} *",
        lower_bound_delta=WINDOW,
        timezone=_TIMEZONE,
    )


def linked_freshness() -> dg.FreshnessPolicy:
    """Stale where no cohort was linked for longer than the termly schedule leaves between two runs."""
    return dg.FreshnessPolicy.time_window(fail_window=LINKED_WITHIN, warn_window=LINKED_WARN)


def linked_at_night() -> dg.AutomationCondition:
    """Once a night, for a cohort whose extracts changed since it was last linked, and no intake of it is at work.

    Extracts of a cohort come in one by one, over weeks: linking after each would link forty times.
    """
    changed = dg.AutomationCondition.any_deps_updated().since_last_handled()
    tonight = dg.AutomationCondition.cron_tick_passed(LINK_AT, _TIMEZONE)
    at_work = dg.AutomationCondition.any_deps_in_progress() | dg.AutomationCondition.in_progress()
    return (changed & tonight & ~at_work).with_label("extracts changed since the last linkage, at 04:00")
