"""What is handed out of a version: the same bytes whoever makes it, complete, and nothing else in it."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

from tests.support import PROJECT
from tests.support.supply import load_script

pinned, release_files = load_script("pinned"), load_script("release_files")

PACKAGES = ("assets", "ndl_export", "pipelines", "privacy", "sources")
STRAY = {"sources/councils/stray.csv": "name\nA Child\n", "privacy/left.key": "secret", "keys/linkage.key": "secret"}
"""What may lie about where a version is made."""


SETTINGS = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
VERSION = SETTINGS["project"]["version"]


def tracked() -> list[str]:
    """Return the files that git tracks, or would track if they were added."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("this is not a checkout")
    return [name for name in done.stdout.split("\0") if name and (PROJECT / name).is_file()]


def copied(folder: Path, names: list[str]) -> Path:
    """Copy the project to `folder`, writing files in the order of `names`."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PROJECT / name, folder / name)
        (folder / name).chmod(0o755 if os.access(PROJECT / name, os.X_OK) else 0o644)
    who = ("-c", "user.name=tests", "-c", "user.email=tests@example.org")
    environment = {**os.environ, **dict.fromkeys(("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"), "2026-11-01T12:00:00Z")}
    for words in (("init", "--quiet"), ("add", "--all"), (*who, "commit", "--quiet", "--message", "as it stands")):
        subprocess.run(["git", *words], cwd=folder, env=environment, capture_output=True, check=True)
    return folder


def make(copy: Path, out: Path, uv: Path, umask: int, **environment: str) -> Path:
    script = copy / "packaging" / "supply" / "release_files.py"
    words = [sys.executable, script, "--uv", uv, "--out", out]
    variables = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", **environment}
    done = subprocess.run(words, env=variables, umask=umask, capture_output=True, text=True, check=False)
    if done.returncode and re.search("error sending request|dns error|offline", done.stderr):
        pytest.skip("the build tools are not in uv's cache, and there is no network")
    assert done.returncode == 0, done.stderr
    assert "has no tag" in done.stderr
    (folder,) = out.iterdir()
    return folder


@pytest.fixture(scope="module")
def files(uv: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Made twice: elsewhere, of files written in another order at another time, with strays among them, by somebody
    with another umask, zone and language."""
    place = tmp_path_factory.mktemp("twice")
    one = copied(place / "one", tracked())
    two = copied(place / "a longer name, with blanks", tracked()[::-1])
    for name, content in STRAY.items():
        (two / name).parent.mkdir(exist_ok=True)
        (two / name).write_text(content)
    for path in two.rglob("*.py"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    made = make(one, place / "out", uv, 0o022, TZ="UTC", LC_ALL="C.UTF-8")
    again = make(two, place / "out again", uv, 0o077, TZ="Pacific/Kiritimati", LC_ALL="C", LANG="de_DE.UTF-8")
    return made, again


@pytest.mark.slow
def test_two_people_make_the_same_files_whole_and_with_nothing_else_in_them(files: tuple[Path, Path]) -> None:
    one, two = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in files)
    wheel, source = f"readiness-{VERSION}-py3-none-any.whl", f"readiness-{VERSION}.tar.gz"
    bills = (f"readiness-{VERSION}.cdx.json", f"readiness-council-{VERSION}.cdx.json")
    assert set(one) == {wheel, source, *bills, f"readiness_council-{VERSION}-py3-none-any.whl", "SHA256SUMS"}
    assert [name for name in one if one[name] != two.get(name)] == []
    archive = zipfile.ZipFile(files[0] / wheel)
    inside = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert inside == {name for name in tracked() if name.startswith(tuple(f"{package}/" for package in PACKAGES))}
    about = {name.partition("/")[2] for name in set(archive.namelist()) - inside}
    assert about == {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}
    assert all(archive.read(name) == (PROJECT / name).read_bytes() for name in inside)
    with tarfile.open(files[1] / source) as packed:
        names = {member.name.partition("/")[2] for member in packed.getmembers() if member.isfile()}
    assert names - {"PKG-INFO"} == set(tracked())


