"""The clerical review of a linked cohort: the sample, the sheets of the services, and decisions taken in again."""

import csv
import datetime as dt
import io
import json
import shutil
from pathlib import Path
from unittest import mock

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from assets.home.errors import Refused
from assets.home.paths import CohortStore, Home
from assets.linkage import inputs, row_numbers
from assets.returns import review
from assets.returns.agreements import load_all
from ndl_export.files.signing import get_public_pem
from privacy.doors import clock
from privacy.keys import KeyRing
from privacy.linkage import review as sampling
from privacy.linkage.link import link
from privacy.linkage.review import (
    ATTRIBUTE,
    CONTROLS,
    NEAR,
    NEITHER,
    NO_REVIEW,
    NO_SETTING,
    OTHER,
    SAMPLED,
    ReviewPairs,
    compute_chances,
    name_stratum,
)
from privacy.services import SERVICES
from tests.support.installation.commands import invoke
from tests.support.linkage import stress
from tests.support.linkage.linked_home import CHILDREN, COHORT
from tests.support.linkage.populations import Frames, tokenise_frames
from tests.support.returns.agreements import Recipients, format_terms, write

TAKEN, TODAY = dt.date(2026, 11, 1), clock.today()
"""Day on which every delivery was taken, and today."""
Watched = tuple[ReviewPairs, pa.Table]
KEY = b"k" * 32
MEASURED = [name_stratum(*stratum) for stratum in SAMPLED]


@pytest.fixture(scope="module")
def watched(keys: KeyRing) -> Watched:
    """A linkage of records with many slips that was watched, and its links."""
    watcher, extracts = ReviewPairs(), tokenise_frames(stress.draw_extracts(CHILDREN, 7, slips=6.0), keys)
    return watcher, link(extracts, watchers=[watcher], children=CHILDREN).links


@pytest.fixture(scope="module")
def recipients(tmp_path_factory: pytest.TempPathFactory) -> Recipients:
    return Recipients(tmp_path_factory.mktemp("recipients"))


@pytest.fixture(scope="module")
def agreements(tmp_path_factory: pytest.TempPathFactory, frames: Frames, recipients: Recipients) -> Path:
    """In every council, every service may tell every other one, also about new children."""
    folder = tmp_path_factory.mktemp("agreements")
    for council in frames["eyfsp"].council.unique():
        write(folder, council, recipients)
    return folder


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory, home: Home, keys: KeyRing, agreements: Path) -> Home:
    """Every pupil of the strata that are measured is drawn: by chance, too few of so small a cohort might be."""
    found = Home(Path(shutil.copytree(home.root, tmp_path_factory.mktemp("review") / "home")))
    with mock.patch.object(sampling, "compute_chances", return_value=compute_chances(1)):
        review.draw_review(found.get_cohort(COHORT), load_all(agreements), keys, TODAY)
    return found


@pytest.fixture
def store(drawn: Home, tmp_path: Path) -> CohortStore:
    return Home(Path(shutil.copytree(drawn.root, tmp_path / "home"))).get_cohort(COHORT)


@pytest.fixture
def signer(keys: KeyRing, tmp_path: Path) -> Path:
    path = tmp_path / "signer.pem"
    path.write_bytes(get_public_pem(keys.signing_key))
    return path


def read_pairs(store: CohortStore) -> pa.Table:
    return pq.read_table(store.review / "pairs.parquet")


def write_decisions(folder: Path, rows: list[tuple[str, str, str]]) -> Path:
    path = folder / "decisions.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("pair", "decision", "reviewer"), *rows])
    return path


# The sample


