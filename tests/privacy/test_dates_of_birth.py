"""Recovery of exact dates of birth from the zones by someone who knows half of the children: our best attack.

The attacker learns the interval between birth and each review from known children. A child's review months then limit
the possible days of birth; with tokens, so do the reviews in every row that shares its date of birth.
"""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from assets.home.paths import Home
from assets.intake.ingest import Intake
from assets.linkage.link import link_cohort
from privacy.keys import KeyRing
from privacy.services import SERVICES
from sources.extract.landing import Landed, find, list_councils
from sources.reference.cohorts import Cohort
from sources.synthetic import generate
from tests.privacy.test_attack import joined
from tests.support.intake.numbered import read_numbered, read_row_keys

pytestmark = pytest.mark.slow

COHORT, SCALE = "202425", 0.1
BORN = pd.date_range(Cohort(COHORT).born_from, Cohort(COHORT).born_to)
TERMS = {"Autumn-born": (9, 10, 11, 12), "Spring-born": (1, 2, 3), "Summer-born": (4, 5, 6, 7, 8)}
NEVER = 1e-4
"""Assumed probability of an interval that no known child has."""


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Return every linked row with its payload, its tokens, and its date of birth and review day from the extract."""
    root = tmp_path_factory.mktemp("dates")
    generate(root / "landing", COHORT, scale=SCALE, contract_names=True)
    home, keys = Home(root / "home"), KeyRing.create(root / "keys")
    intake, councils = Intake(root / "landing", home, keys), list_councils(root / "landing")
    parts = []
    for source in SERVICES:
        extracts = [found for council in councils if (found := find(root / "landing", council, source, COHORT))]
        assert not [outcome for outcome in intake.ingest_all(extracts) if isinstance(outcome, Exception)]
        parts += [_rows(landed, home, keys) for landed in extracts]
    link_cohort(home.get_cohort(COHORT), councils, keys)
    links = pq.read_table(home.get_cohort(COHORT).links).to_pandas()
    return pd.concat(parts, ignore_index=True).merge(links, on=["source", "council", "row_key"])


def _rows(landed: Landed, home: Home, keys: KeyRing) -> pd.DataFrame:
    key = home, keys, landed.source, landed.council
    kept = read_numbered(*key).append_column("row_key", read_row_keys(*key)["row_key"])
    frame = kept.to_pandas(integer_object_nulls=True)
    sent = pd.read_parquet(landed.path) if landed.path.suffix == ".parquet" else pd.read_csv(landed.path, dtype=str)
    sent = sent.iloc[frame.source_row.astype(int) - 1].reset_index(drop=True)
    day = pd.to_datetime(sent["review_date"], errors="coerce") if "review_date" in sent else pd.NaT
    return frame.assign(source=landed.source, born=pd.to_datetime(sent["date_of_birth"], errors="coerce"), day=day)


@pytest.fixture(scope="module")
def known(rows: pd.DataFrame) -> pd.Series:
    """Return whether the attacker knows the child of each row."""
    children = pd.Series(rows.child_id.unique())
    return rows.child_id.isin(children[np.random.default_rng(1).random(len(children)) < 0.5])


def _log_chances(rows: pd.DataFrame, known: pd.Series, times: pd.Series, step: str) -> np.ndarray:
    """Return the log probability of each review for each day of birth, given its time (a month or a day)."""
    learned = rows[known & rows.born.notna() & rows.day.notna() & rows.review.notna()]
    chances: dict[tuple[str, pd.Period], np.ndarray] = {}
    for review, of_review in learned.groupby("review"):
        days = (of_review.day - of_review.born).dt.days.value_counts(normalize=True)
        for at, born in enumerate(BORN):
            periods = (born + pd.to_timedelta(days.index, unit="D")).to_period(step)
            for period, chance in pd.Series(days.to_numpy(), periods).groupby(level=0).sum().items():
                chances.setdefault((str(review), period), np.full(len(BORN), NEVER))[at] += chance
    nothing = np.zeros(len(BORN))
    pairs = zip(rows.review, times.dt.to_period(step), strict=True)
    return np.stack([np.log(chances[pair]) if pair in chances else nothing for pair in pairs])


def _recovered(rows: pd.DataFrame, known: pd.Series, log_chances: np.ndarray, group: pd.Series) -> float:
    """Return the share of unknown children with a Profile whose date of birth is the likeliest one of their group."""
    codes, _ = pd.factorize(group)
    of_group = np.zeros((codes.max() + 1, len(BORN)))
    np.add.at(of_group, codes, log_chances)
    wanted = ((rows.source == "eyfsp") & ~known & rows.born.notna()).to_numpy()
    likely = of_group[codes[wanted]]
    for term, months in TERMS.items():
        in_term = (rows.term_of_birth[wanted] == term).to_numpy()[:, None]
        likely = np.where(in_term & ~np.isin(BORN.month, months), -np.inf, likely)
    return float((BORN[likely.argmax(axis=1)].to_numpy() == rows.born[wanted].to_numpy()).mean())


def test_payload_gives_a_month_away_and_no_day(rows: pd.DataFrame, known: pd.Series) -> None:
    """Without keys, links connect a child's reviews, of which only the month is kept."""
    by_month = _log_chances(rows, known, pd.to_datetime(rows.review_date), "M")
    assert _recovered(rows, known, by_month, rows.child_id) < 0.06


def test_what_tokens_and_payload_give_away_together_is_why_they_lie_apart(rows: pd.DataFrame, known: pd.Series) -> None:
    """Two people who combine them learn more, but far less than if the days were kept too. Rows that share a token with
    a date of birth are in one group."""
    groups = joined(rows, list(rows.columns[rows.columns.str.match(r"^t_.*_dob$")]))
    by_month = _recovered(rows, known, _log_chances(rows, known, pd.to_datetime(rows.review_date), "M"), groups)
    by_day = _recovered(rows, known, _log_chances(rows, known, rows.day, "D"), groups)
    assert by_month < 0.2
    assert by_day > 2 * by_month
