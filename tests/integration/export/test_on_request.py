"""A bundle with tables on request has the same of them as of its own tables, and no other story can be told of them.

Whoever tells one here has the publisher's key: sums and signature fit, so the content alone gives it away.
"""

import csv
import json
import re
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from frictionless import validate

from ndl_export.bundle import checks, make, release_directory
from ndl_export.bundle.verify import TABLE_SUFFIXES, verify
from ndl_export.documents.pages import render_methodology_page
from ndl_export.facts import bundle_reader, description, noisy_counts, release_facts, row_hashes
from ndl_export.facts.on_request import FURTHER_COUNTS_FILE, ON_REQUEST_FILE, OnRequest, RequestMeasurement
from ndl_export.metadata.records import CITATION_FILE
from ndl_export.tables import TABLES, definition
from privacy.estimation.estimates import build_estimates
from privacy.release.mechanism import combine_measurements
from privacy.release.plan import make_plan
from privacy.release.workload import Cube, Marginal, Selector
from tests.integration.export.test_ees import INVALID, list_upload_faults
from tests.integration.export.test_verify import Unlisted
from tests.support import serve
from tests.support.daily import mark_slow_after
from tests.support.export import bundles, ees_screener, standard_validators
from tests.support.export.accessible_workbook import list_not_met
from tests.support.export.fake_release import BUNDLE_FILES, COHORT, COHORTS, EARLIER, fake_facts, fake_tables
from tests.support.export.requested import (
    DEFINITIONS,
    LINKED,
    SUPPLEMENT,
    TOGETHER,
    WAITS,
    build_requested_tables,
    build_supplement_facts,
)
from tests.support.release import dense, examples

BARE = "bare_table"
NAMES = (BARE, LINKED, WAITS, TOGETHER)
PLANS = (f"noise_plan_parents_202425_{SUPPLEMENT}.json", f"noise_plan_pupil_202425_{SUPPLEMENT}.json")
Files = dict[str, bytes]


PAGE_OF_OTHER = ("site/request-joined-dots.html", "site/request-joined-dots.csv")


def files_of(name: str) -> tuple[str, ...]:
    """Of a table: its own, its page and the figures on that."""
    page = f"site/request-{name.replace('_', '-')}"
    return (*(name + suffix for suffix in TABLE_SUFFIXES), f"{page}.html", f"{page}.csv")


@pytest.fixture(scope="module")
def facts() -> release_facts.ReleaseFacts:
    """The facts of a release with tables on request, one of them of one level alone."""
    found = build_supplement_facts(earlier={})
    bare = replace(found.on_request.tables[1], definition=definition.read_definition(DEFINITIONS[BARE]))
    return replace(found, on_request=replace(found.on_request, tables=(bare, *found.on_request.tables)))


@pytest.fixture(scope="module")
def made(facts: release_facts.ReleaseFacts) -> dict[str, pa.Table]:
    return fake_tables(requested=facts.on_request.tables)


@pytest.fixture(scope="module")
def supplement(
    tmp_path_factory: pytest.TempPathFactory,
    facts: release_facts.ReleaseFacts,
    made: dict[str, pa.Table],
) -> Path:
    """The folder of a release of one cohort with tables on request; to be read, not written."""
    return make.write_bundle(tmp_path_factory.mktemp("supplement"), facts, made, bundles.KEY)


@pytest.mark.slow
def test_it_has_four_files_of_every_requested_table_and_what_was_measured(supplement: Path) -> None:
    of_tables = {file for name in NAMES for file in files_of(name)}
    others = {ON_REQUEST_FILE, FURTHER_COUNTS_FILE, *PLANS}
    assert bundle_reader.read_contents(supplement).keys() == BUNDLE_FILES | of_tables | others
    proven = row_hashes.prove_rows(supplement, [(name, 1) for name in NAMES])
    assert [each["table"] for each in proven["rows"]] == list(NAMES)
    assert verify(supplement).faults == ()
    for suffix in ("zip", "tar"):
        assert verify(supplement.parent / f"{SUPPLEMENT}.{suffix}").ok
    with serve(Unlisted, directory=str(supplement.parent)) as address:
        assert verify(f"{address}/{SUPPLEMENT}").ok


