"""Deliveries that should not be released as they are: a council's children that are missing, others' in their place, a
file that nobody reads. Each holds the release before any charge, in a demonstration too."""

import random
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from assets.home.paths import Home
from ndl_export.bundle.verify import verify
from pipelines.cli import main
from pipelines.commands.console import Ending
from privacy.keys import KeyRing
from privacy.release.ledger import Ledger
from sources.synthetic import generate
from tests.support.extracts import COHORT
from tests.support.installation.rig import FIRST, Site
from tests.support.release.people import read_page

pytestmark = pytest.mark.slow

SCALE = 0.03


@pytest.fixture(scope="module")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Eight councils at a small size, which `expected_rows.csv` says, with another drawing beside it."""
    site = Site(tmp_path_factory.mktemp("delivered"))
    generate(site.landing, COHORT, scale=SCALE)
    generate(site.root / "other" / "landing", COHORT, scale=SCALE, seed=5)
    KeyRing.create(site.root / "keys", demonstration=True)
    return site


@pytest.fixture(scope="module")
def linked(delivered: Site, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The same, taken in and linked."""
    site = delivered.copy(tmp_path_factory.mktemp("linked") / "site")
    assert site.run("--until", "linkage").code == 0
    return site


def extract(site: Site, council: str, source: str) -> Path:
    (path,) = (site.landing / council / source).glob(f"{COHORT}.*")
    return path


def keep(path: Path, share: float) -> None:
    head, *rows = path.read_bytes().splitlines(keepends=True)
    kept = random.Random(3).sample(range(len(rows)), round(share * len(rows)))
    path.write_bytes(b"".join([head, *(rows[number] for number in sorted(kept))]))


def accept(site: Site, *names: str) -> int:
    options = [option for name in names for option in ("--hold", name)]
    key = str(site.root / "keys" / "demo-approver.pem")
    asked = ["accept", "--home", str(site.home), "--cohort", COHORT]
    page = read_page(CliRunner().invoke(main, asked).output)
    return CliRunner().invoke(main, [*asked, *options, "--reason", "So it is.", *page, "--key", key]).exit_code


def test_first_deliveries_that_are_not_whole_hold_the_release(delivered: Site, tmp_path: Path) -> None:
    site = delivered.copy(tmp_path / "site")
    keep(extract(site, "wirral", "eyfsp"), 0.6)
    keep(extract(site, "wirral", "hv_reviews"), 0.5)
    unread = extract(site, "sefton", "hv_reviews")
    unread.rename(unread.with_name("2026-05.xyz"))
    names = (
        "wirral/eyfsp/rows-far-from-expected",
        "wirral/hv_reviews/rows-far-from-other-councils",
        "sefton/hv_reviews/not-read",
    )
    held = site.run()
    assert held.code == Ending.HOLD
    assert [name for name in names if name not in held.sentence] == []
    assert Ledger(site.ledger).list_entries() == []
    assert not (site.release / FIRST).exists()
    assert accept(site, *names[1:]) == 0
    held = site.run()
    assert (held.code, names[0] in held.sentence) == (Ending.HOLD, True)
    assert accept(site, names[0]) == 0
    assert site.run().code == 0
    assert verify(site.release / FIRST).ok


def test_other_children_in_place_of_a_councils_hold_the_release(linked: Site, tmp_path: Path) -> None:
    site = linked.copy(tmp_path / "site")
    path = extract(site, "wirral", "eyfsp")
    shutil.copy(site.root / "other" / "landing" / "wirral" / "eyfsp" / path.name, path)
    held = site.run()
    assert held.code == Ending.HOLD
    assert "wirral/eyfsp/other-children-than-before" in held.sentence
    assert "few of the children" in held.sentence


def test_a_correction_of_a_few_rows_and_a_repeat_are_not_held(linked: Site, tmp_path: Path) -> None:
    site = linked.copy(tmp_path / "site")
    keep(extract(site, "wirral", "eyfsp"), 0.97)
    assert site.run().code == 0
    assert site.run().code == 0
    assert list(Home(site.home).restricted.glob("linked/*/replaced.json"))
