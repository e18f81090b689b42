"""Remaining risks from people whom keys do not exclude: an analyst, and a council with access to the stores."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.home.paths import Home
from assets.intake.ingest import Intake
from assets.pseudonymise.split_writer import SenderWriter
from assets.pseudonymise.stream_extract import make_tools, stream_alone
from assets.pseudonymise.tokens_file import build_tokens_schema
from assets.release.planning import plan_family
from ndl_export.tables import FAMILIES
from privacy import row_keys
from privacy.doors import sealed
from privacy.keys import KeyRing
from privacy.pseudonyms import TOKEN_COLUMNS
from privacy.release.mechanism import compute_charge
from privacy.release.plan import Plan
from privacy.release.policy import load_policy
from privacy.release.session import OpenDPNoise
from privacy.release.statement import count_guessed_in_100
from privacy.row_keys import ROW_KEY
from sources.contracts import CONTRACTS
from sources.councils.dialect import CONTRACT_DIALECT
from sources.extract.landing import find
from sources.extract.open import open_extract
from sources.reference.places import PILOT
from sources.synthetic import generate
from tests.support.daily import mark_slow_after

COHORT, COUNCIL = "202425", "leeds"
RELEASES = 4000


def _right(plan: Plan, cells: int) -> float:
    """Return how often the likelihood identifies which of two tables was measured, if they differ by one in `cells`
    cells of every marginal: an added row (one cell) or a changed row (two)."""
    sigmas = np.array(list(plan.sigmas.values())).repeat(cells)
    truth = np.random.default_rng(1).integers(0, 2, RELEASES)
    noise = OpenDPNoise(2 * cells * compute_charge(plan))  # every cell counts as a separate table
    seen = noise.add([truth] * len(sigmas), list(sigmas))
    evidence = sum((noisy - 0.5) / sigma**2 for noisy, sigma in zip(seen, sigmas, strict=True))
    return float(((evidence > 0) == truth).mean())


@pytest.mark.parametrize(
    "family", mark_slow_after(1, ["health", *(family for family in FAMILIES if family != "health")])
)
@pytest.mark.parametrize(
    "cells", [1, pytest.param(2, marks=pytest.mark.slow)], ids=["whether counted", "which category"]
)
def test_an_analyst_who_knows_all_but_one_child_guesses_as_often_as_is_told(family: str, cells: int) -> None:
    plan = plan_family(family, sorted(PILOT), load_policy())
    stated, chance = count_guessed_in_100(cells * plan.rho) / 100, 3.5 * 0.5 / RELEASES**0.5
    assert stated - 0.01 - chance < _right(plan, cells) < stated + chance


@dataclass(frozen=True)
class Own:
    """A council's own rows in file order: tokens made with its keys, tokens as stored, and payload."""

    made: pd.DataFrame
    stored: pd.DataFrame
    payload: pd.DataFrame


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Own:
    root = tmp_path_factory.mktemp("council")
    generate(root / "landing", COHORT, contract_names=True)
    home, keys = Home(root / "home"), KeyRing.create(root / "keys")
    landed = find(root / "landing", COUNCIL, "eyfsp", COHORT)
    taken, contract = Intake(root / "landing", home, keys).ingest(landed), CONTRACTS["eyfsp"]
    of_sent = row_keys.derive_sent_file_keys(keys, *landed.key, "sha")
    tools = make_tools(keys.limit_to_sender(), None, second_keying=False)
    with SenderWriter(root, of_sent, keys.get_public_key("intake"), build_tokens_schema(contract)) as out:
        stream_alone(tools, open_extract(landed, contract, CONTRACT_DIALECT), contract, out)
    of_stored, extract = row_keys.derive_delivery_keys(keys, *landed.key, taken.file_mac), home.get_extract(*landed.key)
    in_order = []
    for table, its_keys in (
        (sealed.open_sealed(out.kept, keys.get_private_key("intake")).read(), of_sent),
        (sealed.open_sealed(extract.tokens, keys.get_private_key("tokens")).read(), of_stored),
        (pq.read_table(extract.pseudonymised), of_stored),
    ):
        rows = table.take(pa.array(np.argsort(its_keys.find_rows(table[ROW_KEY].to_numpy()))))
        in_order.append(rows.drop_columns(ROW_KEY).to_pandas(integer_object_nulls=True))
    return Own(*in_order)


def _tokens(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[[name for name in TOKEN_COLUMNS if name in frame]]


def _looks(tokens: pd.DataFrame) -> np.ndarray:
    """Return each row's appearance to someone who cannot make tokens: which tokens it has, which rows share them, and
    the appearance of those rows."""
    has = tokens.notna()
    looks = pd.util.hash_pandas_object(has, index=False)
    for _ in range(3):
        shared = {name: looks.groupby(tokens[name]).transform("sum").where(has[name], 0) for name in tokens}
        looks = pd.util.hash_pandas_object(pd.DataFrame(shared).assign(own=looks).astype(np.uint64), index=False)
    return looks.to_numpy()


def _named(known: np.ndarray, seen: np.ndarray) -> float:
    """Return the share of rows with a unique appearance, which identifies their known child."""
    alone = ~pd.Series(seen).duplicated(keep=False).to_numpy()
    return float((alone & (known == seen)).mean())


@pytest.mark.slow
def test_what_a_council_makes_with_its_keys_is_not_what_is_stored(own: Own) -> None:
    made, stored = _tokens(own.made), _tokens(own.stored)
    assert len(made) == len(stored) > 8000
    common = [set(made[name].dropna()) & set(stored[name].dropna()) for name in made]
    assert not any(common)


@pytest.mark.slow
def test_a_council_with_the_holder_of_the_linkages_key_names_its_own_rows(own: Own) -> None:
    """It can match rows by the tokens they share, so only the linkage has the key and the files that it opens."""
    assert _named(_looks(_tokens(own.made)), _looks(_tokens(own.stored))) > 0.5


@pytest.mark.slow
def test_a_council_with_a_reader_of_the_restricted_zone_names_its_own_rows(own: Own) -> None:
    """It can match rows by the payload, which both know, so nobody else has access to the zone."""
    looks = pd.util.hash_pandas_object(own.payload.astype(str), index=False).to_numpy()
    assert _named(looks, looks) > 0.3