def test_a_child_is_in_one_stratum_and_strata_are_filled_as_far_as_they_go(watched: Watched) -> None:
    """Where all of a stratum are wanted, all are drawn; controls are as many as there should be, or there are."""
    watcher, links = watched
    found = watcher.sample(links, 1, KEY).to_pandas()
    assert found.pair.is_unique
    assert not found.duplicated(["child_id", "service"]).any()
    assert set(compute_chances(1).values()) == {1.0}
    measured = found[found.stratum.isin(MEASURED)]
    assert (measured.groupby("child_id").stratum.nunique() == 1).all()
    by_stratum = found.groupby(["service", "stratum"]).agg(there=("stratum_pairs", "max"), drawn=("pair", "size"))
    assert {stratum for _, stratum in by_stratum.index} == {*MEASURED, *CONTROLS}
    for (_, stratum), row in by_stratum.iterrows():
        assert row.drawn == (row.there if stratum in MEASURED else min(row.there, CONTROLS[stratum]))
    assert found.groupby(["service", "stratum"]).weight.sum().tolist() == pytest.approx(by_stratum.there.tolist())


def test_every_pupil_without_a_link_is_in_the_frame_and_has_a_row_to_compare_if_one_is_near(watched: Watched) -> None:
    watcher, links = watched
    found = watcher.sample(links, 1, KEY).to_pandas()
    sources = links.to_pandas().groupby("child_id").source.agg(set)
    pupils = sources[sources.map(lambda of: "eyfsp" in of)]
    for service, source in (("health", "hv_reviews"), ("settings", "early_years_census")):
        without = pupils.index[~pupils.map(lambda of, source=source: source in of)]
        drawn = found[(found.service == service) & found.stratum.isin(MEASURED)]
        assert {*drawn.child_id} == {*without}
        assert (drawn.other_source == source).all()
    one = found[found.stratum.str.startswith(NO_REVIEW)]
    assert (one.other_row_key.notna() == one.stratum.str.endswith(NEAR)).all()
    both = found[found.stratum.str.startswith(NEITHER)]
    assert (both.groupby("child_id").size() == 2).all()
    searched = found[found.stratum.str.endswith(OTHER)]
    assert searched.other_row_key.isna().all()
    assert (searched.other_council == searched.council).all()


def test_the_sample_is_a_function_of_key_and_links_and_of_a_pupil(watched: Watched) -> None:
    """A thinner sample is a part of the fuller one. A pupil linked to neither service is drawn for both or none.
    Without one pupil every other measured pair stays as it was."""
    watcher, links = watched
    whole = watcher.sample(links, CHILDREN, KEY)
    assert whole.equals(watcher.sample(links, CHILDREN, KEY))
    assert not whole.equals(watcher.sample(links, CHILDREN, b"other"))
    thin = watcher.sample(links, 30 * CHILDREN, KEY).filter(pc.field("stratum").isin(MEASURED))
    assert 0 < thin.num_rows < whole.num_rows / 3
    assert {*thin["pair"].to_pylist()} <= {*whole["pair"].to_pylist()}
    both = whole.filter(pc.starts_with(pc.field("stratum"), NEITHER)).to_pandas()
    assert (both.groupby("child_id").service.nunique() == 2).all()
    gone = whole.filter(pc.field("stratum").isin(MEASURED))["child_id"][0].as_py()
    kept = links.filter(pc.not_equal(links["child_id"], gone))
    fewer = watcher.sample(kept, CHILDREN, KEY).filter(pc.field("stratum").isin(MEASURED))
    expected = whole.filter(pc.field("stratum").isin(MEASURED) & (pc.field("child_id") != gone))
    assert fewer.select(["pair", "stratum"]).equals(expected.select(["pair", "stratum"]))


def test_a_service_that_sent_nothing_for_a_council_is_not_asked(watched: Watched) -> None:
    watcher, links = watched
    sent = links.filter(~((pc.field("source") == "hv_reviews") & (pc.field("council") == "leeds")))
    found = watcher.sample(sent, 1, KEY).filter(pc.field("stratum").isin(MEASURED)).to_pandas()
    assert not ((found.service == "health") & (found.council == "leeds")).any()
    assert ((found.service == "settings") & (found.council == "leeds")).any()


# The sheets


