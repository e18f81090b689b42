"""Copies of the project in its current state, each a separate repository with one commit."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support import PROJECT

WHEN = "2026-11-01T12:00:00Z"


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
    environment = {**os.environ, "GIT_AUTHOR_DATE": WHEN, "GIT_COMMITTER_DATE": WHEN}
    for words in (("init", "--quiet"), ("add", "--all"), (*who, "commit", "--quiet", "--message", "as it stands")):
        subprocess.run(["git", *words], cwd=folder, env=environment, capture_output=True, check=True)
    return folder
