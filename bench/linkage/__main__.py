"""`make bench-linkage`: accuracy, time and memory of every method on every set, written to docs/bench-linkage.md.

    python -m bench.linkage FOLDER ... [--only SET ...] [--methods METHOD ...] [--children N] [--page FILE]

FOLDERs hold sets as `sets` reads them; the stress set is generated here. Without --page the table is only printed.
"""

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bench import pages
from bench.linkage.methods import METHODS, Result, run
from bench.linkage.sets import TwoFiles, load_all, make_stress_set

CHILDREN = 60_000
_PINS = {"recordlinkage": ("recordlinkage",), "anonlink": ("clkhash", "anonlink"), "pseudopeople": ("pseudopeople",)}
_RIVALS = Path(__file__).parent / "rivals"


def main() -> None:
    options = _read_options()
    rows = []
    for two in _find_sets(options):
        for name in options.methods:
            with tempfile.TemporaryDirectory() as scratch:
                result = run(METHODS[name], two, options.environments, Path(scratch))
            rows.append(_Row(two, METHODS[name].title, result))
            print(_describe_run(rows[-1]), flush=True)
    if options.page:
        options.page.write_text(_render_page(rows), encoding="utf-8")


def _find_sets(options: argparse.Namespace) -> list[TwoFiles]:
    """Return the sets by name; if a name occurs twice, the first one counts."""
    found: dict[str, TwoFiles] = {}
    for folder in options.folders:
        for two in load_all(folder):
            found.setdefault(two.name, two)
    made = make_stress_set(options.children)
    found[made.name] = made
    return [two for name, two in found.items() if not options.only or name in options.only]


def _read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--only", nargs="+", metavar="SET", help="these sets alone")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--children", type=int, default=CHILDREN, help="size of the stress set")
    parser.add_argument("--environments", type=Path, default=Path(".bench"), help="folder of the rivals' environments")
    parser.add_argument("--page", type=Path, help="write the page here")
    return parser.parse_args()


@dataclass(frozen=True)
class _Row:
    two: TwoFiles
    method: str
    result: Result


def _describe_run(row: _Row) -> str:
    """Return a line about one run, shown while the benchmark works."""
    r = row.result
    return f"{row.two.name}, {row.method}: precision {r.precision:.4f}, recall {r.recall:.4f}, F1 {r.f1:.4f}"


def _render_page(rows: list[_Row]) -> str:
    """Return the page: a row for each set, with full results of this pipeline and the F1 of every other method."""
    by_set: dict[str, dict[str, _Row]] = {}
    for row in rows:
        by_set.setdefault(row.two.name, {})[row.method] = row
    return pages.render(
        Path(__file__).with_name("page.md.j2"),
        rivals=_list_pinned(),
        methods=list(dict.fromkeys(row.method for row in rows)),
        sets=by_set,
        twins=[row for row in rows if row.result.twins_precision],
    )


def _list_pinned() -> list[str]:
    """Return the pinned versions of the rivals and of the generator of sets."""
    found = []
    for environment, packages in _PINS.items():
        pins = dict(
            pin.split("==") for pin in (_RIVALS / f"{environment}.txt").read_text().splitlines() if pin.count("==") == 1
        )
        found += [f"{package} {pins[package]}" for package in packages]
    return found


if __name__ == "__main__":
    main()
