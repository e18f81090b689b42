"""Imports run one way, rooms stand in order, Dagster is known in few places, and dangerous things use their doors."""

import ast
import importlib
import importlib.util
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import architecture

MAY_IMPORT = {
    "sources": {"sources", "privacy.doors"},
    "privacy": {"privacy"},
    "privacy.doors": {"privacy.doors"},
    "ndl_export": {"ndl_export", "sources.reference", "privacy.doors", "privacy.linkage.cells"},
    "assets": {"assets", "sources", "privacy", "ndl_export"},
    "pipelines": set(architecture.PACKAGES),
}
KNOWS_DAGSTER = re.compile(
    r"assets\.catalogue(\.\w+)?|assets\.\w+\.assets|pipelines\.dagster(\.\w+)?|pipelines\.(run|\w*definitions)"
)


def _within(name: str, parent: str) -> bool:
    return name == parent or name.startswith(f"{parent}.")


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_run_one_way(package: str) -> None:
    wrong = [
        f"{module} imports {name}"
        for module, imported in architecture.map_module_imports().items()
        for name in imported
        if _within(module, package) and not any(_within(name, allowed) for allowed in MAY_IMPORT[package])
    ]
    assert not wrong


def test_there_is_no_circle_of_imports_between_modules_or_rooms() -> None:
    """Imports inside functions count: a circle that is hidden there is one all the same."""
    rooms = {room: imported for room, imported in architecture.map_room_imports().items() if "." in room}
    assert architecture.find_circle(architecture.map_module_imports()) == []
    assert architecture.find_circle(rooms) == []


@pytest.mark.parametrize("package", architecture.PACKAGES)
def test_a_room_imports_none_that_comes_after_it(package: str) -> None:
    rooms = [f"{package}.{room}" for room in architecture.ORDER[package]]
    found = {room for room in architecture.map_room_imports() if room.startswith(f"{package}.")}
    assert found == set(rooms), "a room is missing from ORDER, or gone"
    later = [
        f"{room} imports {name}"
        for place, room in enumerate(rooms)
        for name in architecture.map_room_imports()[room]
        if name in rooms[place + 1 :]
    ]
    assert not later


def test_no_room_that_a_release_needs_imports_an_optional_one() -> None:
    """Returns, synthetic extracts and children, onboarding and the services can be left out, and a release is made."""
    free = architecture.OPTIONAL | architecture.OPERATIONS
    found = {
        f"{room} imports {name}"
        for room, imported in architecture.map_room_imports().items()
        if room not in free
        for name in imported & architecture.OPTIONAL
    }
    assert not found


def test_dagster_is_known_where_stages_meet_it_and_nowhere_else() -> None:
    knowing = {
        module.name
        for module in architecture.list_modules()
        if any(name.partition(".")[0].startswith("dagster") for name in module.iter_imports())
    }
    assert not {name for name in knowing if not KNOWS_DAGSTER.fullmatch(name)}


def test_every_package_says_what_belongs_there() -> None:
    for module in architecture.list_modules():
        assert ast.get_docstring(module.tree), module.path


def test_the_picture_is_that_of_the_code() -> None:
    """`make docs` draws it anew."""
    assert (architecture.PROJECT / "docs" / "stages.svg").read_text(encoding="utf-8") == architecture.draw_picture()


# Doors


@dataclass(frozen=True)
class Door:
    """One dangerous thing, the modules that alone may do it, and how it is recognised in a syntax tree."""

    thing: str
    modules: tuple[str, ...]
    done_by: Callable[[ast.AST], bool]


def _spell(node: ast.AST) -> str:
    """The dotted name that a node is, if it is one: for these `ast.unparse` takes a hundred times as long."""
    if isinstance(node, ast.Attribute):
        return f"{_spell(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _calls(*dotted: str) -> Callable[[ast.AST], bool]:
    return lambda node: isinstance(node, ast.Call) and _spell(node.func) in dotted


def _an_attribute(name: str) -> Callable[[ast.AST], bool]:
    return lambda node: isinstance(node, ast.Attribute) and node.attr == name


def _mentions(*dotted: str) -> Callable[[ast.AST], bool]:
    return lambda node: _spell(node) in dotted


_STATEMENT = re.compile(r"\b(SELECT|FROM|COPY|ATTACH|read_parquet|read_csv|WHERE|WHEN|JOIN|INTO|PRAGMA|SET)\b")


def _puts_text_into_sql(node: ast.AST) -> bool:
    """An f-string of SQL in which a quotation mark stands before a placeholder: whoever writes one quotes by hand."""
    if not isinstance(node, ast.JoinedStr):
        return False
    literal = "".join(
        part.value for part in node.values if isinstance(part, ast.Constant) and isinstance(part.value, str)
    )
    if not _STATEMENT.search(literal):
        return False
    pairs = zip(node.values, node.values[1:], strict=False)
    return any(
        isinstance(before, ast.Constant)
        and isinstance(before.value, str)
        and before.value.endswith(("'", '"'))
        and isinstance(after, ast.FormattedValue)
        for before, after in pairs
    )