def test_what_is_written_is_read_back(supplement: Path, facts: release_facts.ReleaseFacts) -> None:
    for found in (OnRequest.read(bundle_reader.read_contents(supplement)), OnRequest.read_bundle(supplement)):
        assert found.tables == facts.on_request.tables
        assert [each.table.name for each in found.tables] == list(NAMES)
        assert found.noisy_counts.keys() == facts.on_request.noisy_counts.keys()
        for each, counts in found.noisy_counts.items():
            assert counts.plan == facts.on_request.noisy_counts[each].plan
    nothing = OnRequest.read_bundle(supplement.parent)
    assert (nothing.tables, nothing.noisy_counts) == ((), {})


@pytest.mark.slow
def test_one_of_several_cohorts_is_sound_too(tmp_path: Path) -> None:
    facts = build_supplement_facts()
    tables = fake_tables(cohorts=COHORTS, requested=facts.on_request.tables)
    bundle = make.write_bundle(tmp_path, facts, tables, bundles.KEY)
    assert verify(bundle).faults == ()
    assert set(pq.read_table(bundle / f"{LINKED}.parquet")["time_period"].to_pylist()) == set(COHORTS)
    assert set(pq.read_table(bundle / f"{WAITS}.parquet")["time_period"].to_pylist()) == {COHORT}


def edited(change: Callable[[Any], None], file: str = ON_REQUEST_FILE) -> Callable[[Files], None]:
    """The JSON of a file, changed."""

    def apply(files: Files) -> None:
        document = json.loads(files[file])
        change(document)
        files[file] = json.dumps(document).encode()

    return apply


def table(name: str, change: Callable[[Any], None]) -> Callable[[Files], None]:
    """What is stated of one requested table, changed."""
    return edited(lambda document: change(next(t for t in document["tables"] if t["definition"]["name"] == name)))


def without(*names: str) -> Callable[[Files], None]:
    def apply(files: Files) -> None:
        for name in names:
            del files[name]

    return apply


def swapped(one: str, other: str) -> Callable[[Files], None]:
    def apply(files: Files) -> None:
        files[one], files[other] = files[other], files[one]

    return apply


def of_cells(change: Callable[[pa.Table], pa.Table]) -> Callable[[Files], None]:
    """The cells measured on request, changed."""

    def apply(files: Files) -> None:
        sink = pa.BufferOutputStream()
        pq.write_table(change(pq.read_table(pa.BufferReader(files[FURTHER_COUNTS_FILE]))), sink)
        files[FURTHER_COUNTS_FILE] = sink.getvalue().to_pybytes()

    return apply


def with_text(file: str, said: str, instead: str) -> Callable[[Files], None]:
    def apply(files: Files) -> None:
        assert said.encode() in files[file]
        files[file] = files[file].replace(said.encode(), instead.encode(), 1)

    return apply


def renamed(document: Any) -> None:
    for each in document["tables"]:
        if each["definition"]["name"] == WAITS:
            each["definition"]["name"] = "other_waits"


def not_measured(document: Any) -> None:
    document["measured"] = [each for each in document["measured"] if each["family"] != "parents"]


