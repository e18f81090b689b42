"""The rooms of the product and the imports between them, read from the code: for the tests and for the picture.

`python -m tests.support.architecture` prints `docs/stages.svg`.
"""

import ast
import gc
import html
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from tests.support import PROJECT

PACKAGES = ("sources", "privacy", "assets", "ndl_export", "pipelines")
ORDER: Mapping[str, list[str]] = {
    "sources": "reference contracts councils extract diagnosis onboarding synthetic".split(),
    "privacy": "doors names release estimation linkage synthetic returns".split(),
    "ndl_export": (
        "pages files tables facts documents metadata analyst_db site api answers bundle synthetic serve publish"
    ).split(),
    "assets": "home catalogue pseudonymise intake linkage release synthetic_children returns keeping".split(),
    "pipelines": "dagster reports commands".split(),
}
"""Rooms of each package; a room may import earlier rooms of its package, but not later ones."""
OPTIONAL = frozenset(
    "sources.onboarding sources.synthetic privacy.synthetic privacy.returns ndl_export.synthetic ndl_export.serve"
    " assets.synthetic_children assets.returns".split()
)
"""Rooms that a release does without. No other room imports one, except those of `OPERATIONS`."""
OPERATIONS = frozenset(
    ("assets.keeping", "ndl_export.publish", "pipelines", *(f"pipelines.{room}" for room in ORDER["pipelines"]))
)
"""Rooms that run, publish or remove whatever is there, optional parts included."""


@dataclass(frozen=True)
class Module:
    """A Python file of the product: dotted name, text and syntax tree."""

    name: str
    path: Path
    text: str
    tree: ast.Module

    @property
    def room(self) -> str:
        """`package.room`, or only the package for a module outside any room."""
        parts = self.name.split(".")
        return ".".join(parts[:2]) if len(parts) > 1 and (PROJECT / parts[0] / parts[1]).is_dir() else parts[0]

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        return tuple(ast.walk(self.tree))

    def iter_imports(self) -> Iterator[str]:
        """Yield the dotted names of all its imports, at the top or inside functions."""
        for node in _iter_statements(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield from (
                    name if (name := f"{node.module}.{alias.name}") in list_names() else node.module
                    for alias in node.names
                )


def _iter_statements(inside: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(inside):
        if isinstance(node, (ast.stmt, ast.excepthandler, ast.match_case)):
            yield node
            yield from _iter_statements(node)


@cache
def list_modules() -> tuple[Module, ...]:
    """Return the modules of the product, without files that it only passes on to users, such as notebooks."""
    found = []
    gc.disable()  # the trees have no circles, and walking them again and again is three quarters of the time
    for package in PACKAGES:
        for path in sorted(each for each in (PROJECT / package).rglob("*.py") if each.parent.name != "templates"):
            name = ".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__")
            text = path.read_text(encoding="utf-8")
            found.append(Module(name, path.relative_to(PROJECT), text, ast.parse(text)))
    gc.enable()
    return tuple(found)


@cache
def list_names() -> frozenset[str]:
    return frozenset(module.name for module in list_modules())


@cache
def map_module_imports() -> dict[str, set[str]]:
    """Map each module to the product's modules that it imports; parent packages do not count."""
    return {
        module.name: {name for name in module.iter_imports() if name in list_names() and name != module.name}
        for module in list_modules()
    }


@cache
def map_room_imports() -> dict[str, set[str]]:
    """Map each room to the rooms that its modules import."""
    rooms = {module.name: module.room for module in list_modules()}
    found: dict[str, set[str]] = {room: set() for room in rooms.values()}
    for module, imported in map_module_imports().items():
        found[rooms[module]] |= {rooms[name] for name in imported} - {rooms[module]}
    return found


def find_circle(graph: Mapping[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


# The picture

WIDTH, ROW, BOX, GAP, EDGE = 1180, 104, 34, 22, 14
_LANES = {
    "pipelines": "what runs, when and from where",
    "assets": "the stages, in the order data flows",
    "ndl_export": "what goes out",
    "privacy": "what a privacy reviewer must read",
    "sources": "what comes in",
}
_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1d2433 }
.optional { stroke-dasharray: 5 3; fill: #fff }
.lane { font-weight: 600; font-size: 15px } .note { fill: #5b6475 }
rect { fill: #e8effa; stroke: #5b7db1; rx: 6 } .band { fill: #f6f7f9; stroke: none }
.arrow { stroke: #6b7a94; fill: none; stroke-width: 1.3 } marker path { fill: #6b7a94 }
"""


def draw_picture() -> str:
    """Draw the rooms of each package as SVG, with arrows to rooms that import them unless a chain implies them."""
    title = (
        "The rooms of the code. Each package imports those below it; an arrow leads to the room that builds on another."
        " Rooms with a dashed edge are optional."
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {ROW * len(_LANES)}" role="img">',
        f"<title>{title}</title>",
        f"<style>{_STYLE}</style>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" /></marker></defs>',
    ]
    for number, (package, note) in enumerate(_LANES.items()):
        top = ROW * number
        parts.append(f'<rect class="band" x="0" y="{top}" width="{WIDTH}" height="{ROW - 6}" />')
        parts.append(
            f'<text x="{EDGE}" y="{top + 20}"><tspan class="lane">{package}/</tspan>'
            f'<tspan class="note" dx="10">{html.escape(note)}</tspan></text>'
        )
        parts += _draw_lane(package, top + 30)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _draw_lane(package: str, top: int) -> Iterator[str]:
    known = map_room_imports()
    rooms = [room for room in ORDER[package] if f"{package}.{room}" in known]
    width = (WIDTH - 2 * EDGE - GAP * (len(rooms) - 1)) / len(rooms)
    left = {room: EDGE + number * (width + GAP) for number, room in enumerate(rooms)}
    for room, x in left.items():
        kind = ' class="optional"' if f"{package}.{room}" in OPTIONAL else ""
        yield f'<rect{kind} x="{x:.0f}" y="{top}" width="{width:.0f}" height="{BOX}" />'
        yield f'<text x="{x + width / 2:.0f}" y="{top + 22}" text-anchor="middle">{room}</text>'
    for earlier, later in _iter_direct({room: known[f"{package}.{room}"] for room in rooms}, package):
        start, end, middle = left[earlier] + width, left[later], top + BOX / 2
        if rooms.index(later) == rooms.index(earlier) + 1:
            yield f'<path class="arrow" d="M{start:.0f} {middle:.0f}H{end - 2:.0f}" marker-end="url(#tip)" />'
        else:
            low = top + BOX + 8 + 5 * (rooms.index(later) - rooms.index(earlier))
            yield (
                f'<path class="arrow" d="M{start - width / 2:.0f} {top + BOX}C{start - width / 2:.0f} {low},'
                f'{end + width / 2:.0f} {low},{end + width / 2:.0f} {top + BOX + 2}" marker-end="url(#tip)" />'
            )


def _iter_direct(imports: Mapping[str, set[str]], package: str) -> Iterator[tuple[str, str]]:
    """Yield the imports between rooms of one package, earlier room first, that are not implied by a chain of others."""
    own = {room: {name for name in imports if f"{package}.{name}" in imported} for room, imported in imports.items()}

    def is_reachable(start: str, goal: str) -> bool:
        return any(step == goal or is_reachable(step, goal) for step in own[start])

    for later, earlier_rooms in own.items():
        for earlier in sorted(earlier_rooms):
            if not any(is_reachable(other, earlier) for other in earlier_rooms - {earlier}):
                yield earlier, later


if __name__ == "__main__":
    print(draw_picture(), end="")
