"""`make bench-linkage`: accuracy, time and memory of every method on every set, written to docs/bench-linkage.md.

    python -m bench.linkage FOLDER ... [--only SET ...] [--methods METHOD ...] [--children N] [--page FILE]

FOLDERs hold sets as `sets` reads them; the stress set is generated here. Without --page the table is only printed.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from bench.linkage import page
from bench.linkage.methods import METHODS, run
from bench.linkage.sets import TwoFiles, load_all
from bench.linkage.stress_set import stress_set

CHILDREN = 60_000


def main() -> None:
    options = _options()
    rows = []
    for two in _sets(options):
        for name in options.methods:
            with tempfile.TemporaryDirectory() as scratch:
                result = run(METHODS[name], two, options.environments, Path(scratch))
            rows.append(page.Row(two, METHODS[name].title, result))
            print(page.line(rows[-1]), flush=True)
    if options.page:
        options.page.write_text(page.text(rows), encoding="utf-8")


def _sets(options: argparse.Namespace) -> list[TwoFiles]:
    """Return the sets by name; if a name occurs twice, the first one counts."""
    found: dict[str, TwoFiles] = {}
    for folder in options.folders:
        for two in load_all(folder):
            found.setdefault(two.name, two)
    made = stress_set(options.children)
    found[made.name] = made
    return [two for name, two in found.items() if not options.only or name in options.only]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--only", nargs="+", metavar="SET", help="these sets alone")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--children", type=int, default=CHILDREN, help="size of the stress set")
    parser.add_argument("--environments", type=Path, default=Path(".bench"), help="folder of the rivals' environments")
    parser.add_argument("--page", type=Path, help="write the page here")
    return parser.parse_args()


if __name__ == "__main__":
    main()
