"""The pictures of README and documentation, made from a finished demonstration: `make pictures`.

Chromium takes those of the pages and of Dagster's UI; the chart of accuracy is drawn from the analyst database.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import duckdb
import matplotlib.pyplot as plt
import numpy as np
from playwright.sync_api import Page

from sources.reference.cohorts import list_open_cohorts
from tests.support.browser import start_browser

FOLDER = Path(__file__).parent
TUTORIAL = FOLDER.parent / "tutorials/concern.md"
READINESS = Path(sys.executable).with_name("readiness")
CHANCE = "chance: how far a rate moves from one year's children to the next"
NOISE = "noise: what protects the children of this year"
OPENED = ("global@global:linkage", "global@global:release")
"""Groups of assets that are shown with what is in them."""
BROKEN = "leeds/eyfsp"
"""The extract of which the picture of a quality report is taken, with half of its rows left out."""
RATES = """
    SELECT children_count, (gld_children_percent_upper_ci - gld_children_percent_lower_ci) / 2 AS half_width,
           gld_children_percent AS rate
    FROM latest.gld_headline WHERE gld_children_percent IS NOT NULL
"""


def take_release_page(page: Page, home: Path) -> None:
    page.goto((home / "release/site/index.html").resolve().as_uri())
    page.screenshot(path=FOLDER / "release-page.png")


def take_quality_report(page: Page, demo: Path) -> None:
    """The page that a council gets whose extract came with half of its rows."""
    apart = make_empty_folder(demo / "pictures/quality")
    council, source = BROKEN.split("/")
    extract = next((demo / "landing" / BROKEN).glob("*.csv"))
    landed = apart / "landing" / BROKEN / extract.name
    landed.parent.mkdir(parents=True)
    shutil.copytree(demo / "landing/reference", apart / "landing/reference")
    lines = extract.read_text(encoding="utf-8").splitlines(keepends=True)
    landed.write_text("".join(lines[: len(lines) // 2]), encoding="utf-8")
    where = ("--landing", apart / "landing", "--home", apart / "home")
    run_readiness("run", *where, "--cohort", extract.stem, "--until", "intake")
    report = apart / "home/restricted/reports" / f"cohort={extract.stem}" / council / f"{source}.html"
    page.goto(report.resolve().as_uri())
    page.screenshot(path=FOLDER / "quality-report.png")


def take_lead_time(page: Page, home: Path) -> None:
    """Take the figures on how long before school a service had recorded a concern."""
    page.goto((home / "release/site/joined-dots.html").resolve().as_uri())
    page.locator("#lead-time").scroll_into_view_if_needed()
    page.locator("section:has(#lead-time)").screenshot(path=FOLDER / "lead-time.png")


def take_return(page: Page, demo: Path) -> None:
    """Take the page that nurseries open in the tutorial about a health visitor's concern."""
    apart = make_empty_folder(demo / "pictures/return")
    blocks = re.findall(r"```bash\n(.*?)```", TUTORIAL.read_text(encoding="utf-8"), re.DOTALL)
    path = f"{READINESS.parent}:{os.environ['PATH']}"
    script = "\n".join(blocks)
    subprocess.run(["bash", "-ec", script], check=True, cwd=apart, env=os.environ | {"PATH": path}, capture_output=True)
    (opened,) = (apart / "concern/nursery").glob("*.html")
    page.goto(opened.resolve().as_uri())
    page.screenshot(path=FOLDER / "return.png")


def take_timeline(page: Page, demo: Path) -> None:
    """Take what one council has sent about each cohort from birth to Reception, all of it taken in."""
    apart, today = make_empty_folder(demo / "pictures/timeline"), dt.date.today()
    cohorts = [cohort.code for cohort in list_open_cohorts(today)]
    landing, home = ("--landing", apart / "landing"), ("--home", apart / "home")
    drawn = ("--cohort", cohorts[0], "--as-of", str(today), "--open-cohorts", str(len(cohorts)), "--scale", "0.1")
    run_readiness("synth", *landing, *drawn, "--yes")
    os.environ["READINESS_COUNCILS"] = str(apart / "councils")
    for council in (apart / "landing").iterdir():
        if council.name not in ("halton", "reference"):
            shutil.rmtree(council)
    for cohort in cohorts:
        run_readiness("run", *landing, *home, "--cohort", cohort, "--until", "linkage", "--create-keys")
    shown = apart / "timeline.html"
    run_readiness("status", *landing, *home, "--timeline", "--html", shown)
    page.goto(shown.resolve().as_uri())
    page.screenshot(path=FOLDER / "timeline.png", full_page=True)


def make_empty_folder(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def take_asset_graph(page: Page, demo: Path) -> None:
    with serve_dagster(demo) as address:
        page.goto(f"{address}/asset-groups?expanded={quote(','.join(OPENED))}")
        page.get_by_text("analyst_database").wait_for()
        page.get_by_role("button", name="Hide navigation").click()
        page.wait_for_timeout(3_000)
        page.screenshot(path=FOLDER / "asset-graph.png", clip={"x": 380, "y": 285, "width": 930, "height": 370})


def draw_accuracy(home: Path) -> None:
    """How wide the intervals of published rates are, beside how far the same rates move by chance from year to year."""
    with duckdb.connect(str(home / "release/readiness.duckdb"), read_only=True) as database:
        rates = database.sql(RATES).df()
    children = np.geomspace(rates["children_count"].min(), rates["children_count"].max(), 200)
    share = rates["rate"].median() / 100
    figure, axes = plt.subplots(figsize=(8, 4.5), dpi=140, layout="constrained")
    axes.plot(children, 196 * np.sqrt(share * (1 - share) / children), color="#b58105", label=CHANCE)
    axes.scatter(rates["children_count"], rates["half_width"], s=14, color="#1d70b8", label=NOISE)
    axes.set(xscale="log", xlabel="Children in the group", ylabel="95% interval, ± percentage points", ylim=(0, None))
    axes.set_xticks([100, 300, 1_000, 3_000, 10_000], ["100", "300", "1,000", "3,000", "10,000"])
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(FOLDER / "accuracy.png")


def run_readiness(*words: str | Path) -> None:
    subprocess.run([READINESS, *map(str, words)], check=False, stdout=subprocess.DEVNULL)


@contextmanager
def serve_dagster(demo: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ("ui", "--home", demo / "home", "--landing", demo / "landing", "--port", str(port))
    server = subprocess.Popen([READINESS, *map(str, words)], stdout=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until_served(address)
        yield address
    finally:
        server.terminate()
        server.wait()


def wait_until_served(address: str, seconds: int = 120) -> None:
    for _ in range(seconds):
        try:
            urllib.request.urlopen(address)
            return
        except OSError:
            time.sleep(1)
    raise TimeoutError(f"nothing answers at {address}")


def main(demo: Path) -> None:
    with start_browser() as browser:
        page = browser.new_page(viewport={"width": 900, "height": 1_800})
        take_release_page(page, demo / "home")
        take_quality_report(page, demo)
        take_lead_time(page, demo / "home")
        take_return(browser.new_page(viewport={"width": 1000, "height": 1_000}), demo)
        take_timeline(browser.new_page(viewport={"width": 1000, "height": 600}), demo)
        take_asset_graph(browser.new_page(viewport={"width": 1500, "height": 900}, device_scale_factor=1.5), demo)
    draw_accuracy(demo / "home")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
