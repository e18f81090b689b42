"""Check outcomes for operators, and progress lines for the console.

Dagster and logs show these to anyone who opens them. Shares are therefore too coarse to work out a row count. Row
counts are given as bands, and so is an operator's expected number, which may be close to the count. Published numbers
and counts of rules are exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from assets.home.paths import Home
from assets.intake.deliveries import ExtractQuality, read
from assets.intake.quality import Finding
from assets.intake.quality_report.publish import ALL_EXTRACTS
from ndl_export.pages.number_format import format_count
from privacy.doors.counts import describe_count, describe_rows, describe_share
from sources.contracts.extract_rules import FAR_FROM_EXPECTED, FAR_FROM_LAST, compute_share
from sources.contracts.people import OF_MANY
from sources.reference.published_figures import find_published_rows

QUALITY, ROWS, SIZE, VALUES, FILLED = "quality", "rows", "size", "values", "filled"
FAMILIES = {
    QUALITY: "The newest delivery of the council was taken, not stopped",
    ROWS: "No row was set aside",
    SIZE: "The number of rows is near that of the last delivery and the expected one; else a release may be held",
    VALUES: "Great Expectations over the payload: every rule of the contract that it can be judged by",
    FILLED: "Columns are as full as they should be",
}
ALL_COUNCILS = "every_council"
"""Name of the check over all councils. One council's good delivery cannot turn it green while another is stopped."""
_OF_SIZE = {FAR_FROM_EXPECTED.id, FAR_FROM_LAST.id}

Number = float | int | str


@dataclass(frozen=True)
class Outcome:
    """Outcome of one family of rules for one extract. `numbers` must be safe to log."""

    family: str
    passed: bool
    sentence: str
    numbers: dict[str, Number] = field(default_factory=dict)


def iter_outcomes(quality: ExtractQuality) -> Iterator[Outcome]:
    """Yield the outcome of each family of rules for an accepted extract."""
    yield Outcome(QUALITY, True, "the extract was taken", {"rows_read": describe_count(quality.rows_read)})
    yield Outcome(
        ROWS,
        not quality.rows_rejected,
        f"{describe_rows(quality.rows_rejected)} set aside" if quality.rows_rejected else "every row was kept",
        {
            "rows_rejected": describe_count(quality.rows_rejected),
            "share_rejected": _round_share(quality.rows_rejected, quality.rows_read, 2),
            "share_warned": _round_share(quality.rows_warned, quality.rows_kept, 2),
        },
    )
    yield _build_size_outcome(quality)
    thin = [finding for finding in quality.findings if finding.rule.endswith("-thin")]
    of_size = [finding for finding in quality.findings if finding.rule in _OF_SIZE]
    values = [finding for finding in quality.findings if finding not in thin and finding not in of_size]
    yield _build_findings_outcome(VALUES, values, "every rule holds")
    filled = [column.filled for column in quality.profile.columns]
    least: dict[str, Number] = {"least_filled": _round_share(min(filled), quality.profile.rows, 1)} if filled else {}
    yield _build_findings_outcome(FILLED, thin, "every column is as full as it should be", least)


def list_waiting(home: Home, source: str, cohorts: Iterable[str]) -> list[str]:
    """Return the extracts of a source that may block a release.

    `wirral/202425 stopped` is a latest delivery that was stopped, in any cohort. `wirral/202425 in doubt` is an extract
    of these cohorts that breaks a rule that can hold a release; linkage decides whether it does.
    """
    stopped: list[Path] = sorted(home.restricted.glob(f"stopped/source={source}/cohort=*/*.json"))
    found = [f"{path.stem}/{path.parent.name.removeprefix('cohort=')} stopped" for path in stopped]
    for cohort in sorted(cohorts):
        taken = sorted(home.extract(source, cohort, "any").quality.parent.glob("*.json"))
        found += [f"{path.stem}/{cohort} in doubt" for path in taken if (quality := read(path)) and quality.holds]
    return found


def _build_size_outcome(quality: ExtractQuality) -> Outcome:
    kept = quality.rows_kept
    shares = {
        "rows_of_expected": compute_share(kept, quality.rows_expected),
        "rows_of_last": compute_share(kept, quality.rows_last),
    }
    known = {name: share for name, share in shares.items() if share is not None}
    words = [f"{describe_share(share)} {name.removeprefix('rows_').replace('_', ' ')}" for name, share in known.items()]
    # in the steps of `describe_share`, so that the number says no more than the words
    numbers: dict[str, Number] = {name: round(share * 10) / 10 for name, share in known.items()}
    if quality.rows_expected:
        # an operator's number may be close to the row count, so only a published one is exact
        is_public = quality.rows_expected == find_published_rows(quality.source, quality.council)
        numbers["expected_rows"] = quality.rows_expected if is_public else describe_count(quality.rows_expected)
    is_near = not _OF_SIZE & {finding.rule for finding in quality.holds}
    return Outcome(SIZE, is_near, ", ".join(words) or "nothing to compare it with", numbers)


def _build_findings_outcome(
    family: str, findings: list[Finding], good: str, more: Mapping[str, Number] | None = None
) -> Outcome:
    broken = [finding.sentence.removesuffix(".") for finding in findings if not finding.passed]
    numbers = {"rules": len(findings), "rules_broken": len(broken), **(more or {})}
    return Outcome(family, not broken, ", ".join(broken) or good, numbers)


def _round_share(part: int, whole: int, digits: int) -> float:
    return round(part / whole, digits) if whole else 0.0


def iter_progress_lines(
    home: Home, cohorts: Iterable[str], taken: Sequence[ExtractQuality], any_stopped: bool
) -> Iterator[str]:
    """Yield lines about the accepted extracts of these cohorts, and the location of new reports."""
    new = [quality for quality in taken if not quality.unchanged]
    wrong = {quality.key: found for quality in new if (found := _list_problems(quality))}
    if sound := [quality for quality in new if quality.key not in wrong]:
        councils = len({quality.council for quality in sound})
        yield f"{format_count(len(sound), 'extract')} of {format_count(councils, 'council')} read, every row kept"
    for quality in new:
        if quality.key in wrong:
            name = f"{quality.council}/{quality.source}/{quality.file}"
            yield f"{name}: {describe_rows(quality.rows_read)} read; {'; '.join(wrong[quality.key])}"
    if unchanged := len(taken) - len(new):
        yield f"{format_count(unchanged, 'extract')} unchanged since {'it was' if unchanged == 1 else 'they were'} read"
    if new or any_stopped:
        folders = (home.cohort(cohort).reports("<council>") for cohort in sorted(cohorts))
        yield from (f"Reports to send back: {folder / ALL_EXTRACTS}.html" for folder in folders)


def _list_problems(quality: ExtractQuality) -> list[str]:
    """Return the reasons to give an extract a separate line; none if it is sound."""
    found = [other.looks_like for other in quality.other_origins]
    found += [
        f"number of rows: {each.sentence}" for each in iter_outcomes(quality) if each.family == SIZE and not each.passed
    ]
    of_many = {rule.id for rule in OF_MANY.values()}
    found += [f"{rule.columns[0]} shared by many children" for rule in quality.rules if rule.rule in of_many]
    if quality.rows_rejected:
        found.append(f"{describe_rows(quality.rows_rejected)} set aside")
    return found
