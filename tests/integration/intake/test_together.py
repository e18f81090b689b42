"""Extracts that go through one statement together come out as each would alone, its children's rows as row by row."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.pseudonymise import stream_extract
from assets.pseudonymise.split_writer import Scope
from assets.pseudonymise.stream_extract import Tools, Untokenised, make_tools, tokenise, tokenise_all
from privacy import pseudonyms
from privacy.keys import KeyRing
from sources.contracts import CONTRACTS
from sources.councils.council_file import load_council_file
from sources.extract.landed import Landed
from sources.extract.open import open_extract
from tests.support.extracts import row, text

COHORT = "202425"
CHILDREN = st.fixed_dictionaries(
    {
        "surname": st.sampled_from(["Marchbanks", "Okonkwo", ""]),
        "forename": st.sampled_from(["Ada", "Bo"]),
        "date_of_birth": st.sampled_from(["2019-09-04", "2020-02-29", ""]),
        "postcode": st.sampled_from(["LS6 1AA", "L1 1AB", ""]),
        "sex": st.sampled_from(["F", "M"]),
    }
)
EXTRACTS = st.lists(
    st.tuples(
        st.sampled_from(["hv_reviews", "eyfsp", "parent_experience"]),
        st.sampled_from(["leeds", "wirral"]),
        st.lists(CHILDREN, min_size=1, max_size=6),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda extract: extract[:2],
)


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Tools:
    return make_tools(KeyRing.create(tmp_path_factory.mktemp("keys") / "set"), None)


def _read(folder: Path, source: str, council: str, children: list[dict[str, str]]) -> Untokenised:
    said = [row(source) | {name: value for name, value in child.items() if name in row(source)} for child in children]
    path = folder / f"{COHORT}.csv"
    path.write_text(text(said, list(said[0])), encoding="utf-8")
    contract = CONTRACTS[source]
    extract = open_extract(Landed(council, source, COHORT, path), contract, load_council_file(council).dialect(source))
    rows = pa.Table.from_batches(extract.batches, extract.schema)
    return stream_extract._build_request(
        extract, contract, stream_extract._build_projection(extract, contract), rows, stream_extract.WHOLE
    )


@pytest.mark.slow
@given(EXTRACTS)
def test_together_as_each_alone(tools: Tools, extracts: list[tuple[str, str, list[dict[str, str]]]]) -> None:
    with TemporaryDirectory() as folder:
        wanted = [_read(Path(folder), *extract) for extract in extracts]
    together = tokenise_all(tools, wanted)
    for entry, found in zip(wanted, together, strict=True):
        assert found.equals(tokenise_all(tools, [entry])[0])
        if "date_of_birth" in entry.contract:
            row_by_row = Untokenised(entry.contract, entry.sql, entry.rows, Scope(marked=True))
            (marked,) = tokenise(tools, [row_by_row])
            tokens = [name for name in found.column_names if name in pseudonyms.TOKEN_COLUMNS]
            assert tokens
            assert found.select(tokens).equals(marked.select(tokens))
