"""Measures how many returned facts are right, and how many true facts are withheld, for docs/returns.md.

python -m bench.returns FOLDER --seeds 1 2 3
python -m bench.returns FOLDER --seeds 1 2 3 --before-school
python -m bench.returns FOLDER --seeds 1 2 3 --stress 20000 --slips 3
python -m bench.returns FOLDER --seeds 1 2 3 --frames GECKO    # one folder per seed, by rivals/make_gecko.py
"""

import argparse
from pathlib import Path

import pandas as pd

from sources.reference.places import PILOT
from tests.support.returns.accuracy import BEFORE_SCHOOL, agree, ingest_frames, ingest_stressed, ingest_synthetic, judge
from tests.support.returns.pipeline import TODAY, Pipeline


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    parser.add_argument("--scale", type=float, default=1.0, help="of the eight pilot councils' real size")
    parser.add_argument("--stress", type=int, metavar="CHILDREN", help="stress extracts of so many children instead")
    parser.add_argument("--slips", type=float, default=1.0, help="how many times the usual errors in stress extracts")
    parser.add_argument("--frames", type=Path, help="folder with a folder of frames for each seed, one file a source")
    parser.add_argument("--before-school", action="store_true", help="before schools have sent anything")
    given = parser.parse_args()
    found: dict[tuple[str, str, str], list[tuple[int, int, int]]] = {}
    for seed in given.seeds:
        folder = given.folder / str(seed)
        folder.mkdir(parents=True)
        pipeline = _build_pipeline(folder, seed, given)
        # The disclosure log has the machine's time, so an earlier day can be measured once.
        scopes = (("all eight", True),) if given.before_school else (("own council", False), ("all eight", True))
        for scope, across in scopes:
            agree(pipeline, PILOT, across, BEFORE_SCHOOL if given.before_school else TODAY)
            for source, counts in judge(pipeline, PILOT).items():
                for kind, numbers in counts.items():
                    for of in (source, "all sources"):
                        found.setdefault((scope, kind, of), []).append(numbers)
    print(f"{'tellers':12} {'fact':20} {'receiver':20} {'right':>9} {'wrong':>6} {'% right':>9} {'% of true told':>15}")
    for (scope, kind, of), numbers in sorted(found.items()):
        right, wrong, withheld = map(sum, zip(*numbers, strict=True))
        told, true = max(right + wrong, 1), max(right + withheld, 1)
        print(f"{scope:12} {kind:20} {of:20} {right:9,} {wrong:6} {100 * right / told:9.3f} {100 * right / true:15.1f}")


def _build_pipeline(folder: Path, seed: int, given: argparse.Namespace) -> Pipeline:
    if given.frames:
        files = (given.frames / str(seed)).glob("*.parquet")
        return ingest_frames(folder, {path.stem: pd.read_parquet(path) for path in files})
    if given.stress:
        return ingest_stressed(folder, seed, given.stress, given.slips, before_school=given.before_school)
    return ingest_synthetic(folder, seed, given.scale, before_school=given.before_school)


if __name__ == "__main__":
    main()