ATTACKS = {
    "the file is gone": (without(ON_REQUEST_FILE), f"{WAITS}.parquet: not part of a bundle"),
    "the file is gone with all that it names": (
        without(*(ON_REQUEST_FILE, FURTHER_COUNTS_FILE, *PLANS), *(file for name in NAMES for file in files_of(name))),
        "on_request.json: it leaves out what the privacy statement says was measured of parents, cohort 202425",
    ),
    "a table that was not measured is gone": (
        lambda files: (edited(lambda d: d["tables"].pop())(files), without(*files_of(TOGETHER))(files)),
        f"datapackage.json: describes {TOGETHER}.parquet, which is not there",
    ),
    "it is no JSON": (lambda files: files.update({ON_REQUEST_FILE: b"{"}), "on_request.json: it does not say which"),
    "it is another document": (
        lambda files: files.update({ON_REQUEST_FILE: b'{"tables": [1], "measured": []}'}),
        "on_request.json: it does not say which",
    ),
    "a file of a table is gone": (without(f"{WAITS}.meta.csv"), f"{WAITS}.meta.csv: missing"),
    "there is a file that it does not name": (
        lambda files: files.update({"noise_plan_health_202425_2026.12.0.json": b"{}"}),
        "noise_plan_health_202425_2026.12.0.json: not part of a bundle",
    ),
    "a table is called like one of every release": (
        lambda files: (
            table(TOGETHER, lambda t: t["definition"].update(name="joined_dots"))(files),
            without(*files_of(TOGETHER)[:-2])(files),
            *(
                files.update({new: files.pop(old)})
                for new, old in zip(PAGE_OF_OTHER, files_of(TOGETHER)[-2:], strict=True)
            ),
        ),
        "joined_dots is already the name of something else in a release",
    ),
    "a table has another name": (edited(renamed), "other_waits.parquet: missing"),
    "a plan is not there": (without(PLANS[0]), f"{PLANS[0]}: missing"),
    "a plan is another one": (swapped(*PLANS), "noisy counts of parents, cohort 202425, are not those of its plan"),
    "a plan has been edited": (
        with_text(PLANS[0], '"detail"', ' "detail"'),
        f"{PLANS[0]} is not the plan that the privacy statement names",
    ),
    "measured for another table": (
        edited(
            lambda d: next(f for f in d["families"] if "measured_in" in f).update(tables=[TOGETHER]),
            "privacy_statement.json",
        ),
        f"was made for {LINKED}, and the privacy statement says for {TOGETHER}",
    ),
    "a measurement is left out": (
        lambda files: (edited(not_measured)(files), without(PLANS[0])(files)),
        f"{FURTHER_COUNTS_FILE} holds cells that no plan names",
    ),
    "a measurement is left out with its cells": (
        lambda files: (
            edited(not_measured)(files),
            without(PLANS[0])(files),
            of_cells(lambda cells: cells.filter(pa.compute.equal(cells["family"], "pupil")))(files),
        ),
        "it leaves out what the privacy statement says was measured of parents",
    ),
    "cells are gone": (of_cells(lambda cells: cells.slice(1)), "are not those of its plan"),
    "cells are there twice": (of_cells(lambda cells: pa.concat_tables([cells, cells])), "are not those of its plan"),
    "cells of another release": (
        of_cells(lambda c: c.set_column(0, c.schema.field(0), pa.repeat("2026.11.0", len(c)))),
        "are not those of its plan",
    ),
    "no cells": (lambda files: files.update({FURTHER_COUNTS_FILE: b"PAR1"}), "on_request.json: it does not say which"),
    "a group is another one than was measured": (
        table(LINKED, lambda t: t["definition"]["figure"].update(categories=["No"], name="not_gld", label="without")),
        f"{LINKED} is defined differently in {PLANS[1]}",
    ),
    "levels stand in another order": (
        table(WAITS, lambda t: t["definition"]["columns"][0]["levels"].reverse()),
        f"{WAITS} is defined differently in {PLANS[0]}",
    ),
    "a table is of another family": (table(TOGETHER, lambda t: t.update(family="pupil")), "main_barrier"),
    "a table is of a cohort that the release has not": (
        table(TOGETHER, lambda t: t.update(cohorts=["202324"])),
        f"{TOGETHER} is for cohort 202324, which the release does not have",
    ),
    "a table is of no cohort": (table(TOGETHER, lambda t: t.update(cohorts=[])), f"{TOGETHER} names no cohort"),
    "a table was published later than the release": (
        table(TOGETHER, lambda t: t.update(release="2027.01.0")),
        f"{TOGETHER} was first published in 2027.01.0, which is later",
    ),
    "nobody asked": (
        table(TOGETHER, lambda t: t.update(asked_by=" ")),
        f"{TOGETHER} does not say who asked for it in one line",
    ),
    "a table has other rows than its definition": (
        table(TOGETHER, lambda t: t["definition"].update(geography="councils")),
        f"{TOGETHER}.parquet: ",
    ),
    "a title is that of another table": (
        table(TOGETHER, lambda t: t["definition"].update(title="Long waits by need")),
        "2 tables have the title Long waits by need",
    ),
    "figures are those of another table": (swapped(f"{WAITS}.parquet", f"{LINKED}.parquet"), f"{WAITS}.parquet: "),
    "the CSV file tells another story": (
        with_text(f"{WAITS}.csv", ",Leeds,", ",Leads,"),
        f"{WAITS}.csv: does not hold the same figures as {WAITS}.parquet",
    ),
    "the plain CSV file tells another story": (
        with_text(f"{TOGETHER}_all_rows.csv", ",Cost,", ",Money,"),
        f"{TOGETHER}_all_rows.csv: does not hold the same figures",
    ),
    "the metadata tell another story": (
        with_text(f"{LINKED}.meta.csv", "IMD quintile", "Quintile"),
        f"{LINKED}.meta.csv: does not describe {LINKED}.csv",
    ),
    "the workbook tells another story": (
        with_text("school_readiness_tables.ods", ">Yes or being assessed<", ">Yes or being reviewed<"),
        "school_readiness_tables.ods: cannot be read",
    ),
    "the upload tells another story": (
        with_text("ees_bulk_upload.zip", "Long waits by need", "Long waits by NEED"),
        "ees_bulk_upload.zip: does not hold the same figures",
    ),
}


