"""The same work done in the usual way: one script with pandas, Splink on clear text and OpenDP.

`python -m bench.pipeline.usual LANDING OUT`, over extracts with the contract's column names. It reads everything into
memory, links by names, counts with pandas and draws noise for each table separately. It leaves out tokens, rejected
rows and their reports, checks, totals that agree between tables, intervals, a ledger and a bundle.
"""

import sys
from pathlib import Path

import opendp.prelude as dp
import pandas as pd

from bench.linkage.clear_text import clear_text_pairs
from sources.reference.code_lists import GOALS

RHO = 0.185
_GLD = list(GOALS)[:12]  # the goals of a good level of development
_AREAS = [["council"], []]
_BY = ["fsm_eligible", "ethnicity", "sen_provision", "first_language", "imd_quintile", "sex"]


def main(landing: Path, out: Path) -> None:
    children = _read_children(landing)
    people = _read(landing, "hv_reviews")
    reviews = people[people.review == "2-2.5Y"].drop_duplicates(["nhs_number"]).reset_index(drop=True)
    settings = _read(landing, "early_years_census").reset_index(drop=True)
    children["asq3"] = _link(children, reviews.assign(found=_read_asq3(reviews)))
    children["entitled"] = _link(children, settings.assign(found=settings.entitlement.eq("2YO")))
    tables = [[*area, *by, "gld"] for area in _AREAS for by in ([], *([one] for one in _BY), ["asq3"], ["entitled"])]
    scale = (len(tables) / (2 * RHO)) ** 0.5
    for number, columns in enumerate(tables):
        _add_noise(children, columns, scale).to_csv(out / f"table_{number}.csv", index=False)
    print(len(children))


def _read(landing: Path, source: str) -> pd.DataFrame:
    frames = []
    for path in sorted(path for path in landing.glob(f"*/{source}/**/*") if path.is_file()):
        frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, dtype=str)
        frames.append(frame.assign(council=path.relative_to(landing).parts[0]))
    return pd.concat(frames, ignore_index=True)


def _read_children(landing: Path) -> pd.DataFrame:
    """Return one row per pupil, with columns from the school census and the postcode directory."""
    profile = _read(landing, "eyfsp").drop_duplicates("upn", keep="last")
    census = _read(landing, "school_census").drop_duplicates("upn", keep="last")
    joined = profile.merge(census[["upn", *_BY[:4]]], on="upn", how="left")
    directory = pd.read_csv(landing / "reference" / "postcode_directory.csv", dtype=str)
    quintile = (directory.imd_decile.astype(float) + 1) // 2
    joined["imd_quintile"] = joined.postcode.map(dict(zip(directory.postcode, quintile, strict=True)))
    joined["gld"] = joined[_GLD].eq("2").all(axis=1)
    return joined.reset_index(drop=True)


def _read_asq3(reviews: pd.DataFrame) -> pd.Series:
    return reviews.filter(like="asq3_").notna().all(axis=1)


def _link(children: pd.DataFrame, others: pd.DataFrame) -> pd.Series:
    """Return `found` of the row that each child is linked to; missing if there is none."""
    pairs = clear_text_pairs(children, others)
    return pd.Series(others.found.to_numpy()[pairs.right], index=pairs.left).reindex(children.index)


def _add_noise(children: pd.DataFrame, columns: list[str], scale: float) -> pd.DataFrame:
    counts = children.groupby(columns, dropna=False).size().reset_index(name="children")
    space = dp.vector_domain(dp.atom_domain(T=int)), dp.l2_distance(T=float)
    counts["children"] = dp.m.make_gaussian(*space, scale=scale)(counts.children.tolist())
    return counts


if __name__ == "__main__":
    dp.enable_features("contrib")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
