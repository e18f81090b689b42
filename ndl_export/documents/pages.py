"""The pages of a bundle that are prose: README, licence, methodology and statements.

Their words are in `templates/`, for anyone to edit; this module fills in what follows from facts and definitions.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from ndl_export.documents.disclosure import FALSE_ALARMS, most_found
from ndl_export.documents.markdown import bullets, grid
from ndl_export.documents.quality import LINKAGE_TABLE, coherence, linkage_gaps, linkage_grid, reliability_grid
from ndl_export.facts.breaks import break_statements
from ndl_export.facts.description import OGL_ADDRESS, OGL_NAME
from ndl_export.facts.missing import statements
from ndl_export.facts.release_facts import TITLE, ReleaseFacts
from ndl_export.pages import kit
from ndl_export.tables import FAMILIES, TABLES
from ndl_export.tables.geography import ALL_TOGETHER, DEVOLVED, LOCAL_AUTHORITY
from ndl_export.tables.schema import FLAG_MEANINGS
from sources.reference.cohorts import Cohort
from sources.reference.goals import GLD_GOALS, GOALS

_NO_BREAK = "No break is known in this release: no row is flagged."
_TEMPLATES = Path(__file__).parent / "templates"


def readme_page(facts: ReleaseFacts) -> str:
    """README.md: what is in the bundle and how to check it."""
    return _filled(
        "README.md",
        facts,
        councils="; ".join(area.name for area in facts.areas if area.level == LOCAL_AUTHORITY),
        tables=grid(("table", "title", "about"), ((f"`{t.name}`", t.title, t.description) for t in TABLES.values())),
    )


def licence_page(facts: ReleaseFacts) -> str:
    """LICENCE.md: the Open Government Licence with the attribution it asks for."""
    return _filled("LICENCE.md", facts, licence_address=OGL_ADDRESS)


def methodology_page(facts: ReleaseFacts) -> str:
    """methodology.md: what the figures are and how they may be used."""
    return _filled(
        "methodology.md",
        facts,
        gld_goals_number=len(GLD_GOALS),
        gld_goals="; ".join(GOALS[goal] for goal in GLD_GOALS),
        goals_number=len(GOALS),
        populations=_populations(),
        geography=_geography(facts),
        breaks=bullets(break_statements(facts.cohorts, facts.councils, facts.missing)) or _NO_BREAK,
        flags=grid(("flag", "meaning"), ((f"`{f}`" if f else "(empty)", text) for f, text in FLAG_MEANINGS.items())),
    )


def quality_page(facts: ReleaseFacts, tables: Mapping[str, pa.Table], reconciliation: str) -> str:
    """quality.md: quality and linkage; `reconciliation` is the text of `reconciliation.csv`."""
    return _filled(
        "quality.md",
        facts,
        reliability=reliability_grid(tables),
        linkage=linkage_grid(tables[LINKAGE_TABLE], facts.cohorts),
        newest=Cohort(max(facts.cohorts)).label,
        first_area="all councils together" if facts.areas[0].level == ALL_TOGETHER else facts.areas[0].name,
        gaps=linkage_gaps(tables[LINKAGE_TABLE]),
        coherence=coherence(reconciliation),
    )


def five_safes_page(facts: ReleaseFacts) -> str:
    """five_safes.md: the Five Safes, and the motivated intruder."""
    larger = facts.privacy_record.get("larger_changes", ())
    return _filled(
        "five_safes.md",
        facts,
        false_alarms=_in_100(FALSE_ALARMS),
        found=_in_100(most_found(facts.privacy_parameters["rho"])),
        larger={change["change"]: _in_100(most_found(change["rho"])) for change in larger},
    )


def code_of_practice_page(facts: ReleaseFacts, previous: str | None) -> str:
    """code_of_practice.md: status, contact and revisions; `previous` is the version that this one replaces, if any."""
    return _filled("code_of_practice.md", facts, previous=previous)


def _in_100(share: float) -> str:
    return f"{100 * share:.0f}"


def _filled(name: str, facts: ReleaseFacts, **values: object) -> str:
    """The template `name` with its values and those that several share."""
    by_cohort = "_{cohort}" if len(facts.cohorts) > 1 else ""
    return kit.render(
        _TEMPLATES,
        name,
        facts=facts,
        title=TITLE,
        licence=OGL_NAME,
        cohorts=", ".join(Cohort(cohort).label for cohort in facts.cohorts),
        missing=bullets(statements(facts.missing, facts.councils)) or "Every council has sent every source.",
        plans=f"`noise_plan_<family>{'_<cohort>' if by_cohort else ''}.json`",
        plan_file=f"noise_plan_{{family}}{by_cohort}.json",
        **values,
    )


def _populations() -> str:
    return grid(
        ("tables", "one row of the data is", "population"),
        (
            (", ".join(f"`{table.name}`" for table in family.tables), f"one {family.unit}", family.population)
            for family in FAMILIES.values()
        ),
    )


def _geography(facts: ReleaseFacts) -> str:
    top, lines = facts.areas[0], []
    if top.level == ALL_TOGETHER:
        lines.append(
            f"Rows of level `{ALL_TOGETHER}` are all {len(top.councils)} councils together. They have no official"
            " geography: they are in the Parquet files and the analyst database, and left out of the CSV files."
        )
    lines += [
        f"{area.name} has rows of its own, at level `{DEVOLVED}`: they repeat the children of its councils."
        for area in facts.areas
        if area.level == DEVOLVED
    ]
    return bullets(lines)