@pytest.mark.parametrize("attack", mark_slow_after(2, ATTACKS))
def test_no_other_story_can_be_told_of_it(supplement: Path, tmp_path: Path, attack: str) -> None:
    apply, sentence = ATTACKS[attack]
    folder = Path(shutil.copytree(supplement, tmp_path / SUPPLEMENT))
    files = bundle_reader.read_contents(folder)
    before = dict(files)
    apply(files)
    for name in before.keys() - files.keys():
        (folder / name).unlink()
    for name, content in files.items():
        if content is not before.get(name):
            (folder / name).write_bytes(content)
    bundles.sign_again(folder)
    assert sentence in str(verify(folder))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"on_request": OnRequest(build_requested_tables((COHORT,)))}, "leaves out what the privacy statement says"),
        ({"on_request": OnRequest()}, "leaves out what the privacy statement says"),
        ({"privacy_record": fake_facts(SUPPLEMENT).privacy_record}, "does not say that anything was measured of pupil"),
    ],
)
def test_a_bundle_that_does_not_hold_together_is_not_written(
    change: dict[str, Any],
    sentence: str,
    facts: release_facts.ReleaseFacts,
    made: dict[str, pa.Table],
    tmp_path: Path,
) -> None:
    with pytest.raises(release_directory.BundleRefused, match=sentence):
        make.write_bundle(tmp_path, replace(facts, **change), made, bundles.KEY)


def test_names_of_measurements_lead_nowhere_else() -> None:
    far = [
        RequestMeasurement("202425", "../../pupil", SUPPLEMENT)._asdict(),
        RequestMeasurement("x/y", "pupil", SUPPLEMENT)._asdict(),
    ]
    stated = {"tables": [{"definition": {"name": "../up"}}], "measured": far}
    files = {ON_REQUEST_FILE: json.dumps(stated).encode()}
    assert OnRequest.list_names(files) == ((), {ON_REQUEST_FILE})


SENTENCE = (
    "On request: A university asked for it on 20 November 2026. Purpose: To see whether reviews tell readiness apart in"
    " deprived areas. First in release 2026.12.0"
)


@pytest.mark.slow
def test_every_validator_takes_them(supplement: Path) -> None:
    package = standard_validators.run_validator("ckan", "ckan_faults.py", supplement)
    said = standard_validators.run_validator("standards", "standards_faults.py", supplement)
    faults = said["faults"][str(supplement)] | package[str(supplement)]
    assert faults == {name: [] for name in (*make.CATALOGUE_FILES, CITATION_FILE, description.WORKBOOK_FILE)}
    for name in NAMES:
        loaded = said["loaded"][f"{supplement}/{name}"]
        assert loaded == pq.read_table(supplement / f"{name}.parquet").slice(0, len(loaded)).to_pylist()
    assert validate(str(supplement / "datapackage.json")).valid
    assert list_not_met((supplement / description.WORKBOOK_FILE).read_bytes()) == []
    upload = supplement / "ees_bulk_upload.zip"
    assert list_upload_faults(upload) == []
    for name in (LINKED, WAITS, BARE):
        assert ees_screener.list_failures(supplement / f"{name}.csv", supplement / f"{name}.meta.csv") == []
    with zipfile.ZipFile(upload) as archive:
        names = {name.partition(".")[0] for name in archive.namelist()}
        titles = csv.DictReader(archive.read("dataset_names.csv").decode().splitlines())
        assert not [line for line in titles if set(line["dataset_name"]) & (INVALID - {" "})]
    assert names == {"dataset_names", *TABLES, LINKED, WAITS, BARE}
    # All councils together have no official geography.
    assert len((supplement / f"{TOGETHER}.csv").read_text().splitlines()) == 1


