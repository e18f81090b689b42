"""Measures what one council with the linkage's key learns about other councils' children, for docs/linkage.md.

    python -m bench.one_council FOLDER --seeds 1 2 3
    python -m bench.one_council FOLDER --seeds 1 2 3 --stress 24000

The extracts are those of `readiness synth`. The council knows the dates of birth of its own Profile children. A child
of another council that shares a token of a date with one of them was mostly born on the same day. The F1 of the linkage
without these tokens is printed as well.
"""

import argparse
import tempfile
from pathlib import Path

import pandas as pd
import pyarrow as pa

from privacy import pseudonyms
from privacy.keys import KeyRing
from privacy.linkage.link import link
from privacy.services import SERVICES
from sources.synthetic import generate
from tests.support.linkage import stress
from tests.support.linkage.populations import tokenise_frames

COHORT, SCALE, COUNCIL = "202425", 0.3, "leeds"
OF_DATES = [
    token
    for token in pseudonyms.TOKENS
    if token.name in pseudonyms.TOKEN_COLUMNS and any("n_dob" in part for part in token.components)
]
KINDS = {
    "forename and date": lambda name: name.startswith("t_forename") and name.endswith("_dob"),
    "surname and date": lambda name: name.startswith("t_surname") and name.endswith("_dob"),
    "all but start, end and sound of a forename and date": lambda name: (
        name not in ("t_forename_start_dob", "t_forename_end_dob", "t_forename_sound_dob")
    ),
    "start, end or sound of a forename and date": lambda name: (
        name in ("t_forename_start_dob", "t_forename_end_dob", "t_forename_sound_dob")
    ),
    "date and outward part": lambda name: name == "t_dob_outward",
    "all": lambda name: True,
}


def measure_named(rows: pd.DataFrame, tokens: list[pseudonyms.TokenColumn]) -> float:
    """Return the share of the other councils' children whose date is identified exactly by tokens shared with the
    council."""
    own = rows.council == COUNCIL
    votes = []
    for token in tokens:
        values = pd.DataFrame(
            {"value": strip_bands(rows[token.name], token), "born": rows.date_of_birth, "row": rows.index}
        )
        known = values[own].groupby("value").born.agg(lambda dates: dates.mode().iloc[0]).rename("guess")
        votes.append(values[~own].dropna().merge(known, on="value")[["row", "guess"]])
    found = pd.concat(votes).groupby("row").guess.agg(lambda dates: dates.mode().iloc[0])
    return float((rows.date_of_birth.loc[found.index] == found).sum() / (~own).sum())


def strip_bands(values: pd.Series, token: pseudonyms.TokenColumn) -> pd.Series:
    """Return tokens without the bands in their last bits."""
    return values // 2 ** (pseudonyms.BAND_BITS * len(token.bands))


def read_extracts(folder: Path, seed: int) -> dict[str, pd.DataFrame]:
    """Return frames in contract columns by source, with council, row_key and child."""
    generate(folder / "landing", COHORT, scale=SCALE, seed=seed, contract_names=True)
    truth = pd.read_parquet(folder / "truth.parquet").rename(columns={"source_row": "row_key", "person_id": "child"})
    frames = {}
    for source in SERVICES:
        files = sorted((folder / "landing").glob(f"*/{source}/{COHORT}.csv"))
        sent = [pd.read_csv(file, dtype=str).assign(council=file.parent.parent.name) for file in files]
        rows = pd.concat([frame.assign(row_key=range(1, len(frame) + 1)) for frame in sent], ignore_index=True)
        rows["date_of_birth"] = pd.to_datetime(rows.date_of_birth, errors="coerce")
        of_source = truth[truth.source == source][["council", "row_key", "child"]]
        frames[source] = rows.merge(of_source, on=["council", "row_key"])
    return frames


def compute_f1(frames: dict[str, pd.DataFrame], tokens: dict[str, pa.Table], without: list[str]) -> float:
    """Return the F1 of the pairs of a Profile row with a review, and with a nursery's row."""
    kept = {
        source: table.select([name for name in table.column_names if name not in without])
        for source, table in tokens.items()
    }
    links = link(kept).links.to_pandas()[["source", "council", "row_key", "child_id"]]
    truth = pd.concat([frame.assign(source=source) for source, frame in frames.items()])
    rows = links.merge(truth, on=["source", "council", "row_key"])[["source", "child", "child_id"]]
    left = rows[rows.source == "eyfsp"]
    right = rows[rows.source.isin(["hv_reviews", "early_years_census"])]
    said, true = (len(left.merge(right, on=by)) for by in ("child_id", "child"))
    both = len(left.merge(right, on=["child_id", "child"]))
    return 2 * both / (said + true)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    parser.add_argument("--stress", type=int, metavar="CHILDREN", help="stress extracts of so many children instead")
    given = parser.parse_args()
    for seed in given.seeds:
        frames = (
            stress.draw_extracts(given.stress, seed) if given.stress else read_extracts(given.folder / str(seed), seed)
        )
        with tempfile.TemporaryDirectory() as folder:
            tokens = tokenise_frames(frames, KeyRing.create(Path(folder) / "keys"))
        profile = tokens["eyfsp"].to_pandas(types_mapper={pa.uint64(): pd.UInt64Dtype()}.get)
        rows = profile.merge(frames["eyfsp"][["council", "row_key", "date_of_birth"]], on=["council", "row_key"])
        for kind, of_kind in KINDS.items():
            chosen = [token for token in OF_DATES if of_kind(token.name) and token.name in rows]
            lost = (
                ""
                if kind.startswith("all")
                else f", F1 without {compute_f1(frames, tokens, [t.name for t in chosen]):.4f}"
            )
            print(f"seed {seed}: {kind}: {measure_named(rows, chosen):.1%} of dates named{lost}", flush=True)
        print(f"seed {seed}: F1 {compute_f1(frames, tokens, []):.4f}", flush=True)


if __name__ == "__main__":
    main()