@pytest.mark.slow
def test_the_sums_hold_and_tell_of_a_change(files: tuple[Path, Path], tmp_path: Path) -> None:
    check = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    assert subprocess.run(check, cwd=files[0], capture_output=True, check=False).returncode == 0
    shutil.copytree(files[0], tmp_path, dirs_exist_ok=True)
    (wheel,) = tmp_path.glob("readiness-*.whl")
    wheel.write_bytes(wheel.read_bytes() + b"0")
    checked = subprocess.run(check, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (checked.returncode, f"{wheel.name}: FAILED" in checked.stdout) == (1, True)


@pytest.fixture(scope="module")
def installed(files: tuple[Path, Path], uv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel with what the lock pins, in an environment of its own; its folder of programs."""
    folder = tmp_path_factory.mktemp("elsewhere") / "venv"
    export = [uv, "export", "--quiet", "--frozen", "--offline", "--no-dev", "--no-emit-project"]
    pins = subprocess.run(export, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    (folder.parent / "pins.txt").write_text(pins, encoding="utf-8")
    python = folder / "bin" / "python"
    (wheel,) = files[0].glob("readiness-*.whl")
    install = [uv, "pip", "install", "--quiet", "--no-deps", "--python", python]
    commands = (
        [uv, "venv", "--quiet", "--python", sys.executable, folder],
        [*install, "--require-hashes", "--requirement", folder.parent / "pins.txt"],
        [*install, wheel],
    )
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode and re.search("error sending request|dns error", done.stderr):
            pytest.skip("what the lock pins cannot be fetched")
        assert done.returncode == 0, done.stderr
    return folder / "bin"


@pytest.mark.slow
def test_the_wheel_runs_away_from_the_project(installed: Path, tmp_path: Path) -> None:
    """Everything that it reads is in it: two small councils go through to a verified bundle."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "READINESS_KEYS": str(tmp_path / "keys")}

    def readiness(*words: object) -> str:
        command = [str(installed / "readiness"), *map(str, words)]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    assert VERSION in readiness("--version")
    landing, home = tmp_path / "landing", tmp_path / "home"
    readiness("synth", "--landing", landing, "--cohort", "202425", "--scale", "0.02", "--yes")
    for folder in {path.parents[1] for path in landing.glob("*/*/*")} - {landing / "leeds", landing / "bradford"}:
        shutil.rmtree(folder)
    readiness("run", "--landing", landing, "--home", home, "--cohort", "202425", "--create-keys")
    (release,) = (path for path in (home / "release").glob("2*") if path.is_dir())
    readiness("verify", release)
    assert (home / "release" / "site" / "index.html").is_file()


def test_builds_are_made_with_pinned_tools() -> None:
    pins = [f"{pin.name}=={pin.version}" for pin in pinned.of_list(pinned.BUILD_TOOLS)]
    assert SETTINGS["tool"]["uv"]["build-constraint-dependencies"] == pins
    lines = pinned.BUILD_TOOLS.read_text("utf-8").splitlines()
    assert sum(line.startswith("    --hash=sha256:") for line in lines) >= len(pins) > 3
    makefile = (PROJECT / "Makefile").read_text("utf-8")
    builds = [line for line in makefile.splitlines() if "$(UV) build" in line]
    assert builds
    assert all("--build-constraints packaging/supply/build-tools.txt --require-hashes" in line for line in builds)


def test_the_version_is_said_the_same_everywhere() -> None:
    chart = yaml.safe_load((PROJECT / "packaging" / "kubernetes" / "Chart.yaml").read_text("utf-8"))
    image = yaml.safe_load((PROJECT / "packaging" / "kubernetes" / "values.yaml").read_text("utf-8"))["image"]["name"]
    assert {chart["version"], chart["appVersion"], image.rpartition(":")[2]} == {VERSION}
    page = (PROJECT / "docs" / "at-the-council.md").read_text("utf-8")
    assert set(re.findall(r"readiness[-_]council-(\d[\d.]*\d)", page)) == {VERSION}


@pytest.mark.slow
def test_it_is_made_of_a_commit_alone(uv: Path, tmp_path: Path) -> None:
    copy = copied(tmp_path / "copy", tracked())
    script = copy / "packaging" / "supply" / "release_files.py"
    command = [sys.executable, script, "--uv", uv, "--out", tmp_path / "out"]
    no_sums = subprocess.run([*command, "--sums-only"], capture_output=True, text=True, check=False)
    (copy / "privacy" / "policy.yaml").write_text("changed")
    changed = subprocess.run(command, capture_output=True, text=True, check=False)
    shutil.rmtree(copy / ".git")
    no_commit = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "there is no" in no_sums.stderr
    assert "commit first: 1 files differ" in changed.stderr
    assert "this is not a checkout" in no_commit.stderr
    assert (no_sums.returncode, changed.returncode, no_commit.returncode) == (2, 2, 2)
    assert not (tmp_path / "out").exists()
