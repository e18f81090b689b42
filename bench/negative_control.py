"""Prints the negative control's limits beside the truth, for docs/linkage-report.md.

python -m bench.negative_control
"""

import tempfile
from pathlib import Path

from privacy.keys import KeyRing
from privacy.linkage.link import link
from privacy.linkage.report import NegativeControl
from tests.support.linkage.populations import KINDS, RIGHT_SOURCE, count_false_links, tokenise_frames


def main(children: int = 6_000, seeds: int = 3) -> None:
    """Print one line per population and step."""
    print("| population | seed | step | links | false | limit, 95% | cautious limit |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        keys = KeyRing.create(Path(folder) / "keys")
        for kind in KINDS:
            for seed in range(1, seeds + 1):
                frames = kind(children, seed)
                control = NegativeControl()
                links = link(tokenise_frames(frames, keys), watchers=[control]).links
                for found in control.controls:
                    if found.step not in RIGHT_SOURCE:
                        continue
                    false, _ = count_false_links(frames, links, RIGHT_SOURCE[found.step])
                    said = found.report()
                    print(
                        f"| {kind.__name__.replace('_', ' ')} | {seed} | {found.step} | {found.links:,} | {false}"
                        f" | {said['false_links_at_most']:.1f} | {said['false_links_at_most_cautious']:.1f} |",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
