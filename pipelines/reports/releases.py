"""Releases as text: the result of `readiness publish`, and two releases compared for `readiness diff`."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ndl_export.analyst_db import DATABASE_FILE
from ndl_export.analyst_db.changes import HEADER
from ndl_export.api.static import is_figure_file
from ndl_export.facts.description import API_FOLDER
from ndl_export.facts.directory_files import CATALOGUE_FILE, FEED_FILE, LATEST_FILE
from ndl_export.publish.release_diff import ReleaseDiff
from ndl_export.publish.upload import Published
from ndl_export.site import SITE_FOLDER
from pipelines.reports.document import Grid, iter_grid_lines

_FIGURES_SHOWN = 20
"""Figures that are listed, unless all are asked for."""
_SHARPER = (
    "Both have the same noisy counts of the same records, and one has further ones, measured for tables on request:\n"
    "a figure has changed if it is shown differently, and moved if that is more than these explain. Widths of\n"
    "intervals are medians, relative to before."
)
_COLUMNS = ("table", "measure", "time_period", "area_name", "row", "previous", "current", "change")


def build_published_facts(found: Published, version: str) -> dict[str, Any]:
    """Return facts about files that were sent, or would be; JSON-ready."""
    return {
        "version": version,
        "url": found.store.url,
        "sent": {each: found.sizes[each] for each in found.sent},
        "removed": list(found.removed),
        "there": len(found.there),
        "current": str(found.current) if found.current else None,
        "withdrawn": found.withdrawn.sentence if found.withdrawn else None,
    }


def describe_published(found: Published, version: str, *, done: bool) -> str:
    """Return text about files that were sent, or would be unless `done`, and the addresses of the release."""
    lines = [] if done else list(_iter_sent_lines(found))
    lines += [] if done else [f"{each}  (taken away)" for each in found.removed]
    lines.append(_describe_sent(found, version, done))
    if found.withdrawn:
        lines.append(f"{found.withdrawn.sentence} Catalogue, feed, API and database say so.")
    if done:
        lines += ["", *_list_places(found, version)]
    return "\n".join(lines)


def _iter_sent_lines(found: Published) -> Iterator[str]:
    """Yield a line for each file that would be sent; files of figures are many, and have one line a release."""
    figures: dict[str, list[int]] = {}
    for name in found.sent:
        if is_figure_file(name):
            figures.setdefault("/".join(name.split("/")[:-2]), []).append(found.sizes[name])
        else:
            yield f"{name}  ({found.sizes[name]:,} bytes)"
    for folder, sizes in figures.items():
        yield f"{folder}/  ({len(sizes)} files, {sum(sizes):,} bytes)"


def _describe_sent(found: Published, version: str, done: bool) -> str:
    if not found.sent and not found.removed:
        return f"Release {version} is at {found.store.url} already, every file as it should be: nothing to send."
    size = sum(found.sizes[each] for each in found.sent)
    count = f"{len(found.sent)} files ({size:,} bytes)"
    kept = f"{len(found.there)} files were there already"
    if done:
        return f"Release {version} is published at {found.store.url}: {count} sent and read back; {kept}."
    return f"Nothing was sent: {count} would be, to {found.store.url}; {kept}."


def _list_places(found: Published, version: str) -> list[str]:
    address = found.store.address
    places = {
        "Bundle": address(f"{version}/"),
        "Archives": f"{address(f'{version}.zip')}, .tar",
        "Analyst database": address(DATABASE_FILE),
        "Catalogue, feed": f"{address(CATALOGUE_FILE)}, {FEED_FILE}",
        "API": address(f"{API_FOLDER}/index.json"),
    }
    if found.current:
        places["Release page"] = address(f"{SITE_FOLDER}/index.html")
        places["Current release"] = f"{found.current}, as {address(LATEST_FILE)} says"
    else:
        places["Current release"] = "none: every release is withdrawn"
    return [f"{name + ':':<18}{place}" for name, place in places.items()]


def describe_differences(found: ReleaseDiff, *, everything: bool) -> str:
    """Return changes of the schema, figures by table, and figures that moved: the first few, or `everything`."""
    before, now = (
        f"Release {side.release.version} (schema {side.schema_version})" for side in (found.before, found.now)
    )
    came, went = (", ".join(names) for names in found.requested)
    requested = [f"{what}: {names}." for what, names in (("new", came), ("gone", went)) if names]
    blocks = [
        f"{before} -> {now}",
        _describe_schema(found),
        *([f"Tables on request, {' '.join(requested)}"] if requested else []),
        _describe_figures(found),
    ]
    moved = [line for one in found.figures.values() for line in one.moved]
    if moved:
        shown = moved if everything else moved[:_FIGURES_SHOWN]
        places = [HEADER.index(name) for name in _COLUMNS]
        listed = _format_grid(_COLUMNS, [[line[place] for place in places] for line in shown])
        left = len(moved) - len(shown)
        more = f"\nand {left:,} more: --all lists them, --json gives their intervals" if left else ""
        blocks.append(f"Figures that moved beyond the interval of their change\n{listed}{more}")
    return "\n\n".join(blocks)


def _describe_schema(found: ReleaseDiff) -> str:
    if not found.changes:
        return "Schema: no change."
    rows = [(each.weight.name.lower(), each.table, each.column, each.category, each.what) for each in found.changes]
    listed = _format_grid(("change", "table", "column", "category", "what"), rows)
    return f"Schema\n{listed}\nThese changes ask for schema {found.asked_for}."


def _describe_figures(found: ReleaseDiff) -> str:
    sharper = any(one.width_ratio is not None for one in found.figures.values())
    rows = (
        (
            *(name, f"{one.compared:,}", f"{len(one.moved):,}", f"{one.added:,}", f"{one.left_out:,}"),
            *((f"{one.changed:,}", "" if one.width_ratio is None else f"{one.width_ratio:.1%}") if sharper else ()),
        )
        for name, one in found.figures.items()
    )
    further = ("changed", "width of intervals") if sharper else ()
    listed = _format_grid(("table", "compared", "moved", "rows added", "rows left out", *further), rows)
    legend = f"\n{_SHARPER}" if sharper else ""
    anew = f"\nNot compared: {', '.join(found.not_compared)}." if found.not_compared else ""
    return (
        "Figures. If no record had changed, at most 5% of releases would list any as moved (Holm 1979)."
        f"{legend}\n{listed}{anew}"
    )


def _format_grid(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(iter_grid_lines(Grid("", header, list(rows)), sys.maxsize))
