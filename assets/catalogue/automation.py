"""What Dagster starts by itself inside the restricted zone. Nothing of the release has a condition.

Extracts of a cohort come in one by one, over weeks: linking after each would link forty times. So a cohort is linked
once a night, where one of its extracts changed since it was last linked, and no intake of it is at work. The nightly
intake is over by then.
"""

from __future__ import annotations

import dagster as dg

LINK_AT = "0 4 * * *"
_TIMEZONE = "Europe/London"


def linked_at_night() -> dg.AutomationCondition:
    """Once a night, for a cohort whose extracts changed since the asset was last made."""
    changed = dg.AutomationCondition.any_deps_updated().since_last_handled()
    tonight = dg.AutomationCondition.cron_tick_passed(LINK_AT, _TIMEZONE)
    at_work = dg.AutomationCondition.any_deps_in_progress() | dg.AutomationCondition.in_progress()
    return (changed & tonight & ~at_work).with_label("extracts changed since the last linkage, at 04:00")
