"""The tutorials, typed as they stand by somebody who has run `make demo`."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from privacy.doors import clock
from tests.support import PROJECT, get_environment_without_settings
from tests.support.installation.shell import replace_command

pytestmark = pytest.mark.slow

TUTORIALS = PROJECT / "docs" / "tutorials"
ENDS_WITH = re.compile(r"^(?P<command>.*?)\s+# exit status: (?P<status>\d)$", re.MULTILINE)


def shown(language: str, *pages: str) -> str:
    """What the pages show of a language, one block after the other."""
    text = "\n".join((TUTORIALS / page).read_text(encoding="utf-8") for page in pages)
    return "\n".join(re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL))


def typed(folder: Path, *pages: str) -> str:
    """What the commands of the pages print; each must end as the page says, with 0 where it says nothing."""
    commands = ENDS_WITH.sub(r'status=0; \g<command> || status=$?; test "$status" = \g<status>', shown("bash", *pages))
    # the shell's days are those of the tests' clock
    commands = f'date() {{ command date --date="{clock.today()} ${{2:-}}" "${{@: -1}}"; }}\n{commands}'
    inherited = get_environment_without_settings()
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=folder,
        env={**inherited, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def folder(demonstration: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project's folder in which `make demo` was run."""
    folder = Path(shutil.copytree(demonstration, tmp_path_factory.mktemp("tutorials") / "project", symlinks=True))
    with replace_command(folder / ".venv"):
        yield folder


def test_an_engineer_and_a_lead(folder: Path) -> None:
    said = typed(folder, "data-engineer.md", "lead.md")
    assert "Bundle, verified" in said
    assert len(list((folder / "first/home/release").glob("*.zip"))) == 1
    assert len(list((folder / "first/home/restricted/decisions").glob("*.html"))) == 2


def test_an_officer(folder: Path) -> None:
    said = typed(folder, "officer.md")
    assert "The intake would take this file." in said
    assert "No --postcode-directory" not in said, "then the results would not be the same, as the page says"
    sent = (folder / "officer/to-send/202425.tokens.parquet").read_bytes()
    names = {line.split("\t")[5] for line in (folder / "officer/profile.csv").read_text().splitlines()[1:200]}
    assert not [name for name in names if len(name) > 4 and name.encode() in sent]


def test_a_concern(folder: Path) -> None:
    said = typed(folder, "concern.md")
    assert "made for Nurseries, encrypted to its key" in said
    assert "recorded a concern" in said
    (receipt,) = (folder / "concern/health").glob("*-told-whom.csv")
    assert "leeds/settings" in receipt.read_text(encoding="utf-8")


def test_an_analyst(folder: Path) -> None:
    with duckdb.connect(str(folder / "demo/home/release/readiness.duckdb"), read_only=True) as database:
        answers = [database.sql(query) for query in filter(str.strip, shown("sql", "analyst.md").split(";"))]
        assert len(answers) >= 10
        assert all(len(answer.fetchall()) for answer in answers)


def test_somebody_who_follows_a_figure_through_the_code(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    page = "../where-a-figure-comes-from.md"
    with duckdb.connect() as database:
        rows = [database.execute(query).fetchall() for query in filter(str.strip, shown("sql", page).split(";"))]
    assert all(each for each in rows if each is not rows[-2]), "all but ATTACH have rows"
    files = re.findall(r"^\| \d \| `(.*?)` \|", (TUTORIALS / page).read_text(encoding="utf-8"), re.MULTILINE)
    assert len(files) == 9
    assert all((PROJECT / name).is_file() for name in files)


def test_an_analyst_whose_programs_ask(folder: Path) -> None:
    said = typed(folder, "asking.md")
    assert '"area_name":"Leeds"' in said
    assert "are too close to call" in said
    assert "a child can be in both" in said
    assert "every figure is as it was published" in said
    with duckdb.connect(str(folder / "demo/home/release/readiness.duckdb"), read_only=True) as database:
        answers = [database.sql(query).fetchall() for query in shown("sql", "asking.md").split(";") if query.strip()]
    assert [len(answer) for answer in answers] == [10, 7]


def test_a_journalist(folder: Path) -> None:
    said = typed(folder, "journalist.md")
    page = (TUTORIALS / "journalist.md").read_text(encoding="utf-8")
    verdicts = [line for line in said.splitlines() if line.startswith(("Supported.", "Not supported.", "Cannot be"))]
    assert all(verdict in page for verdict in verdicts[:3])
    rules = ("another one", "precision", "two cohorts", "no measure", "no such figure", "Noise and chance")
    rules += (
        "its rank is",
        "percentage points",
        "no causes",
        "in both",
        "say which area",
        "the future",
        "single child",
        "more than",
    )
    for verdict, rule in zip(verdicts, rules, strict=True):
        assert rule in verdict
    assert "Every figure is as it was published." in said


def test_a_publisher(folder: Path) -> None:
    typed(folder, "publisher.md")
    assert (folder / "demo/public/latest.json").exists()
    assert not (folder / "demo/home/release/withdrawn.json").exists()


def test_a_researcher(folder: Path) -> None:
    said = typed(folder, "researcher.md")
    assert "gld_by_ethnic_group_and_fsm, 2024/25: it costs rho" in said
    assert "does not fit" in said or "no budget of a cohort pays" in said
    assert "answered in release 2026.11.1" in said
    assert "14 tables are what the noisy counts give" in said
    with duckdb.connect(str(folder / "demo/home/release/readiness.duckdb"), read_only=True) as database:
        answers = [
            database.sql(query).fetchall() for query in shown("sql", "researcher.md").split(";") if query.strip()
        ]
    assert [len(answer) for answer in answers] == [1, 9, 3]
    gaps = [gap for _, gap, _ in answers[-1] if gap is not None]  # one group may be withheld, as the page says
    assert len(gaps) >= 2
    assert min(gaps) > 0
