"""`make bench`: measures the whole pipeline and writes docs/benchmark.md.

    python -m bench.pipeline [--england] [--scales 1 5 25] [--extract-rows 5000000] [--page docs/benchmark.md]

Measures the main job by stage, the floor, the usual script, extracts in parts and of several cohorts, growth, and the
intake of one large extract. Extracts use the contract's column names, so that all methods read the same files. Each
command runs in its own process.
"""

import argparse
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from bench import pages
from bench.pipeline import extract, layouts
from bench.pipeline.commands import READINESS, Measured, measure_folders, watch
from privacy.keys import KeyRing
from sources.extract.landing import mark_as_synthetic

COHORT, EARLIER, RELEASE = "202425", "202324", "2026.11.0"
PAGE = Path(__file__).parent.parent.parent / "docs" / "benchmark.md"
_MOST_GIB = 20.0
"""Memory limit for the usual script's data: beyond that it would take the machine down with it."""


@dataclass(frozen=True)
class Size:
    """The measurements at one size: `rows` landed; `stored` is GiB by folder of the home after one release."""

    name: str
    rows: int
    synth: Measured
    floor: Measured
    usual: Measured
    whole: Measured
    stages: list[Measured]
    again: Measured | None
    verified: Measured | None
    corrected: Measured | None
    stored: dict[str, float]
    as_sent: list[Measured]
    """Measured to the children's tables: the same rows in parts, and beside those of another cohort."""

    @property
    def title(self) -> str:
        return (
            "England, 153 councils" if self.name == "England" else f"Eight pilot councils, {self.name} times their size"
        )


def main() -> None:
    options = _read_options()
    sizes = [
        _measure_size(
            f"{scale:g}", ["--scale", f"{scale:g}"], full=scale == options.scales[0], as_sent=scale == options.scales[0]
        )
        for scale in options.scales
    ]
    if options.england:
        sizes.append(_measure_size("England", ["--england", "--scale", f"{options.england:g}"], full=True))
    start = watch("readiness --help", [READINESS, "--help"], Path(tempfile.gettempdir()) / "readiness-help.txt")[0]
    large = [Measured(*way) for way in extract.measure(options.extract_rows)]
    page = pages.render(
        Path(__file__).with_name("page.md.j2"),
        arguments=_drop_page_option(sys.argv[1:]),
        sizes=sizes,
        start=start,
        large=large,
        large_rows=options.extract_rows,
    )
    options.page.write_text(page, encoding="utf-8")


def _drop_page_option(arguments: list[str]) -> list[str]:
    """Return the arguments without the option that says where the page goes."""
    at = arguments.index("--page") if "--page" in arguments else len(arguments)
    return arguments[:at] + arguments[at + 2 :]


def _read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--scales", type=float, nargs="+", default=[1, 5, 25], help="times the children of the pilot")
    parser.add_argument("--england", type=float, nargs="?", const=1.0, help="153 councils as well, at this scale")
    parser.add_argument("--extract-rows", type=int, default=5_000_000)
    parser.add_argument("--page", type=Path, default=PAGE)
    return parser.parse_args()


def _measure_size(name: str, of: list[str], *, full: bool, as_sent: bool = False) -> Size:
    """Measure one size of landing folder: floor, usual script and main job.

    If `full`, also measures an unchanged run, `verify` and a correction; if `as_sent`, also the same rows in parts, and
    beside those of another cohort.
    """
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        KeyRing.create(root / "keys", demonstration=True)
        landing, log = ["--landing", str(root / "landing"), "--cohort", COHORT], root / "output.txt"
        synth, _ = watch("synthetic extracts", [READINESS, "synth", *landing, *of, "--contract-names"], log)
        floor = _measure_script("floor", "floor", root / "landing", root)
        usual = _measure_script("the usual script", "usual", root / "landing", root, most_gib=_MOST_GIB)
        run = [READINESS, "run", *landing, "--home", str(root / "home"), "--keys", str(root / "keys")]
        run += ["--release", RELEASE]
        whole, stages = watch("landing to bundle and database", run, log)
        again = verified = corrected = None
        if full:
            again, _ = watch("the same again, nothing changed", run, log)
            bundle = str(root / "home" / "release" / RELEASE)
            verified, _ = watch("verify the bundle", [READINESS, "verify", bundle], log)
        held = measure_folders(root / "home")
        sent = [*_measure_parts(root), *_measure_several_cohorts(root, of)] if as_sent else []
        if full:
            _correct(root / "landing")
            corrected, _ = watch("one extract corrected, to the children's tables", [*run, "--until", "linkage"], log)
        return Size(name, floor.rows, synth, floor, usual, whole, stages, again, verified, corrected, held, sent)


def _measure_parts(root: Path) -> list[Measured]:
    """Measure twelve monthly files of each extract: eleven and then the twelfth; all at once; and the usual script."""
    parts, later = root / "parts", root / "later"
    later.mkdir()
    last = layouts.split_by_month(root / "landing", COHORT, parts)
    for number, path in enumerate(last):
        path.rename(later / str(number))
    eleven = _measure_link("eleven monthly parts of each extract", root, parts, "eleven")
    for number, path in enumerate(last):
        (later / str(number)).rename(path)
    twelfth = _measure_link("- and the twelfth", root, parts, "eleven")
    return [
        _measure_link("whole files", root, root / "landing", "whole"),
        eleven,
        twelfth,
        _measure_link("twelve monthly parts of each, found at once", root, parts, "twelve"),
        _measure_script("the usual script, all of it, over the twelve parts", "usual", parts, root, most_gib=_MOST_GIB),
    ]


def _measure_several_cohorts(root: Path, of: list[str]) -> list[Measured]:
    """Measure files of one council and source that each hold two cohorts."""
    other = ["--landing", str(root / "earlier"), "--cohort", EARLIER]
    watch("synthetic extracts", [READINESS, "synth", *other, *of, "--contract-names"], root / "output.txt")
    layouts.merge_cohorts([root / "landing", root / "earlier"], COHORT, root / "several")
    first = _measure_link("files of two cohorts each, for one of them", root, root / "several", "several")
    return [first, _measure_link("- and for the other", root, root / "several", "several", EARLIER)]


def _measure_link(what: str, root: Path, landing: Path, home: str, cohort: str = COHORT) -> Measured:
    """Measure a run from landing to the children's tables, in a separate home folder."""
    run = [READINESS, "run", "--landing", str(landing), "--cohort", cohort, "--home", str(root / f"home-{home}")]
    return watch(what, [*run, "--keys", str(root / "keys"), "--until", "linkage"], root / "output.txt")[0]


def _correct(landing: Path) -> None:
    """Send the EYFS Profile of one council again, with one row in a hundred removed."""
    extract = landing / "leeds" / "eyfsp" / f"{COHORT}.csv"
    lines = extract.read_text(encoding="utf-8").splitlines(keepends=True)
    extract.write_text("".join(line for number, line in enumerate(lines) if number % 100 != 50), encoding="utf-8")
    mark_as_synthetic(landing, [extract])


def _measure_script(what: str, module: str, landing: Path, root: Path, most_gib: float | None = None) -> Measured:
    out = Path(tempfile.mkdtemp(dir=root))
    command = [sys.executable, "-W", "ignore", "-m", f"bench.pipeline.{module}", str(landing), str(out)]
    found, _ = watch(what, command, root / "output.txt", most_gib=most_gib)
    rows = 0 if found.failed else int((root / "output.txt").read_text(encoding="utf-8").split()[-1])
    return replace(found, rows=rows)


if __name__ == "__main__":
    main()
