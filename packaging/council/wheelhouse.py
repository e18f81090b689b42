"""Makes one archive of the tool for councils and everything it needs, to install without a network.

    python packaging/council/wheelhouse.py dist/readiness_council-0.1.0-py3-none-any.whl --pip .uv/bin/python --out dist

Versions and hashes are those of `uv.lock`; pip fetches the wheels and refuses any other. The same lock and wheel give
the same archive, byte for byte.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.markers import Marker

from ndl_export.files.archive import pack_zip

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]


@dataclass(frozen=True)
class Target:
    """The platform that wheels must run on: pip's platform tags, and the values of environment markers."""

    name: str
    platforms: tuple[str, ...]
    markers: Mapping[str, str]


WINDOWS = Target(
    "windows",
    ("win_amd64",),
    {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt", "platform_machine": "AMD64"},
)
LINUX = Target(
    "linux",
    ("manylinux2014_x86_64", *(f"manylinux_2_{minor}_x86_64" for minor in range(17, 36))),
    {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "platform_machine": "x86_64"},
)
TARGETS = {target.name: target for target in (WINDOWS, LINUX)}


def iter_requirements(lock: Mapping[str, Any], wanted: Iterable[str], target: Target, python: str) -> Iterator[str]:
    """Yield lines for pip, one per distribution: all that the `wanted` ones need on the target, as the lock pins it.

    Each line has the hashes of the distribution's wheels. Raises KeyError if the lock lacks one.
    """
    environment = {"python_version": python, "python_full_version": f"{python}.9", **target.markers}
    environment |= {"implementation_name": "cpython", "platform_python_implementation": "CPython", "extra": ""}
    packages: dict[str, list[Mapping[str, Any]]] = {}
    for package in lock["package"]:
        packages.setdefault(package["name"], []).append(package)
    (root,) = (package for package in lock["package"] if "editable" in package["source"])
    locked = [*root["dependencies"], *(each for extra in root["optional-dependencies"].values() for each in extra)]
    waiting = [entry for entry in locked if entry["name"] in set(wanted)]
    found: dict[str, Mapping[str, Any]] = {}
    while waiting:
        entry = waiting.pop()
        if entry["name"] in found or ("marker" in entry and not Marker(entry["marker"]).evaluate(environment)):
            continue
        versions = packages[entry["name"]]
        package = next(each for each in versions if each["version"] == entry.get("version", versions[0]["version"]))
        found[entry["name"]] = package
        waiting += package.get("dependencies", ())
        extras = package.get("optional-dependencies", {})
        waiting += [each for extra in entry.get("extra", ()) for each in extras.get(extra, ())]
    if lost := set(wanted) - set(found):
        raise KeyError(f"uv.lock lacks {', '.join(sorted(lost))}")
    for name, package in sorted(found.items()):
        yield _format_line(name, package["version"], [wheel["hash"] for wheel in package["wheels"]])


def list_wanted() -> set[str]:
    """Return the distributions that the tool names itself, including those for opening returns."""
    project = tomllib.loads((HERE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    return {re.split(r"[^\w-]", line, maxsplit=1)[0].lower() for line in lines}


def build(wheel: Path, out: Path, pip: Path, python: str, target: Target) -> Path:
    """Fetch the wheels and write the archive into `out`; return its path.

    Raises `subprocess.CalledProcessError` if pip fails.
    """
    version = wheel.name.split("-")[1]
    archive = out / f"readiness-council-{version}-{target.name}-python{python}.zip"
    lock = tomllib.loads((PROJECT / "uv.lock").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        wheels = Path(folder) / "wheels"
        pinned = Path(folder) / "pinned.txt"
        pinned.write_text("\n".join(iter_requirements(lock, list_wanted(), target, python)) + "\n", encoding="utf-8")
        _fetch(pip, pinned, wheels, python, target)
        contents = {f"wheels/{path.name}": path.read_bytes() for path in (*wheels.iterdir(), wheel)}
    names = {"VERSION": version, "PYTHON": python, "ARCHIVE": archive.name}
    contents["requirements.txt"] = _encode_for_windows("\n".join(sorted(map(_pin, contents.items()))) + "\n")
    for file in sorted((HERE / "windows").iterdir()) if target is WINDOWS else ():
        text = file.read_text(encoding="ascii")
        contents[file.name] = _encode_for_windows(re.sub("@([A-Z]+)@", lambda name: names[name[1]], text))
    contents["LICENSE.txt"] = _encode_for_windows((PROJECT / "LICENSE").read_text(encoding="utf-8"))
    sums = (f"{hashlib.sha256(content).hexdigest()} *{name}" for name, content in sorted(contents.items()))
    contents["SHA256SUMS"] = ("\n".join(sums) + "\n").encode()
    out.mkdir(parents=True, exist_ok=True)
    archive.write_bytes(pack_zip(contents, archive.stem))
    return archive


def _fetch(pip: Path, pinned: Path, wheels: Path, python: str, target: Target) -> None:
    platforms = (word for platform in target.platforms for word in ("--platform", platform))
    command = [str(pip), "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--require-hashes", "--python-version", python, "--implementation", "cp"]
    subprocess.run([*command, *platforms, "--dest", str(wheels), "--requirement", str(pinned)], check=True)


def _pin(named: tuple[str, bytes]) -> str:
    name, version = Path(named[0]).name.split("-")[:2]
    return _format_line(name.replace("_", "-").lower(), version, [f"sha256:{hashlib.sha256(named[1]).hexdigest()}"])


def _format_line(name: str, version: str, hashes: Iterable[str]) -> str:
    return f"{name}=={version} {' '.join(f'--hash={each}' for each in hashes)}"


def _encode_for_windows(text: str) -> bytes:
    return text.replace("\r\n", "\n").replace("\n", "\r\n").encode()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path, help="The tool's own wheel.")
    parser.add_argument("--out", type=Path, default=Path("dist"), help="Folder of the archive.")
    parser.add_argument("--pip", type=Path, required=True, help="A Python that has pip.")
    parser.add_argument("--python", default="3.12", choices=("3.11", "3.12", "3.13"), help="Of the council's machine.")
    parser.add_argument("--target", default=WINDOWS.name, choices=sorted(TARGETS))
    options = parser.parse_args()
    archive = build(options.wheel, options.out, options.pip, options.python, TARGETS[options.target])
    print(f"{hashlib.sha256(archive.read_bytes()).hexdigest()}  {archive}")


if __name__ == "__main__":
    main()
