"""Two rows and what became of them: each reason on a pair or two, the command, and the links by row number."""

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from click.testing import Result

from assets.home.paths import Home
from assets.home.processing_log import Processing, read_entries
from assets.linkage.inputs import list_councils, list_extract_paths
from assets.linkage.row_numbers import NumberedRow, RowNumbers, explain
from assets.linkage.tokens import open_readers
from privacy.keys import KeyRing
from privacy.linkage import model
from privacy.linkage.model import convert_to_probability
from tests.support.daily import mark_slow_after
from tests.support.installation.commands import invoke
from tests.support.linkage.linked_home import COHORT
from tests.support.linkage.populations import Frames, tokenise_frames
from tests.support.linkage.stress import make_nhs_numbers, make_upns

pytestmark = pytest.mark.slow

Run: TypeAlias = Callable[..., Result]

PEOPLE = [
    # surname, forename, sex, date of birth, postcode
    ("Thornberry", "Amelia", "F", "2020-03-04", "LS1 4AP"),  # 0, 1: twins
    ("Thornberry", "Jessica", "F", "2020-03-04", "LS1 4AP"),
    ("Okonkwo", "Samuel", "M", "2019-10-30", "LS2 7EW"),
    ("Featherstone", "Ruby", "F", "2020-06-17", "LS3 1JL"),
    ("Blackwater", "Noah", "M", "2020-01-09", "LS4 2DE"),
]
REVIEWS = [
    *PEOPLE,  # 0-4
    ("Thornberry", "Zachary", "M", "2020-03-04", "LS1 4AP"),  # 5: a third child of the twins' home, of no school
    ("Okonkwo", "", "M", "2019-10-30", "LS2 7EW"),  # 6: Samuel again, without a forename and a number
    ("Silverwood", "Dexter", "M", "2020-08-01", "LS9 9ZZ"),  # 7: like nobody
    ("Blackwater", "Noah", "M", "2020-01-09", "LS4 2DE"),  # 8: as 4, in every respect
    ("Featherstone", "Rubi", "F", "2019-12-17", "LS8 5AA"),  # 9: some like Ruby
]


@pytest.fixture(scope="module")
def tokens(keys: KeyRing) -> dict[str, pa.Table]:
    columns = ["surname", "forename", "sex", "date_of_birth", "postcode"]

    def frame(people: list[tuple[str, ...]], **more: Any) -> pd.DataFrame:
        made = pd.DataFrame(people, columns=columns).assign(council="leeds", row_key=range(len(people)), **more)
        return made.assign(date_of_birth=pd.to_datetime(made.date_of_birth))

    numbers = make_nhs_numbers(np.arange(len(REVIEWS)))
    numbers[5:] = None
    pupils = frame(PEOPLE, upn=make_upns(np.arange(len(PEOPLE))))
    return tokenise_frames({"eyfsp": pupils, "hv_reviews": frame(REVIEWS, nhs_number=numbers)}, keys)


@pytest.mark.parametrize(
    ("one", "other", "linked", "why"),
    mark_slow_after(
        3,
        [
            (("eyfsp", 2), ("hv_reviews", 2), True, "one to one"),
            (("hv_reviews", 2), ("eyfsp", 2), True, "one to one"),
            (("hv_reviews", 4), ("hv_reviews", 8), True, "own number or the same in every respect"),
            (("hv_reviews", 0), ("hv_reviews", 1), False, "same service"),
            (("eyfsp", 0), ("hv_reviews", 5), False, "household rule"),
            (("eyfsp", 0), ("hv_reviews", 1), False, "rival"),
            (("eyfsp", 2), ("hv_reviews", 6), False, "rival"),
            (("eyfsp", 3), ("hv_reviews", 7), False, "not looked at"),
        ],
    ),
)
def test_each_reason(
    tokens: dict[str, pa.Table], one: tuple[str, int], other: tuple[str, int], linked: bool, why: str
) -> None:
    rows = (NumberedRow(source, "leeds", number) for source, number in (one, other))
    found, _ = explain(tokens, *rows, lambda row: "/".join(map(str, row)), model.REFERENCE_RECORDS)
    assert (found["linked"], found["why"]) == (linked, why)
    pair = found["pair"]
    total = pair["prior_bits"] + sum(entry["bits"] for entry in pair["comparisons"]) + pair["correction"]
    assert total == pytest.approx(pair["weight"])
    assert pair["posterior"] == pytest.approx(convert_to_probability(pair["weight"]))
    for entry in pair["comparisons"]:
        if entry["m"] is not None:
            comparison, level, children = entry["comparison"], entry["level"], round(1 / pair["prior"])
            assert entry["m"] == model.load_parameters()["comparisons"][comparison][level][0]
            assert entry["u"] == model.compute_chance_share(comparison, level, children)
    if (one, other) == (("eyfsp", 0), ("hv_reviews", 1)):
        rivals = {rival["linked_to"]: rival["rows"] for rival in found["decision"]["rivals"]}
        assert rivals == {"eyfsp/leeds/0": ["hv_reviews/leeds/0"], "hv_reviews/leeds/1": ["eyfsp/leeds/1"]}