def _durable(node: ast.AST) -> bool:
    return _calls("os.fsync", "os.fdopen")(node) or (
        isinstance(node, ast.Constant) and node.value in (0o600, 0o700) and type(node.value) is int
    )


_TIMES = {"time", "time_ns", "localtime", "gmtime", "ctime", "strftime"}


def _asks_for_the_time(node: ast.AST) -> bool:
    """Also if the function is only passed on; `clock.now` and the running times of `time` are free."""
    if isinstance(node, ast.ImportFrom):
        return node.module == "time" and any(each.name in _TIMES for each in node.names)
    if not isinstance(node, ast.Attribute):
        return False
    of = _spell(node.value).rpartition(".")[2].lower()
    return (of in ("datetime", "date") and node.attr in ("now", "today", "utcnow")) or (
        _spell(node.value) == "time" and node.attr in _TIMES
    )


DOORS = (
    Door("open a DuckDB database", ("privacy.doors.database",), _calls("duckdb.connect", "duckdb.sql", "connect")),
    Door("put text into SQL", ("privacy.doors.sql",), _puts_text_into_sql),
    Door("write durably, for the owner alone", ("privacy.doors.files", "ndl_export.files.whole_files"), _durable),
    Door("encrypt or decrypt rows", ("privacy.doors.sealed",), _mentions("pyarrow.parquet.encryption", "modular")),
    Door("take a lock", ("privacy.doors.locks",), _mentions("fcntl.flock", "fcntl.lockf", "flock")),
    Door(
        "read the environment",
        ("privacy.doors.environment",),
        _mentions("os.environ", "os.getenv", "environ", "getenv"),
    ),
    Door("ask for the time", ("privacy.doors.clock",), _asks_for_the_time),
    Door("destroy what a sender has put somewhere", ("privacy.doors.regular",), _calls("files.overwrite", "overwrite")),
    Door("repeat what a person typed", ("privacy.doors.typed",), _an_attribute("isprintable")),
    # a restore checks a copy of the ledger before the one in use changes
    Door("open the ledger", ("assets.home.paths", "assets.keeping.restore"), _calls("Ledger")),
    Door("read the policy", ("assets.home.paths",), _calls("load_policy", "policy.load_policy")),
    Door("add a signature", ("privacy.release.signature_log",), _an_attribute("add_sign_off")),
    Door(
        "ask whether a release was charged",
        (
            "pipelines.reports.budget",
            *(f"privacy.release.{each}" for each in ("ledger", "ledger_storage", "statement")),
        ),
        _mentions("EntryKind.RESERVE", "EntryKind.COMMIT"),
    ),
)


def _round_the_door(door: Door) -> Iterator[str]:
    for module in architecture.list_modules():
        if module.name not in door.modules:
            for node in module.nodes:
                if door.done_by(node):
                    yield f"{module.path}:{getattr(node, 'lineno', '?')}"


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.thing)
def test_dangerous_things_go_through_their_door(door: Door) -> None:
    assert not list(_round_the_door(door))


@pytest.mark.parametrize(
    ("thing", "code"),
    [
        ("open a DuckDB database", "import duckdb\nwith duckdb.connect() as con: pass"),
        ("put text into SQL", "sql = f\"SELECT * FROM '{path}'\""),
        ("put text into SQL", "sql = f\"SELECT CASE WHEN sex = '{label}' THEN 1 END\""),
        ("write durably, for the owner alone", "path.touch(0o600)"),
        ("write durably, for the owner alone", "os.fsync(handle)"),
        ("take a lock", "fcntl.flock(handle, fcntl.LOCK_EX)"),
        ("read the environment", "folder = os.environ.get('READINESS_HOME')"),
        ("ask for the time", "dt.datetime.now(dt.UTC)"),
        ("ask for the time", "datetime.date.today()"),
        ("ask for the time", "time.strftime('%Y')"),
        ("ask for the time", "from time import time"),
        ("ask for the time", "made = partial(datetime.utcnow)"),
        ("destroy what a sender has put somewhere", "overwrite(handle)"),
        ("open the ledger", "charges = Ledger(home.ledger).list_charges()"),
        ("read the policy", "delta = load_policy().delta"),
        ("add a signature", "ledger.add_sign_off(line)"),
        ("repeat what a person typed", "if not entry.reason.isprintable(): raise ValueError"),
        ("ask whether a release was charged", "any(entry.kind == EntryKind.RESERVE for entry in entries)"),
    ],
)
def test_a_way_round_a_door_is_seen(thing: str, code: str) -> None:
    (door,) = (door for door in DOORS if door.thing == thing)
    assert any(door.done_by(node) for node in ast.walk(ast.parse(code)))


@pytest.mark.parametrize("file", sorted((architecture.PROJECT / "bench").rglob("*.py")), ids=lambda file: file.stem)
def test_a_benchmark_imports_what_there_is(file: Path) -> None:
    """Nothing runs benchmarks daily, and a renamed function would be missed."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in architecture.PACKAGES:
            module = importlib.import_module(str(node.module))
            for name in (each.name for each in node.names):
                assert hasattr(module, name) or importlib.util.find_spec(f"{node.module}.{name}"), name