def test_a_sheet_has_own_row_numbers_alone_and_the_service_decides_whom_it_knows(
    drawn: Home, keys: KeyRing, recipients: Recipients, signer: Path
) -> None:
    store = drawn.get_cohort(COHORT)
    found = {each["pair"]: each for each in read_pairs(store).to_pylist()}
    seen: dict[str, list[str]] = {}
    numbers = row_numbers.RowNumbers(store, keys)
    for path in sorted(store.review.glob("*/*.age")):
        council, source = path.parent.name, path.stem
        text = review.open_sheet(path, recipients.get_key(council, SERVICES[source]), signer).decode()
        rows = list(csv.DictReader(io.StringIO(text)))
        assert [*rows[0]] == ["pair", "row", "compare_with", "what_to_do", "second_review", "decision", "reviewer"]
        for row in rows:
            seen.setdefault(row["pair"], []).append(row["what_to_do"])
            key = found[row["pair"]]["row_key" if source == "eyfsp" else "other_row_key"]
            assert (row["what_to_do"] == review.DECIDES) == (source != "eyfsp")
            if key is None:
                assert row["row"] == ""
            else:
                assert numbers.find_row(source, council, int(row["row"])).row_key == key
    assert seen
    assert all(sorted(each) == sorted([review.DECIDES, review.HANDS_OVER]) for each in seen.values())
    council = found[next(iter(seen))]["council"]
    with pytest.raises(Exception, match="not encrypted to the key you gave"):
        review.open_sheet(store.review / council / "eyfsp.age", recipients.get_key(council, "health"), signer)


def test_services_of_which_one_alone_may_tell_are_given_no_sheet(
    store: CohortStore, keys: KeyRing, recipients: Recipients, frames: Frames, tmp_path: Path
) -> None:
    """Each sheet says that the other service has such a record: both must be allowed to tell the other."""
    for council in frames["eyfsp"].council.unique():
        write(tmp_path / "agreements", council, recipients, format_terms("health", "education", ["known_to"]))
    for terms in (load_all(tmp_path / "agreements"), {}):
        assert review.draw_review(store, terms, keys, TODAY) == (1, [])
        assert not list(store.review.glob("*/*.age"))  # nor do those made before stay


def test_rows_that_are_new_are_on_no_sheet(
    store: CohortStore, keys: KeyRing, recipients: Recipients, frames: Frames, tmp_path: Path
) -> None:
    """A sender could plant a row, and would learn from its sheet that another service has the child."""
    for council in frames["eyfsp"].council.unique():
        write(tmp_path / "agreements", council, recipients, new_children="")
    agreements = load_all(tmp_path / "agreements")
    assert review.draw_review(store, agreements, keys, TAKEN + dt.timedelta(27)) == (1, [])
    assert review.draw_review(store, agreements, keys, TAKEN + dt.timedelta(28))[1]


def test_by_the_commands_which_print_no_number_of_pairs(
    store: CohortStore, key_folder: Path, recipients: Recipients, agreements: Path, signer: Path, tmp_path: Path
) -> None:
    """A sample drawn again from the same links is the same. The processing log holds no number of pairs either."""

    def run(*arguments: object, exit_code: int = 0) -> str:
        answer = invoke("review", *arguments)
        assert answer.exit_code == exit_code, answer.output
        return answer.output

    before, options = read_pairs(store), ("--home", store.home.root, "--cohort", COHORT)
    output = run("sample", *options, "--agreements", agreements, "--keys", key_folder)
    assert read_pairs(store).equals(before)
    sheets = sorted(store.review.glob("*/*.age"))
    assert len(output.splitlines()) == len(sheets) + 2
    out, (council, source) = tmp_path / "sheet.csv", sheets[0].parts[-2:]
    key = recipients.get_key(council, SERVICES[source.removesuffix(".age")])
    opening = ("open", sheets[0], "--key", key, "--signer", signer, "--out", out)
    run(*opening)
    assert out.read_text(encoding="utf-8").replace('"', "").startswith("pair,row")
    assert invoke("review", *opening).exit_code != 0  # an opened sheet is not replaced
    rows = [(pair, "match", "R1") for pair in before["pair"].to_pylist()]
    output = run("take", *options, write_decisions(tmp_path, rows))
    assert str(len(rows)) not in output.replace(str(store.home.root), "").replace(COHORT, "")
    (line,) = [each for each in store.home.processing_log.read_text().splitlines() if "decisions taken in" in each]
    assert json.loads(line)["note"] == "decisions taken in"


# Decisions