@pytest.mark.slow
def test_documents_and_records_say_who_asked_for_what(supplement: Path) -> None:
    for name in ("README.md", "methodology.md"):
        listed = (supplement / name).read_text().partition("## Tables on request")[2].partition("\n## ")[0]
        assert all(f"| `{name}` |" in listed for name in NAMES)
        assert "| A university, 20 November 2026: To see whether" in listed
    dictionary = (supplement / "data_dictionary.md").read_text().partition("## Tables on request")[2]
    assert all(f"### `{name}`: " in dictionary for name in NAMES)
    assert dictionary.count(f"{SENTENCE}.") == len(NAMES)
    for name in (*make.CATALOGUE_FILES, "datapackage.json"):
        assert name == "ukgov_dataset.json" or SENTENCE in (supplement / name).read_text()
    assert pq.read_schema(supplement / f"{WAITS}.parquet").metadata[b"on_request"].decode() == SENTENCE
    assert b"on_request" not in pq.read_schema(supplement / "gld_headline.parquet").metadata


def test_titles_that_are_written_alike_in_an_upload_are_refused() -> None:
    own = build_requested_tables()[0]
    title = TABLES["joined_dots"].title.replace(": ", ", ")
    alike = replace(own, definition=own.definition.model_copy(update={"title": title}))
    faults = checks.find_request_faults(OnRequest((alike,)), {"families": []}, SUPPLEMENT, (EARLIER, COHORT))
    assert any("2 tables have the title" in fault for fault in faults)


def test_the_recipe_of_the_methodology_takes_in_what_was_measured_on_request(tmp_path: Path) -> None:
    """Its code, run as it stands, on a family without identities."""
    family = replace(examples.build_small_family(), identities=())
    base = make_plan(family, 0.1, delta=1e-6)
    later = [
        make_plan(replace(family, marginals=tuple(Marginal(names) for names in asked)), 0.02, delta=1e-6)
        for asked in ((("fsm", "asq", "gld"),), (("council", "asq", "gld"), ("dots",)))
    ]
    (own, *more) = [(plan, dense.draw_noisy(plan, seed)) for seed, plan in enumerate([base, *later])]
    first = {COHORT: {"small": noisy_counts.NoisyCounts(own[0].encode_json(), own[1].noisy)}}
    releases = (SUPPLEMENT, "2027.01.0")
    further = {
        RequestMeasurement(COHORT, "small", release): noisy_counts.NoisyCounts(plan.encode_json(), counts.noisy)
        for release, (plan, counts) in zip(releases, more, strict=True)
    }
    asked = OnRequest(build_requested_tables((COHORT,)), further)
    for name, content in asked.build_files("2027.01.0").items():
        (tmp_path / name).write_bytes(content)
    pq.write_table(first[COHORT]["small"].build_table(COHORT, "small"), tmp_path / "noisy_counts.parquet")
    (tmp_path / "noise_plan_small.json").write_bytes(own[0].encode_json())
    (code,) = re.findall(r"```python\n(.*?)```", render_methodology_page(build_supplement_facts(earlier={})), re.DOTALL)
    recipe: dict[str, Any] = {}
    exec(code, recipe)
    estimates = build_estimates(*combine_measurements(*own, more))
    for wanted in (("fsm", "gld", "asq"), ("council", "gld", "asq"), ("dots",), ()):
        cube = Cube({name: Selector.for_each(family.get_attribute(name)) for name in wanted})
        found = recipe["estimates"](tmp_path, COHORT, "small", wanted)
        np.testing.assert_allclose(found, estimates.compute_values(cube).reshape(found.shape), atol=1e-6)
