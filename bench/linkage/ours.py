"""Our method: the frames become extracts of two services in a landing folder, and go through intake and linkage."""

import tempfile
from pathlib import Path

import pandas as pd

from assets.home.paths import Home
from assets.intake.ingest import Intake
from assets.linkage.inputs import list_extract_paths, sum_published_children
from assets.linkage.row_numbers import RowNumbers
from assets.linkage.tokens import open_readers
from privacy.keys import KeyRing
from privacy.linkage.link import link
from sources.contracts import CONTRACTS, Kind
from sources.extract.landing import Landed
from tests.support.extracts import make_upn

COHORT, _COUNCIL, _SOURCES = "202425", "leeds", ("eyfsp", "hv_reviews")
_PEOPLE = ("surname", "forename", "sex", "date_of_birth", "postcode")


def find_pairs(left: pd.DataFrame, right: pd.DataFrame) -> pd.DataFrame:
    """Return pairs (left, right: positions) of a Profile row and a review that share a child."""
    with tempfile.TemporaryDirectory() as folder:
        landing, store = Path(folder) / "landing", Home(Path(folder) / "home").get_cohort(COHORT)
        keys = KeyRing.create(Path(folder) / "keys")
        intake = Intake(landing, store.home, keys)
        for source, frame in zip(_SOURCES, (left, right), strict=True):
            for outcome in intake.ingest_all([_write(landing, source, frame)]):
                if isinstance(outcome, Exception):
                    raise outcome
        extracts = {source: list_extract_paths(store, source, [_COUNCIL]) for source in _SOURCES}
        # The size of the council, or of the set if it is larger.
        children = max(sum_published_children([_COUNCIL]), len(left), len(right))
        found = link(open_readers(store, keys, extracts), children=children).links
        links = RowNumbers(store, keys).replace_keys(found).to_pandas()
    a, b = (links[links.source == source] for source in _SOURCES)
    pairs = a.merge(b, on="child_id")
    return pd.DataFrame({"left": pairs.source_row_x - 1, "right": pairs.source_row_y - 1})


def _write(landing: Path, source: str, frame: pd.DataFrame) -> Landed:
    """Write a CSV in contract columns; payload columns hold an arbitrary valid code."""
    rows = {}
    for column in CONTRACTS[source].columns:
        if column.name in _PEOPLE:
            rows[column.name] = frame[column.name].to_numpy() if column.name in frame else None
        elif column.name == "upn":
            rows["upn"] = list(map(make_upn, range(len(frame))))
        elif column.required:
            codes = list(column.codes or ())
            rows[column.name] = codes[-1] if codes else ("2022-05-05" if column.kind is Kind.DATE else "1")
    path = landing / _COUNCIL / source / f"{COHORT}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows, index=range(len(frame))).to_csv(path, index=False)
    return Landed(_COUNCIL, source, COHORT, path)