def test_decisions_become_the_measured_table_and_a_report(store: CohortStore, tmp_path: Path) -> None:
    """Two reviewers who disagree cannot tell, and neither can nobody."""
    strata = [name_stratum(service, near) for service in (NO_REVIEW, NO_SETTING) for near in (NEAR, OTHER)]
    measured = read_pairs(store).filter(pc.field("stratum").isin(strata))
    first, second, _, *rest = measured["pair"].to_pylist()
    rows = [(first, "match", "R1"), (first, "match", "R2"), (second, "match", "R1"), (second, "not a match", "R2")]
    rows += [(pair, "not a match", "R1") for pair in rest]
    report = json.loads(review.take_review(store, [write_decisions(tmp_path, rows)]).read_bytes())
    assert report["reviewers"] == {"pairs": 2, "same": 0.5, "kappa": 0.0}
    reviewed = pq.read_table(store.reviewed)
    assert reviewed.num_rows == pq.read_metadata(store.get_confidential_path("pupil")).num_rows
    cell = {row["child_id"]: row[ATTRIBUTE] for row in reviewed.to_pylist()}
    decided = [cell[child].partition(": ")[2] for child in measured["child_id"].to_pylist()]
    assert decided[:3] == ["known", "cannot tell", "cannot tell"]
    lines = [line for line in report["strata"] if line["stratum"] in strata]
    assert sum(line["match"] for line in lines) == 1
    assert sum(line["not a match"] for line in lines) == len(rest)


HEADER = "pair,decision,reviewer\n"


def test_odd_files_are_refused_by_file_row_column_and_rule_and_a_spreadsheets_are_read(
    store: CohortStore, tmp_path: Path
) -> None:
    pair, path = read_pairs(store)["pair"][0].as_py(), tmp_path / "odd.csv"
    for text, problem in (
        ("pair,decision\n", ", row 1: the column reviewer is needed once"),
        ("pair,decision,reviewer,decision\n", ", row 1: the column decision is needed once"),
        ("pair;decision;reviewer\nSECRET;match;R1\n", ", row 1: the column pair is needed once"),
        ("", ": is not a CSV file"),
        (f"{HEADER}SECRET,match\n", ": is not a CSV file"),
        (f"{HEADER}\xff,,\n", ": is not a CSV file"),
        (f"{HEADER}SECRET,match,R1\n", ", row 2, column pair: is no pair of this sample"),
        (f"{HEADER}PAIR,SECRET,R1\n", ", row 2, column decision: is not one of match"),
        (f"{HEADER}PAIR,match,S SECRET\n", ", row 2, column reviewer: is not a code of 1 to 20"),
        (f"{HEADER}PAIR,match,R1\nPAIR,cannot tell,R1\n", ", row 3, column reviewer: has decided this"),
        (f"{HEADER}PAIR,match,A\nPAIR,match,B\nPAIR,match,C\n", ", row 4, column reviewer: is the third"),
        (f"{HEADER}PAIR,,\n", "hold no decision"),
    ):
        path.write_bytes(text.replace("PAIR", pair).encode("latin-1"))
        with pytest.raises(Refused) as refused:
            review.take_review(store, [path])
        assert problem in str(refused.value).replace("odd.csv", ""), text
        assert not [secret for secret in ("SECRET", pair) if secret in str(refused.value)], text
        assert not store.reviewed.exists(), text
    spreadsheets = '\ufeffpair,row,decision,notes,reviewer\r\nPAIR,12, match ,"a, b",R1\r\nPAIR,12,match,,R2\r\n'
    path.write_text(spreadsheets.replace("PAIR", pair), encoding="utf-8", newline="")
    review.take_review(store, [path])
    assert store.reviewed.exists()


def test_a_sample_of_other_links_is_not_taken_in(store: CohortStore, tmp_path: Path) -> None:
    path = store.review / "sample.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"deliveries": {"leeds/eyfsp": "another"}}))
    sample = inputs.Sample.read(store)
    assert sample
    assert not sample.is_of_links(store)
    with pytest.raises(Refused, match="Draw again"):
        review.take_review(store, [write_decisions(tmp_path, [])])
