"""Freshness policies, and the automation condition for steps that Dagster starts inside the restricted zone.

Dagster judges a partitioned asset by its newest materialisation in any partition. A source's policy is therefore on its
landing asset, which is materialised only when every participating council has delivered. The linkage's policy shows
whether any cohort was linked. The check `arrivals` reports which council and cohort is late. Release assets have
neither a freshness policy nor an automation condition.
"""

from __future__ import annotations

import datetime as dt

import dagster as dg

from sources.contracts import SourceContract

WINDOW = dt.timedelta(days=180)
"""Period before the due date in which an accepted extract counts as this year's."""
LINKED_WITHIN, LINKED_WARN = dt.timedelta(days=160), dt.timedelta(days=155)
"""The linkage runs after each term. The longest gap, from April to September, is 153 days."""
LINK_AT = "0 4 * * *"
"""04:00 every day, after the nightly intake has ended."""
_TIMEZONE = "Europe/London"


def due_freshness(contract: SourceContract) -> dg.FreshnessPolicy:
    """Return a policy that is stale from the source's yearly due date until every participating council has sent it."""
    return dg.FreshnessPolicy.cron(
        deadline_cron=f"59 23 {contract.due.day} {contract.due.month} *",
        lower_bound_delta=WINDOW,
        timezone=_TIMEZONE,
    )


def linked_freshness() -> dg.FreshnessPolicy:
    """Return a policy that is stale if no cohort was linked for longer than the gap between two termly runs."""
    return dg.FreshnessPolicy.time_window(fail_window=LINKED_WITHIN, warn_window=LINKED_WARN)


def linked_at_night() -> dg.AutomationCondition:
    """Return a condition that links a cohort at night if its extracts changed and no intake or linkage of it runs.

    Extracts of a cohort arrive one by one over weeks. Linking after each would link about forty times.
    """
    changed = dg.AutomationCondition.any_deps_updated().since_last_handled()
    tonight = dg.AutomationCondition.cron_tick_passed(LINK_AT, _TIMEZONE)
    at_work = dg.AutomationCondition.any_deps_in_progress() | dg.AutomationCondition.in_progress()
    return (changed & tonight & ~at_work).with_label("extracts changed since the last linkage, at 04:00")
