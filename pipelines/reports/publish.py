"""What `readiness publish` says in the end: what was sent, and what is where."""

from __future__ import annotations

from ndl_export.analyst_db import DATABASE_FILE
from ndl_export.bundle.release_directory import CATALOGUE_FILE, FEED_FILE, LATEST_FILE
from ndl_export.publish.upload import Published
from ndl_export.site import SITE_FOLDER


def render(found: Published, version: str, *, dry_run: bool) -> str:
    """As lines of text."""
    lines = [f"{each}  ({found.sizes[each]:,} bytes)" for each in found.sent] if dry_run else []
    lines += [f"{each}  (taken away)" for each in found.removed] if dry_run else []
    lines.append(_summary(found, version, dry_run))
    if found.withdrawn:
        lines.append(f"{found.withdrawn.sentence} Catalogue, feed and database say so.")
    if not dry_run:
        lines += ["", *_places(found, version)]
    return "\n".join(lines)


def _summary(found: Published, version: str, dry_run: bool) -> str:
    if not found.sent and not found.removed:
        return f"Release {version} is at {found.store.url} already, every file as it should be: nothing to send."
    size = sum(found.sizes[each] for each in found.sent)
    count = f"{len(found.sent)} files ({size:,} bytes)"
    kept = f"{len(found.there)} files were there already"
    if dry_run:
        return f"Nothing was sent: {count} would be, to {found.store.url}; {kept}."
    return f"Release {version} is published at {found.store.url}: {count} sent and read back; {kept}."


def _places(found: Published, version: str) -> list[str]:
    address = found.store.address
    places = {
        "Bundle": address(f"{version}/"),
        "Archives": f"{address(f'{version}.zip')}, .tar",
        "Analyst database": address(DATABASE_FILE),
        "Catalogue, feed": f"{address(CATALOGUE_FILE)}, {FEED_FILE}",
    }
    if found.current:
        places["Release page"] = address(f"{SITE_FOLDER}/index.html")
        places["Current release"] = f"{found.current}, as {address(LATEST_FILE)} says"
    else:
        places["Current release"] = "none: every release is withdrawn"
    return [f"{name + ':':<18}{place}" for name, place in places.items()]
