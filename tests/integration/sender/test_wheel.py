"""The tool for councils, as it is installed: what is in it, what it needs, and that it makes the same tokens."""

import ast
import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.integration.sender.test_same_rows import EXTRACTS
from tests.support import PROJECT
from tests.support.intake.desk import COHORT, Desk, build_eyfsp
from tests.support.intake.sender import Sender, put, unseal
from tests.support.site.dom import get_words

pytestmark = pytest.mark.slow

FOLDER = PROJECT / "packaging" / "council"
MODULES = {"markupsafe": "jinja2", "pydantic_core": "pydantic", "python_calamine": "python-calamine", "yaml": "pyyaml"}
"""Distribution of a module, where they are called differently."""
HEAVY = ("dagster", "splink", "great_expectations", "opendp", "pandas", "polars", "scipy")
FASTER = {"polars", "polars_hash"}
"""Used if they are installed."""
NOT_IN_IT = (
    *("privacy/release/", "privacy/linkage/", "privacy/doors/locks.py", "sources/synthetic/", "tests/"),
    *("assets/intake/assets.py", "assets/intake/ingest.py", "assets/linkage/", "assets/release/", "assets/keeping/"),
    "assets/intake/quality_report",
)


def project(folder: Path) -> dict[str, object]:
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def needed(folder: Path) -> dict[str, str]:
    return _by_distribution(project(folder)["dependencies"])


def extras(folder: Path, *names: str) -> dict[str, str]:
    """Requirements of extras by distribution; of all extras, unless some are named."""
    listed = project(folder)["optional-dependencies"]
    return _by_distribution(line for name in names or listed for line in listed[name])


def _by_distribution(lines: Iterable[str]) -> dict[str, str]:
    return {re.split(r"[^\w-]", line, maxsplit=1)[0]: line for line in lines}


