"""The stress extracts in eight councils and all four sources: accuracy by service, and which groups are found.

    python -m bench.linkage.councils [--children 60000] [--seed 1] [--clear-text]

For pairs of a Profile row and a row of each other source, prints precision, recall, F1 and twins' precision. Also
prints how far apart the shares of children found are between groups of names, among children with a first review. With
--clear-text, prints the same for Splink on the names themselves.
"""

import argparse
import tempfile
from pathlib import Path

import pandas as pd

from bench.linkage.clear_text import clear_text_pairs
from privacy.keys import KeyRing
from privacy.linkage.link import link
from tests.support.linkage import stress
from tests.support.linkage.populations import Frames, tokenise_frames

LEFT = "eyfsp"


def main() -> None:
    options = _read_options()
    frames = stress.draw_extracts(options.children, options.seed)
    people = stress.draw_population(options.children, options.seed).set_index("child")
    pairs = _link(frames)
    for source in (source for source in frames if source != LEFT):
        print(f"{source}: {_format_scores(frames, pairs[source], source, people.twin)}")
    first = frames["hv_reviews"].drop_duplicates("child")
    print(f"shares found differ by {_measure_gap(frames, pairs['hv_reviews'], first, people.group):.4f}")
    if options.clear_text:
        left, right = (frame.assign(date_of_birth=frame.date_of_birth.astype(str)) for frame in (frames[LEFT], first))
        found = clear_text_pairs(left, right)
        both = pd.DataFrame(
            {"child_x": left.child.to_numpy()[found.left], "child_y": right.child.to_numpy()[found.right]}
        )
        print(f"clear text: shares found differ by {_measure_gap(frames, both, first, people.group):.4f}")


def _read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--children", type=int, default=60_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--clear-text", action="store_true")
    return parser.parse_args()


def _link(frames: Frames) -> dict[str, pd.DataFrame]:
    """Return, by source, the pairs of a Profile row and one of that source that share a child_id.

    The columns child_x and child_y are their true children.
    """
    with tempfile.TemporaryDirectory() as folder:
        keys = KeyRing.create(Path(folder) / "keys")
        links = link(tokenise_frames(frames, keys), children=len(frames[LEFT])).links.to_pandas()
    rows = {
        source: links[links.source == source].merge(frame[["council", "row_key", "child"]])
        for source, frame in frames.items()
    }
    return {source: rows[LEFT].merge(found, on="child_id") for source, found in rows.items() if source != LEFT}


def _format_scores(frames: Frames, pairs: pd.DataFrame, source: str, twin: pd.Series) -> str:
    right = pairs.child_x == pairs.child_y
    there = frames[LEFT].child.value_counts()
    precision, recall = right.mean(), right.sum() / frames[source].child.map(there).fillna(0).sum()
    twins = twin.loc[pairs.child_x].to_numpy() | twin.loc[pairs.child_y].to_numpy()
    f1 = 2 * precision * recall / (precision + recall)
    return f"precision {precision:.4f}, recall {recall:.4f}, F1 {f1:.4f}, twins' precision {right[twins].mean():.4f}"


def _measure_gap(frames: Frames, pairs: pd.DataFrame, first: pd.DataFrame, group: pd.Series) -> float:
    """Return the largest difference between groups in the share of Profile children linked to their first review."""
    children = frames[LEFT].child[frames[LEFT].child.isin(first.child)].drop_duplicates()
    found = children.isin(pairs.child_x[pairs.child_x == pairs.child_y])
    shares = found.groupby(group.loc[children].to_numpy()).mean()
    return float(shares.max() - shares.min())


if __name__ == "__main__":
    main()
