"""Checks that the statements of a release about its tables on request agree: tables, plans and the privacy record.

Whether the figures follow from the noisy counts is not checked here; `readiness recompute` shows it.
"""

import datetime as dt
import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from ndl_export.facts.on_request import Further, OnRequest, RequestedTable
from ndl_export.facts.release_facts import Version
from ndl_export.tables import TABLES
from ndl_export.tables.csv_files import format_upload_title
from ndl_export.tables.definition import InvalidDefinition, read_definition
from privacy.doors.typed import is_line


def find_request_faults(
    on_request: OnRequest, record: Mapping[str, Any], version: str, cohorts: Collection[str]
) -> list[str]:
    """List the faults in the requested tables of a release, given its privacy record; empty if there are none."""
    try:
        return [
            *_find_table_faults(on_request.tables, version, cohorts),
            *_find_name_faults(on_request.tables),
            *_find_plan_faults(on_request, record),
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return [f"it does not say what was asked for and measured: {error!r}"]


def _find_table_faults(tables: Collection[RequestedTable], version: str, cohorts: Collection[str]) -> Iterator[str]:
    for each in tables:
        if not each.cohorts:
            yield f"{each.name} names no cohort"
        if odd := sorted(set(each.cohorts) - set(cohorts)):
            yield f"{each.name} is of cohort {', '.join(odd)}, which the release has not"
        if Version.parse(each.release) > Version.parse(version):
            yield f"{each.name} was first published in {each.release}, which is later than this release"
        # Called for its ValueError, which the caller reports.
        dt.date.fromisoformat(each.asked_on)
        for what, words in (("who asked for it", each.asked_by), ("what for", each.purpose)):
            if not is_line(words):
                yield f"{each.name} does not say in a line {what}"


def _find_name_faults(tables: Collection[RequestedTable]) -> Iterator[str]:
    # As written in a bulk upload, which cannot have every character and must not have a title twice.
    titles = Counter(format_upload_title(table) for table in (*TABLES.values(), *(each.table for each in tables)))
    for what, counted in (("are called", Counter(each.name for each in tables)), ("have the title", titles)):
        yield from (f"{number} tables {what} {words}" for words, number in counted.items() if number > 1)


def _find_plan_faults(on_request: OnRequest, record: Mapping[str, Any]) -> Iterator[str]:
    """Yield differences between the plans of a release and those in its privacy statement."""
    stated = {
        Further(family["cohort"], family["family"], family["measured_in"]): family
        for family in record["families"]
        if "measured_in" in family
    }
    for each in sorted(stated.keys() - on_request.noisy_counts.keys()):
        yield f"it leaves out what the privacy statement says was measured of {_describe_measurement(each)}"
    for each in sorted(on_request.noisy_counts.keys() - stated.keys()):
        yield f"the privacy statement does not say that anything was measured of {_describe_measurement(each)}"
    for each in sorted(on_request.noisy_counts.keys() & stated.keys()):
        plan = on_request.noisy_counts[each].plan
        if hashlib.sha256(plan).hexdigest() != stated[each]["plan_sha256"]:
            yield f"{each.plan_file} is not the plan that the privacy statement names"
        else:
            yield from _find_purpose_faults(each, plan, on_request, stated[each]["tables"])


def _find_purpose_faults(of: Further, plan: bytes, on_request: OnRequest, stated: Collection[str]) -> Iterator[str]:
    """Check that a plan was made for the tables that the release states, with the same definitions."""
    requests = {each["definition"]["name"]: each for each in json.loads(plan)["detail"]["requests"]}
    known = {each.name: each for each in on_request.tables}
    if requests.keys() != set(stated):
        names = (", ".join(sorted(each)) or "no table" for each in (requests, stated))
        yield "{} was made for {}, and the privacy statement says for {}".format(of.plan_file, *names)
    for name, request in requests.items():
        if name not in known:
            yield f"it leaves out {name}, which {of.plan_file} was made for"
        elif not _is_same_definition(known[name], request):
            yield f"{name} is defined otherwise than in {of.plan_file}, which it was measured under"
        elif of.cohort not in known[name].cohorts:
            yield f"{name} is not of cohort {of.cohort}, for which {of.plan_file} measured it"


def _is_same_definition(table: RequestedTable, request: Mapping[str, Any]) -> bool:
    """Return whether both definitions are identical, including the order of levels."""
    try:
        then = read_definition(request["definition"])
    except InvalidDefinition:
        return False
    now = table.definition
    # As text, because dictionaries of levels are equal in any order.
    return (now.model_dump_json(), table.family) == (then.model_dump_json(), request["family"])


def _describe_measurement(of: Further) -> str:
    return f"{of.family}, cohort {of.cohort}, for release {of.release}"
