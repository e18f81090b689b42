"""Makes the files of a version of the software from the last commit: the same bytes wherever it is done again.

    python packaging/supply/release_files.py --pip .uv/bin/python --out dist

Makes the folder `dist/readiness-<version>` anew, with wheels, source, the archive for councils, bills of materials and
`SHA256SUMS`. After you add a file to the folder, run it again with `--sums-only`.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path

import pinned
import sbom

sys.path.insert(0, str(pinned.PROJECT / "packaging" / "council"))
import wheelhouse

SUMS = "SHA256SUMS"


def git(*words: str) -> bytes:
    return subprocess.run(["git", *words], cwd=pinned.PROJECT, capture_output=True, check=True).stdout


def checkout(folder: Path) -> None:
    """Extract the files of the last commit, and no others."""
    with tarfile.open(fileobj=io.BytesIO(git("archive", "--format=tar", "HEAD"))) as archive:
        archive.extractall(folder, filter="data")


def fixed(epoch: str) -> dict[str, str]:
    """Return this environment without settings that change the files: time, zone, language and other code."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "LANG", "LANGUAGE")}
    return kept | {"SOURCE_DATE_EPOCH": epoch, "TZ": "UTC", "LC_ALL": "C.UTF-8"}


def wheels(tree: Path, out: Path, uv: Path, environment: dict[str, str]) -> None:
    """Build the project's wheel and source, and the wheel for councils, with the pinned build tools."""
    tools = tree / pinned.BUILD_TOOLS.relative_to(pinned.PROJECT)
    command: list[str | Path] = [uv, "build", "--quiet", "--no-create-gitignore", "--python", sys.executable]
    command += ["--build-constraints", tools, "--require-hashes", "--out-dir", out]
    subprocess.run([*command, tree], check=True, env=environment)
    subprocess.run([*command, "--wheel", tree / "packaging" / "council"], check=True, env=environment)


def bills(tree: Path, out: Path, version: str, given: argparse.Namespace, environment: dict[str, str]) -> None:
    """Write the bills of materials of everything with every extra, and of the tool for councils on Windows."""
    command = [given.uv, "export", "--quiet", "--frozen", "--offline", "--no-dev", "--all-extras"]
    exported = subprocess.run(
        [*command, "--format", "cyclonedx1.5"], cwd=tree, env=environment, capture_output=True, check=True
    )
    whole = json.loads(exported.stdout)
    root = whole["metadata"]["component"]
    root["properties"] = [{"name": "git:commit", "value": git("rev-parse", "HEAD").decode().strip()}]
    lock = tomllib.loads((tree / "uv.lock").read_text(encoding="utf-8"))
    lines = wheelhouse.iter_requirements(lock, wheelhouse.list_wanted(), wheelhouse.WINDOWS, given.council_python)
    pins = dict(line.split(" ")[0].split("==") for line in lines)
    made = {"readiness": whole, "readiness-council": sbom.part(whole, "readiness-council", pins)}
    for name, bill in made.items():
        text = sbom.text(sbom.finished(bill, sbom.licences(), environment["SOURCE_DATE_EPOCH"]))
        (out / f"{name}-{version}.cdx.json").write_text(text, encoding="utf-8")


def archive(tree: Path, out: Path, given: argparse.Namespace, environment: dict[str, str]) -> None:
    """Build the archive that councils install on Windows without a network."""
    (wheel,) = out.glob("readiness_council-*.whl")
    script = tree / "packaging" / "council" / "wheelhouse.py"
    words = ["--pip", given.pip, "--python", given.council_python, "--out", out]
    command = [sys.executable, script, wheel, *words]
    subprocess.run(command, check=True, env=environment | {"PYTHONPATH": str(tree)}, stdout=subprocess.DEVNULL)


def sums(folder: Path) -> str:
    """Return lines for `sha256sum --check`, one for each file of the folder except the list itself."""
    files = sorted(path for path in folder.iterdir() if path.name != SUMS and not path.name.startswith(f"{SUMS}."))
    return "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files)


def why_not(folder: Path, sums_only: bool) -> str | None:
    """Return the reason why the files of a version (or only their sums) cannot be made here, or None."""
    if sums_only:
        return None if folder.is_dir() else f"there is no {folder}"
    changed = git("status", "--porcelain", "--untracked-files=no").decode().splitlines()
    return f"commit first: {len(changed)} files differ from the last commit" if changed else None


def make(given: argparse.Namespace, folder: Path, version: str) -> None:
    os.umask(0o022)  # the same file permissions on every machine
    environment = fixed(git("log", "-1", "--format=%ct").decode().strip())
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as place:
        tree = Path(place)
        checkout(tree)
        wheels(tree, folder, given.uv, environment)
        bills(tree, folder, version, given, environment)
        if given.pip:
            archive(tree, folder, given, environment)


def _place(path: str) -> Path:
    return Path(path).absolute()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("dist"), help="Where the folder is made.")
    parser.add_argument("--uv", type=_place, default=pinned.UV, help="The uv that builds.")
    parser.add_argument(
        "--pip", type=_place, help="A Python that has pip; without it, the archive for councils is left out."
    )
    parser.add_argument("--council-python", default="3.12", help="Of the council's machine.")
    parser.add_argument("--sums-only", action="store_true", help=f"Write {SUMS} of the folder as it is.")
    given = parser.parse_args()
    if not (pinned.PROJECT / ".git").exists():
        parser.error("a version is made from a commit, and this is not a checkout")
    version = tomllib.loads(git("show", "HEAD:pyproject.toml").decode())["project"]["version"]
    folder = given.out.resolve() / f"readiness-{version}"
    if reason := why_not(folder, given.sums_only):
        parser.error(reason)
    if not given.sums_only:
        make(given, folder, version)
    (folder / SUMS).write_text(sums(folder), encoding="utf-8")
    print((folder / SUMS).read_text(encoding="utf-8"), end="")
    print(f"In {folder}.")
    if f"v{version}" not in git("tag", "--points-at", "HEAD").decode().split():
        print(f"Warning: the last commit has no tag v{version}: this is not what was released", file=sys.stderr)


if __name__ == "__main__":
    main()
