"""What an intake tells on the console: what is new, extracts with nothing wrong in one line, the others in one each.

Whoever starts a run, or reads its log, sees counts of rows by order of size alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from assets.home.paths import Home
from assets.intake.deliveries import ExtractQuality
from assets.intake.reports import ALL_EXTRACTS
from assets.intake.rule_families import SIZE, outcomes
from ndl_export.pages.number_format import counted
from privacy.doors.counts import rows
from sources.contracts.people import OF_MANY


def told(home: Home, cohorts: Iterable[str], taken: Sequence[ExtractQuality], any_stopped: bool) -> Iterator[str]:
    """Lines about the extracts of these cohorts that were taken, and where the reports are if there is a new one."""
    new = [quality for quality in taken if not quality.unchanged]
    wrong = {quality.key: found for quality in new if (found := _wrong(quality))}
    if sound := [quality for quality in new if quality.key not in wrong]:
        councils = len({quality.council for quality in sound})
        yield f"{_extracts(len(sound))} of {counted(councils, 'council')} read, every row kept"
    for quality in new:
        if quality.key in wrong:
            name = f"{quality.council}/{quality.source}/{quality.file}"
            yield f"{name}: {rows(quality.rows_read)} read; {'; '.join(wrong[quality.key])}"
    if unchanged := len(taken) - len(new):
        yield f"{_extracts(unchanged)} unchanged since {'it was' if unchanged == 1 else 'they were'} read"
    if new or any_stopped:
        folders = (home.reports(cohort, "<council>") for cohort in sorted(cohorts))
        yield from (f"Reports to send back: {folder / ALL_EXTRACTS}.html" for folder in folders)


def _wrong(quality: ExtractQuality) -> list[str]:
    """What an extract is told apart for."""
    found = [other.looks_like for other in quality.elsewhere]
    found += [
        f"number of rows: {each.sentence}" for each in outcomes(quality) if each.family == SIZE and not each.passed
    ]
    of_many = {rule.id for rule in OF_MANY.values()}
    found += [f"{rule.columns[0]} shared by many children" for rule in quality.rules if rule.rule in of_many]
    if quality.rows_rejected:
        found.append(f"{rows(quality.rows_rejected)} set aside")
    return found


def _extracts(count: int) -> str:
    return counted(count, "extract")
