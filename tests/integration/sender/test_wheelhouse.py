"""The archive for councils on Windows: what it is made of, and that it installs and works without a network."""

import hashlib
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from itertools import chain
from pathlib import Path

import pytest
from packaging.tags import compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename

from tests.support import PROJECT, extracts, supply
from tests.support.intake.files import build_xlsx
from tests.support.intake.sender import Sender

FOLDER = PROJECT / "packaging" / "council"
PYTHONS = ("3.11", "3.12", "3.13")
UV_PYTHON = Path(sys.prefix).parent / ".uv" / "bin" / "python"


wheelhouse = supply.load_script("wheelhouse", FOLDER)
LOCK = tomllib.loads((PROJECT / "uv.lock").read_text(encoding="utf-8"))


def pinned(python: str) -> dict[str, str]:
    """Versions by distribution, on Windows."""
    lines = wheelhouse.iter_requirements(LOCK, wheelhouse.list_wanted(), wheelhouse.WINDOWS, python)
    return dict(line.split(" ", 1)[0].split("==") for line in lines)


@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_has_a_wheel_for_windows_of_all_that_is_needed(python: str) -> None:
    versions, version = pinned(python), tuple(map(int, python.split(".")))
    tags = (make(version, platforms=["win_amd64"]) for make in (cpython_tags, compatible_tags))
    supported = set(chain.from_iterable(tags))
    assert set(versions) >= wheelhouse.list_wanted() | {"cffi", "markupsafe"}
    for package in LOCK["package"]:
        if versions.get(package["name"]) == package["version"]:
            files = [wheel["url"].rpartition("/")[2] for wheel in package["wheels"]]
            assert any(parse_wheel_filename(file)[3] & supported for file in files), package["name"]


def test_the_lock_is_the_only_list_of_versions() -> None:
    lines = list(wheelhouse.iter_requirements(LOCK, wheelhouse.list_wanted(), wheelhouse.WINDOWS, "3.12"))
    hashes = {wheel["hash"] for package in LOCK["package"] for wheel in package.get("wheels", ())}
    assert all(set(re.findall("--hash=(\\S+)", line)) <= hashes for line in lines)
    with pytest.raises(KeyError, match="lacks not-there"):
        list(wheelhouse.iter_requirements(LOCK, {"not-there"}, wheelhouse.WINDOWS, "3.12"))


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As it is for Windows, around wheels without content."""

    def fetch(_pip: Path, pinned: Path, wheels: Path, *_: object) -> None:
        wheels.mkdir()
        for line in pinned.read_text("utf-8").splitlines():
            name, version = line.split(" ")[0].split("==")
            (wheels / f"{name.replace('-', '_')}-{version}-py3-none-any.whl").write_bytes(name.encode())

    monkeypatch.setattr(wheelhouse, "_fetch", fetch)
    own = tmp_path / "readiness_council-9.8.7-py3-none-any.whl"
    own.write_bytes(b"own")
    made = [wheelhouse.build(own, tmp_path / name, Path("pip"), "3.12", wheelhouse.WINDOWS) for name in ("a", "b")]
    assert made[0].read_bytes() == made[1].read_bytes()
    return made[0]


def test_every_file_is_pinned_by_its_hash(archive: Path) -> None:
    packed = zipfile.ZipFile(archive)
    contents = {name.partition("/")[2]: packed.read(name) for name in packed.namelist()}
    sums = dict(line.split(" *")[::-1] for line in contents["SHA256SUMS"].decode().splitlines())
    assert sums == {name: hashlib.sha256(of).hexdigest() for name, of in contents.items() if name != "SHA256SUMS"}
    required = contents["requirements.txt"].decode()
    wheels = [name for name in contents if name.startswith("wheels/")]
    assert len(wheels) == len(required.splitlines()) == len(pinned("3.12")) + 1
    assert all(f"--hash=sha256:{sums[name]}" in required for name in wheels)


def test_the_script_quotes_every_path() -> None:
    script = (FOLDER / "windows" / "install.cmd").read_text("ascii")
    for name in ("%FOLDER%", "%HERE%", "%~dp0", "%LOCALAPPDATA%"):
        for line in script.splitlines():
            before = line.partition(name)[0]
            assert name not in line or before.count('"') % 2 == 1, line


@pytest.mark.slow
def test_it_installs_and_works_without_a_network(sender: Sender, tmp_path: Path) -> None:
    """On Linux, by the line of pip in `install.cmd`, in folders with blanks, with a console in cp1252."""
    if not UV_PYTHON.is_file() or subprocess.run(["unshare", "-rn", "true"], check=False).returncode:
        pytest.skip("pip, or a way to take the network away, is not here")
    uv = UV_PYTHON.with_name("uv")
    subprocess.run([uv, "build", "--quiet", "--wheel", "--out-dir", tmp_path, FOLDER], check=True)
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    try:
        archive = wheelhouse.build(
            next(tmp_path.glob("*.whl")), tmp_path, UV_PYTHON, python, wheelhouse.TARGETS["linux"]
        )
    except subprocess.CalledProcessError:
        pytest.skip("wheels cannot be fetched")
    place = tmp_path / "sent to us"
    zipfile.ZipFile(archive).extractall(place)
    tool = tmp_path / "a tool" / "bin"
    _run_offline(sys.executable, "-m", "venv", tool.parent)
    script = (FOLDER / "windows" / "install.cmd").read_text("ascii")
    (line,) = (line for line in script.splitlines() if "-m pip install" in line)
    words = [word.strip('"').replace("%HERE%", f"{place / archive.stem}/") for word in re.findall(r'"[^"]*"|\S+', line)]
    _run_offline(tool / "python", *words[1:])
    extract = sender.write("")
    extract = extract.rename(extract.with_suffix(".xlsx"))
    rows = [list(extracts.build_row("eyfsp")), *(list(extracts.build_row("eyfsp").values()) for _ in range(3))]
    extract.write_bytes(build_xlsx(rows, lambda book: setattr(book.active, "title", "Żlobek – 1")))
    environment = {"PATH": os.environ["PATH"], "PYTHONIOENCODING": "cp1252"}
    options = ("--keys", sender.keys, "--out", tmp_path / "to send", "--postcode-directory", sender.directory)
    shown = _run_offline(tool / "readiness", "pseudonymise", extract, *options, env=environment)
    assert "Read from sheet 1" in shown.decode("cp1252")
    assert (tmp_path / "to send" / "202425.tokens.parquet").exists()


def _run_offline(*command: object, **options: object) -> bytes:
    done = subprocess.run(["unshare", "-rn", *map(str, command)], capture_output=True, check=False, **options)
    assert done.returncode == 0, done.stderr
    return bytes(done.stdout)