@pytest.fixture(scope="module")
def wheel(uv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    command = [uv, "build", "--wheel", "--offline", "--python", sys.executable, "--out-dir", out, FOLDER]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if built.returncode and re.search("network|offline|cache", built.stderr):
        pytest.skip("hatchling, which the build needs, is not in uv's cache and there is no network")
    assert built.returncode == 0, built.stderr
    return next(out.glob("*.whl"))


def test_the_wheel_holds_the_tool_and_no_more(wheel: Path) -> None:
    assert wheel.name == f"readiness_council-{project(PROJECT)['version']}-py3-none-any.whl"
    names = zipfile.ZipFile(wheel).namelist()
    assert any(name.endswith("/LICENSE") for name in names)
    assert "assets/pseudonymise/tokens_file.py" in names
    assert not [name for name in names if name.startswith(NOT_IN_IT)]
    pages = ("ndl_export/__init__.py", "ndl_export/pages/")
    assert not [name for name in names if name.startswith("ndl_export/") and not name.startswith(pages)]


def test_what_its_modules_import_is_in_it_or_required(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    names = set(archive.namelist())
    required = set(needed(FOLDER)) | set(extras(FOLDER))
    for name in sorted(name for name in names if name.endswith(".py")):
        for module in _imports(archive.read(name).decode()):
            top = module.partition(".")[0]
            if f"{top}/__init__.py" in names:
                path = module.replace(".", "/")
                assert {f"{path}.py", f"{path}/__init__.py"} & names, f"{name} imports {module}"
            elif top not in sys.stdlib_module_names | FASTER:
                assert MODULES.get(top, top).lower() in required, f"{name} imports {module}"


def _imports(code: str) -> Iterable[str]:
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_its_requirements_are_the_products() -> None:
    ours, theirs = needed(PROJECT), needed(FOLDER)
    assert theirs == {name: ours[name] for name in theirs}
    assert not {name.replace("_", "-") for name in HEAVY} & set(theirs)
    assert extras(FOLDER) == extras(PROJECT, "returns")
    for key in ("requires-python", "license"):
        assert project(FOLDER)[key] == project(PROJECT)[key]


@pytest.fixture(scope="module")
def installed(uv: Path, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The folders that hold the installed wheel and its dependencies, and nothing else."""
    target, libraries = tmp_path_factory.mktemp("target"), tmp_path_factory.mktemp("libraries")
    command = [uv, "pip", "install", "--offline", "--no-deps", "--quiet", "--python", sys.executable, "--target"]
    subprocess.run([*command, str(target), str(wheel)], check=True)
    for distribution in _with_dependencies([*needed(FOLDER), *extras(FOLDER)]):
        files = importlib.metadata.distribution(distribution).files or ()
        for top in {file.parts[0] for file in files} - {"..", "__pycache__"}:
            (libraries / top).symlink_to(importlib.metadata.distribution(distribution).locate_file(top))
    return [str(target), str(libraries)]


def _with_dependencies(names: Iterable[str]) -> set[str]:
    """Return the installed distributions that these need, with themselves."""
    installed = {re.sub(r"[-_.]+", "-", each.name).lower(): each for each in importlib.metadata.distributions()}
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        if (name := re.sub(r"[-_.]+", "-", waiting.pop()).lower()) in installed.keys() - found:
            found.add(name)
            lines = (line for line in installed[name].requires or () if not re.search("extra ==|sys_platform", line))
            waiting += [match[0] for line in lines if (match := re.match(r"[\w.-]+", line))]
    return found


def run_installed(folders: list[str], *arguments: str) -> tuple[int, str, list[str]]:
    """Exit status, what was said, and the modules that were loaded."""
    code = f"""
import json, sys
sys.path[:0] = {folders!r}
from pipelines.council_cli import main
try:
    main({list(arguments)!r}, prog_name="readiness")
except SystemExit as end:
    print(json.dumps([end.code, sorted(sys.modules)]))
"""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    status, modules = json.loads(done.stdout.splitlines()[-1])
    return status, done.stdout + done.stderr, modules


@pytest.mark.parametrize("source", EXTRACTS)
def test_the_installed_tool_makes_the_pipelines_tokens(
    source: str, installed: list[str], sender: Sender, pipeline: Desk, tmp_path: Path
) -> None:
    extract = sender.write(EXTRACTS[source], source)
    status, output, modules = run_installed(
        installed,
        "pseudonymise",
        str(extract),
        f"--postcode-directory={sender.directory}",
        f"--keys={sender.keys}",
        f"--out={sender.get_out(source)}",
    )
    assert status == 0, output
    assert not {module.partition(".")[0] for module in modules} & set(HEAVY)
    tokens = sender.get_out(source) / f"{COHORT}.tokens.parquet"
    put(tokens, pipeline, source)
    taken = pipeline.take(source)
    kept = pipeline.read_table(source)
    (pipeline.landing / "leeds" / source / tokens.name).unlink()
    put(extract, pipeline, source)
    mine = pipeline.take(source)
    assert kept.equals(pipeline.read_table(source))
    assert (taken.rules, taken.rows_kept) == (mine.rules, mine.rows_kept)
    before = unseal(tokens, pipeline.keys).metadata.metadata
    assert unseal(sender.pseudonymise(extract), pipeline.keys).metadata.metadata == before


def test_the_installed_tool_makes_a_page_of_what_to_mend(installed: list[str], sender: Sender, tmp_path: Path) -> None:
    """Also where it stops; the page asks for nothing but itself and says no value."""
    texts = {
        "sound": build_eyfsp(*[{}] * 9, {"com_e01": "3", "surname": "Zzyzxwick"}),
        "stops": "surname,upn\nZzyzxwick,a\n",
    }
    for name, text in texts.items():
        extract, page = sender.write(text, "eyfsp"), tmp_path / f"{name}.html"
        options = (f"--keys={sender.keys}", f"--out={sender.get_out('eyfsp')}", f"--html={page}")
        status, output, _ = run_installed(installed, "pseudonymise", str(extract), *options)
        assert (status, str(page) in output) == (int(name == "stops"), True), output
        shown = ElementTree.fromstring(page.read_text(encoding="utf-8"))
        assert get_words(shown.find(".//h1")) == "EYFS Profile, Leeds, 2024/25"
        assert "Zzyzxwick" not in page.read_text(encoding="utf-8")
        cells = [get_words(cell) for cell in shown.iter("td")]
        assert ("10" in cells, "com_e01-invalid" in cells) == (name == "sound",) * 2
        assert ("missing column" in get_words(shown)) == (name == "stops")
