"""A small linked home folder, built from tokens and payload without an intake."""

import json
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from assets.home.paths import Home
from assets.linkage.link import link_cohort
from assets.linkage.report import coarsen_facts
from assets.pseudonymise.split_writer import SplitWriter
from privacy import normalise, pseudonyms
from privacy.doors.files import promote, write_json
from privacy.keys import KeyRing
from privacy.row_keys import derive_delivery_keys
from sources.contracts import CONTRACTS, Kind, Role
from sources.reference.code_lists import GOALS
from tests.support.linkage.populations import Frames, draw_plain, tokenise_frames
from tests.support.release.homes import build_quality, make_home_once

COHORT = "202425"
CHILDREN = 1_500
_FACTS = "facts.json"
_TYPES = {Kind.TEXT: pa.string(), Kind.CODE: pa.string(), Kind.DATE: pa.date32(), Kind.DECIMAL: pa.float64()}


@pytest.fixture(scope="session")
def frames() -> Frames:
    return draw_plain(CHILDREN, seed=5)


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory, frames: Frames, keys: KeyRing) -> Home:
    """Return a linked home with its report; read-only. A copy, because explaining a link writes to the log."""
    return make_home_once(tmp_path_factory, "linked", lambda folder: _make(Home(folder), frames, keys))


def _make(made: Home, frames: Frames, keys: KeyRing) -> None:
    rng = np.random.default_rng(1)
    made_under = {
        "keys": keys.fingerprints,
        "pseudonyms": pseudonyms.PSEUDONYM_VERSION,
        "normaliser": normalise.NORMALISER_VERSION,
    }
    for source, tokens in tokenise_frames(frames, keys).items():
        table = add_payload(source, tokens, rng)
        table = table.rename_columns(["source_row" if name == "row_key" else name for name in table.column_names])
        for council in table["council"].unique().to_pylist():
            _write(made, source, council, table.filter(pa.compute.equal(table["council"], council)), keys)
            quality = replace(build_quality(council, source, mac=""), made_under=made_under)
            write_json(made.get_extract(source, COHORT, council).quality, asdict(quality))

    def keep_exact(exact: dict[str, Any]) -> dict[str, Any]:
        (made.root / _FACTS).write_text(json.dumps(exact), encoding="utf-8")
        return coarsen_facts(exact)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("assets.linkage.link.coarsen_facts", keep_exact)
        link_cohort(made.get_cohort(COHORT), sorted(frames["eyfsp"].council.unique()), keys)


@pytest.fixture(scope="session")
def facts(home: Home) -> dict[str, Any]:
    """Return the exact counts behind the report."""
    return json.loads((home.root / _FACTS).read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def page(home: Home) -> str:
    return home.get_cohort(COHORT).linkage_report.with_suffix(".html").read_text(encoding="utf-8")


def _write(home: Home, source: str, council: str, rows: pa.Table, keys: KeyRing) -> None:
    """Write payload and tokens to separate files, as an intake does."""
    row_keys = derive_delivery_keys(keys, source, COHORT, council, "")
    with home.open_staging() as staging:
        tokens, store = keys.get_public_key("tokens"), home.get_extract(source, COHORT, council)
        with SplitWriter(staging, row_keys, tokens, {}, lambda table: np.zeros(len(table), bool)) as out:
            out.write(rows)
        assert out.tokens
        promote(out.kept, store.pseudonymised)
        promote(out.tokens, store.tokens)


def add_payload(source: str, tokens: pa.Table, rng: np.random.Generator) -> pa.Table:
    """Add random values for columns used by the child table; the rest are missing."""
    size = tokens.num_rows
    chosen: dict[str, Any] = {
        **{goal: rng.choice(["1", "2"], size, p=[0.1, 0.9]) for goal in GOALS},
        "fsm_eligible": rng.choice(["Y", "N"], size),
        "ethnicity": rng.choice(["WBRI", "APKN"], size),
        "sen_provision": rng.choice(["N", "K"], size),
        "review": np.full(size, "2-2.5Y"),
        "entitlement": rng.choice(["2YO", "UNI"], size),
    }
    for column in CONTRACTS[source].select_role(Role.PAYLOAD):
        if column.name not in tokens.column_names:
            kind = _TYPES.get(column.kind, pa.int32())
            values = pa.array(chosen[column.name]) if column.name in chosen else pa.nulls(size, kind)
            tokens = tokens.append_column(column.name, values)
    for derived in CONTRACTS[source].derived:
        kind = _TYPES.get(derived.kind, pa.int32())
        tokens = tokens.append_column(derived.name, pa.array(rng.choice(derived.groups, size)).cast(kind))
    return tokens
