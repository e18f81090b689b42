"""Imports run one way, and the packages are this project's."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import assets
from tests.support import PROJECT

PACKAGES = ("sources", "privacy", "assets", "ndl_export", "pipelines")
MAY_IMPORT = {
    "sources": {"sources", "privacy.doors"},
    "privacy": {"privacy"},
    "ndl_export": {"ndl_export", "sources.reference", "privacy.doors"},
    "assets": {"assets", "sources", "privacy", "ndl_export"},
    "pipelines": set(PACKAGES),
}


def _imports(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return names | {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_run_one_way(package: str) -> None:
    for path in (PROJECT / package).rglob("*.py"):
        ours = {name for name in _imports(path) if name.partition(".")[0] in PACKAGES}
        allowed = MAY_IMPORT[package]
        wrong = {name for name in ours if not any(name == a or name.startswith(f"{a}.") for a in allowed)}
        assert not wrong, f"{path.relative_to(PROJECT)} imports {', '.join(sorted(wrong))}"


def test_dagster_is_known_to_assets_and_pipelines_alone() -> None:
    for package in ("sources", "privacy", "ndl_export"):
        for path in (PROJECT / package).rglob("*.py"):
            assert not any(name.partition(".")[0] == "dagster" for name in _imports(path)), path


def test_every_package_says_what_belongs_there() -> None:
    for package in PACKAGES:
        for path in (PROJECT / package).rglob("__init__.py"):
            assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path


def test_the_installed_packages_are_these() -> None:
    assert Path(assets.__file__).resolve().parent == PROJECT / "assets"


@pytest.mark.parametrize("package", ["assets", "privacy"])
def test_no_database_spills_what_it_holds_to_disk(package: str) -> None:
    """DuckDB's own choice is a folder `.tmp` where the process runs, outside every zone."""
    for path in (PROJECT / package).rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        for function in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)):
            body = ast.unparse(function)
            spills = "duckdb.connect(" in body and "temp_directory" not in body
            assert not spills, f"{path.relative_to(PROJECT)}: the database of {function.name} may spill to disk"