def test_the_weight_is_the_linkages_own(frames: Frames, home: Home, keys: KeyRing) -> None:
    """For a child with one review and no setting, the posterior of the link is that of the explanation."""
    store = home.get_cohort(COHORT)
    paths = {source: list_extract_paths(store, source, list_councils(store)) for source in frames}
    links = pq.read_table(store.links).to_pandas()
    with_setting = links.child_id[links.source == "early_years_census"]
    alone = links.drop_duplicates(["child_id", "source"], keep=False)
    pairs = alone[alone.source == "eyfsp"].merge(alone[alone.match_rule == "probabilistic"], on="child_id")
    pairs = pairs[(pairs.source_y == "hv_reviews") & ~pairs.child_id.isin(with_setting)].head(2)
    assert len(pairs)
    for pair in pairs.itertuples():
        rows = (
            NumberedRow(pair.source_x, pair.council_x, pair.row_key_x),
            NumberedRow(pair.source_y, pair.council_y, pair.row_key_y),
        )
        found, _ = explain(open_readers(store, keys, paths), *rows, str, model.REFERENCE_RECORDS)
        assert found["linked"]
        assert found["decision"]["posterior"] == pytest.approx(pair.match_probability_y)
        assert found["pair"]["weight"] <= found["decision"]["weight"] + 1e-9
        bits = found["decision"]["weight"] + found["decision"]["bits_raised"]
        assert found["decision"]["posterior_alone"] == pytest.approx(1 / (1 + 2**-bits))


@pytest.fixture(scope="module")
def run(key_folder: Path) -> Run:
    def _run(home: Home, *arguments: str) -> Result:
        return invoke("link", "explain", "--home", home.root, "--keys", key_folder, "--cohort", COHORT, *arguments)

    return _run


def test_the_command_says_it_in_words_and_as_json(home: Home, keys: KeyRing, run: Run) -> None:
    links = (
        RowNumbers(home.get_cohort(COHORT), keys).replace_keys(pq.read_table(home.get_cohort(COHORT).links)).to_pandas()
    )
    linked = links[links.source == "hv_reviews"].merge(links[links.source == "eyfsp"], on="child_id").iloc[0]
    rows = [f"{linked[f'source_{e}']}/{linked[f'council_{e}']}/{linked[f'source_row_{e}']}" for e in "xy"]
    as_json = run(home, *rows, "--json")
    assert as_json.exit_code == 0, as_json.output
    assert json.loads(as_json.output)["linked"]
    words = run(home, *rows[::-1])
    assert words.exit_code == 0
    assert f"{rows[1]} and {rows[0]}: linked" in words.output
    assert "match weight" in words.output
    assert all(name.replace("_", " ").replace("nhs", "NHS") in words.output for name in model.LEVELS)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (("eyfsp/leeds/999999", "eyfsp/leeds/1"), "row 999999 of leeds/eyfsp is not linked"),
        (("eyfsp/barnet/1", "eyfsp/leeds/1"), "no such extract was linked"),
        (("parent_experience/leeds/1", "eyfsp/leeds/1"), "parent_experience is never linked to children"),
        (("profile/leeds/1", "eyfsp/leeds/1"), "there is no source 'profile'"),
        (("eyfsp/leeds", "eyfsp/leeds/1"), "is not SOURCE/COUNCIL/ROW"),
        (("eyfsp/leeds/1", "eyfsp/leeds/1"), "is one row; name two"),
    ],
)
def test_the_command_stops_with_one_sentence(home: Home, run: Run, rows: tuple[str, str], says: str) -> None:
    found = run(home, *rows)
    assert found.exit_code == 1
    assert says in found.output
    assert found.output.count("\n") == 1


COLUMNS = ["source", "council", "source_row", "child_id", "match_rule", "match_probability"]


def written(home: Home, keys: Path, out: Path) -> Result:
    return invoke("link", "rows", "--home", home.root, "--cohort", COHORT, "--keys", keys, "--out", out)


def test_every_linked_row_by_its_number(home: Home, frames: Frames, key_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows.parquet"
    assert written(home, key_folder, out).exit_code == 0
    rows = pq.read_table(out)
    assert rows.column_names == COLUMNS
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    found = set(zip(*(rows[name].to_pylist() for name in COLUMNS[:3]), strict=True))
    sent = ((source, *row) for source, frame in frames.items() for row in frame[["council", "row_key"]].to_numpy())
    assert found == set(sent)
    assert read_entries(home)[-1].what == Processing.AUDIT
    assert written(home, key_folder, tmp_path / "rows.csv").exit_code == 0
    assert pyarrow.csv.read_csv(tmp_path / "rows.csv").column_names == COLUMNS


def test_the_key_of_rows_is_needed_and_no_other(home: Home, key_folder: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir(mode=0o700)
    (own / "row.key").write_bytes((key_folder / "row.key").read_bytes())
    (own / "row.key").chmod(0o600)
    assert written(home, own, tmp_path / "rows.parquet").exit_code == 0
    KeyRing.create(tmp_path / "others")
    refused = written(home, tmp_path / "others", tmp_path / "none.parquet")
    assert refused.exit_code == 1
    assert "was ingested under another row key" in refused.output
    assert not (tmp_path / "none.parquet").exists()
