"""Releases with made-up figures and their pages: complete, with missing records, of one council, and of two cohorts."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pytest

from ndl_export.analyst_db.build import build_database, open_analyst_database
from ndl_export.bundle import checks, release_directory
from ndl_export.bundle.make import write_bundle
from ndl_export.facts import bundle_reader
from ndl_export.facts.release_facts import ReleaseFacts
from ndl_export.site.inference import Conclusions, query_conclusions
from ndl_export.site.pages import build_site_files
from sources.reference.places import PILOT, load_places
from tests.support.daily import mark_slow_after
from tests.support.export.bundles import KEY, MISSING, make_release
from tests.support.export.fake_release import BUNDLE_FILES, COHORT, fake_facts, fake_tables
from tests.support.export.requested import ASKED, BUDGETS, REVIEWS, SEN, build_facts_with
from tests.support.once import make_once

LATER = "202526"
SITE_FILES = frozenset(name.removeprefix("site/") for name in BUNDLE_FILES if name.startswith("site/"))
CHART_PAGES = ("index", "groups", "goals", "pathway", "joined-dots", "parents")
DOCUMENTS = frozenset(name for name in BUNDLE_FILES if name.endswith(".md") or name == "reconciliation.csv")
"""Files of a bundle that have their own page."""
DOCUMENT_PAGES = tuple(sorted(name.partition(".")[0].lower().replace("_", "-") for name in DOCUMENTS))
PAGES = (*CHART_PAGES, "my-child", "council-leeds", "downloads", "about", *DOCUMENT_PAGES)
"""Pages of every release here; Leeds takes part in all of them."""
KINDS = {
    "whole": (PILOT, {}),
    "without": (PILOT, MISSING),
    "alone": (("leeds",), {}),
    "nothing": (("halton", "leeds"), {"eyfsp": ("halton", "leeds")}),
}


@dataclass(frozen=True)
class Made:
    """A release and the folder of its page, which is in its bundle."""

    facts: ReleaseFacts
    tables: dict[str, pa.Table]
    site: Path

    def read_page(self, name: str) -> str:
        return (self.site / f"{name}.html").read_text(encoding="utf-8")

    @property
    def others(self) -> dict[str, bytes]:
        """Return the other files in the bundle by name, except checksums and signature."""
        files = bundle_reader.read_contents(self.site.parent)
        return {n: c for n, c in files.items() if not n.startswith(("site/", "SHA256SUMS"))}

    def render_pages(self, facts: ReleaseFacts, tables: dict[str, pa.Table] | None = None) -> dict[str, bytes]:
        names = [name for name in BUNDLE_FILES if not name.startswith("site/")]
        made_of = tables or self.tables
        return build_site_files(facts, made_of, self.others, names, conclude(facts, made_of), {})


@pytest.fixture(scope="session")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Made]:
    made: dict[str, Made] = {}

    def make(kind: str) -> Made:
        if kind not in made:
            councils, missing = KINDS[kind]
            facts, tables = fake_facts(councils=councils, missing=missing), fake_tables(councils, missing=missing)
            directory = make_release(tmp_path_factory, kind, councils, missing)
            made[kind] = Made(facts, tables, directory / facts.version / "site")
        return made[kind]

    return make


@pytest.fixture(scope="session", params=mark_slow_after(2, KINDS))
def made(request: pytest.FixtureRequest, make: Callable[[str], Made]) -> Made:
    return make(request.param)


@pytest.fixture(scope="session")
def whole(make: Callable[[str], Made]) -> Made:
    return make("whole")


@pytest.fixture(scope="session")
def without(make: Callable[[str], Made]) -> Made:
    return make("without")


@pytest.fixture(scope="session")
def on_request(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Return a release, with its register, with two tables on request, one of them without council rows."""
    facts = build_facts_with((SEN, REVIEWS))
    tables = fake_tables(requested=facts.on_request.tables)

    def write(directory: Path) -> None:
        write_bundle(directory, facts, tables, KEY)
        build_database(directory)
        release_directory.replace_register(directory, ASKED, BUDGETS)

    return Made(facts, tables, make_once(tmp_path_factory, "requested", write) / facts.version / "site")


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Return the page of a release with too many councils for a readable chart, in a folder without a bundle."""
    councils = tuple(load_places())[:24]
    facts, tables = fake_facts(councils=councils), fake_tables(councils)
    return Made(facts, tables, _write(tmp_path_factory.mktemp("many"), facts, tables))


@pytest.fixture(scope="session")
def two_cohorts(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Return the page of two cohorts, without a bundle; Halton sent no Profile for the later one."""
    missing = {"eyfsp": ("halton",)}
    both = checks.build_table_layouts(PILOT, (COHORT, LATER), {LATER: missing})
    later = {name: _select_cohort(LATER, data) for name, data in fake_tables(seed=2, missing=missing).items()}
    tables = {}
    for name, data in fake_tables().items():
        rows = both[name].sort_rows(pa.concat_tables([data, later[name]]))
        position = rows.column_names.index("series_break")
        tables[name] = rows.set_column(position, rows.schema.field(position), both[name].breaks)
    facts = replace(fake_facts(), cohorts=(COHORT, LATER), missing={LATER: missing})
    return Made(facts, tables, _write(tmp_path_factory.mktemp("cohorts"), facts, tables))


def conclude(facts: ReleaseFacts, tables: dict[str, pa.Table]) -> Conclusions:
    """Return the conclusions that these tables allow."""
    with open_analyst_database(facts, tables) as (connection, _):
        return query_conclusions(connection, facts.cohorts)


def _write(folder: Path, facts: ReleaseFacts, tables: dict[str, pa.Table]) -> Path:
    for name, content in build_site_files(facts, tables, {}, (), conclude(facts, tables), {}).items():
        (folder / name).write_bytes(content)
    return folder


def _select_cohort(cohort: str, data: pa.Table) -> pa.Table:
    position = data.column_names.index("time_period")
    return data.set_column(position, data.schema.field(position), pa.array([cohort] * data.num_rows))
