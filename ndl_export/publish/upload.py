"""Publishes a release to a folder in S3, in Azure or on a file system (`files.stores`).

The bundle's folder and archives are sent first, and each file is read back; then the API's files of figures. The files
that lead readers to them are built only from the bundles published at the place, and are replaced last, each in one
step. If the process is interrupted, readers still find complete releases, and the next run sends the rest. Files are
compared by content, never by size alone; databases by their rows, because their bytes differ with every build.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import duckdb

from ndl_export.api import documents
from ndl_export.bundle import release_directory, verify
from ndl_export.facts import bundle_reader, directory_files, release_facts
from ndl_export.facts.description import API_FOLDER, DATABASE_FILE
from ndl_export.facts.release_facts import SITE_FOLDER, Version
from ndl_export.facts.synthetic_folder import SYNTHETIC_FOLDER
from ndl_export.files.archive import ARCHIVES, LARGEST
from ndl_export.files.signing import PUBLIC_KEY_FILE, SUMS_FILE
from ndl_export.files.stores import AT_ONCE, Store, StoreError, open_store
from ndl_export.files.whole_files import lock_out_writers, stage_files
from ndl_export.publish.one_publisher import PublishRefused, lock_place
from privacy.doors.database import open_in_memory
from privacy.doors.sql import quote_identifier, quote_text

Files = dict[str, bytes]
"""Content by name."""
Known = Callable[[Sequence[bundle_reader.Anchor]], None]
"""A check of every bundle in the release directory and at the place; raises if the ledger does not know one."""


@dataclass(frozen=True)
class Upload:
    """The result: names of files that were sent (or would be) in order, that were already there, and that were deleted.

    `sizes` are in bytes; `current` is the release that `latest.json` then names, or None; `withdrawn` is the withdrawal
    of the release, or None.
    """

    store: Store
    sent: tuple[str, ...]
    there: tuple[str, ...]
    removed: tuple[str, ...]
    sizes: Mapping[str, int]
    current: Version | None
    withdrawn: release_facts.Withdrawal | None


def publish(
    release_dir: Path,
    version: str,
    url: str,
    *,
    known: Known,
    approved: str | None = None,
    trusted_key: Path | None = None,
    dry_run: bool = False,
    tell: Callable[[str], None] = lambda line: None,
) -> Upload:
    """Publish the release to the folder that `url` names; with `dry_run`, only return what would be sent.

    Nothing is sent if `known` raises, or if `approved` is given and is not the SHA-256 of the bundle's sums.

    Raises `PublishRefused`, its subclass `PlaceInUse` if another publisher is writing to the place, and `StoreError`.
    """
    with lock_out_writers(release_dir):
        content = _read_verified(release_dir, version, trusted_key)
    # The hash is of the bytes that are sent, so a replacement after the check of the approval is noticed.
    if approved not in (None, hashlib.sha256(content[f"{version}/{SUMS_FILE}"]).hexdigest()):
        raise PublishRefused(f"release {version} was replaced after it was approved, so nothing was sent")
    parsed = Version.parse(version)
    store = open_store(url, to_write=True)
    if store.protocol == "file" and Path(store.root).resolve() == release_dir.resolve():
        raise PublishRefused(f"{release_dir} is the release directory itself: publish to another place")
    if dry_run:
        return _plan(release_dir, parsed, content, store, known)[0]
    with lock_place(store) as check_alone:
        outcome, replaced = _plan(release_dir, parsed, content, store, known)
        store.clear()
        _send_content(store, {name: content[name] for name in outcome.sent if name in content}, tell)
        figures = {name: replaced.pop(name) for name in [*replaced] if documents.is_figure_file(name)}
        _send_all(store, figures, lambda line: tell(f"{line} of figures"), changes=True)
        # A publisher that was taken for dead has been overtaken: its catalogue would lack the other's release.
        check_alone()
        for name, each in replaced.items():
            _send(store, name, each, changes=True)
        # After the replacement, because until then a page may link to them.
        for name in outcome.removed:
            store.remove(name)
        store.clear()
    return outcome


def _plan(release_dir: Path, parsed: Version, content: Files, store: Store, known: Known) -> tuple[Upload, Files]:
    """Compare the release with the files at the place; return the outcome, and the leading files to replace in order.

    Raises `PublishRefused`, and whatever `known` raises.
    """
    version = str(parsed)
    missing = _list_missing(store, parsed, content)
    try:
        known([*bundle_reader.read_anchors(release_dir), *bundle_reader.fetch_anchors(store, arriving=version)])
        published = bundle_reader.fetch_catalogued(store)
    except bundle_reader.UnreadableAnchor as error:
        raise PublishRefused(str(error)) from None
    withdrawn = _merge_withdrawals(store, release_dir)
    # A withdrawn release that is already there may be published again: that is how readers learn of its withdrawal.
    if version in withdrawn and (missing or parsed not in published):
        raise PublishRefused(f"{withdrawn[version].sentence} It is not published.")
    with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryDirectory() as beside:
        bundles = {each: _find_bundle(store, each, release_dir, Path(scratch)) for each in published - {parsed}}
        bundles[parsed] = release_dir / version
        withdrawn = {name: each for name, each in withdrawn.items() if Version.parse(name) in bundles}
        synthetic = _find_synthetic_folders(store, bundles, release_dir, content)
        leading = write_leading_files(bundles, synthetic, withdrawn, release_dir, Path(beside))
        replaced = {name: leading[name].read_bytes() for name in _list_changed(store, leading, Path(scratch))}
        sizes = {name: len(each) for name, each in content.items()}
        sizes |= {name: path.stat().st_size for name, path in leading.items()}
    outcome = Upload(
        store,
        sent=(*missing, *replaced),
        there=tuple(name for name in sizes if name not in missing and name not in replaced),
        # In the opposite order, so that nothing leads to a file that is gone.
        removed=tuple(sorted(_list_leading(store) - leading.keys(), key=_rank_leading, reverse=True)),
        sizes=sizes,
        current=max((each for each in bundles if str(each) not in withdrawn), default=None),
        withdrawn=withdrawn.get(version),
    )
    return outcome, replaced


def _read_verified(release_dir: Path, version: str, trusted_key: Path | None) -> Files:
    """Verify the bundle, and read every file of its folder and archives. Raises `PublishRefused`."""
    if problem := release_facts.explain_absence(release_dir, version):
        raise PublishRefused(problem)
    bundle = release_dir / version
    report = verify.verify(bundle, trusted_key)
    if not report.ok:
        first, *more = report.faults
        others = f", and {len(more)} faults more: readiness verify {bundle} lists them" if more else ""
        raise PublishRefused(f"release {version} does not verify, so nothing was sent: {first}{others}")
    if report.version != version:
        raise PublishRefused(f"{bundle} is release {report.version}: nothing was sent")
    archives = {f"{version}.{suffix}": pack(report.files, version) for suffix, pack in ARCHIVES.items()}
    for name, packed in archives.items():
        if not (path := release_dir / name).is_file() or path.read_bytes() != packed:
            raise PublishRefused(f"{path} is not the archive of {bundle}, so nothing was sent")
    files = {f"{version}/{name}": each for name, each in sorted(report.files.items())}
    return files | archives | _read_synthetic(release_dir, version)


def _read_synthetic(release_dir: Path, version: str) -> Files:
    """Verify and read the release's synthetic children, if it has any. Raises `PublishRefused`."""
    folder = release_dir / SYNTHETIC_FOLDER / version
    if not folder.is_dir() or version in release_facts.load_withdrawals(release_dir):
        return {}
    # With the key of the release: children signed with another key may not have been made from it.
    report = verify.verify(folder, release_dir / version / PUBLIC_KEY_FILE)
    if not report.ok:
        raise PublishRefused(f"{folder} does not verify, so nothing was sent: {report.faults[0]}")
    return {f"{SYNTHETIC_FOLDER}/{version}/{name}": content for name, content in sorted(report.files.items())}


def _find_synthetic_folders(
    store: Store, bundles: Mapping[Version, Path], release_dir: Path, content: Files
) -> dict[Version, Path]:
    """Return the folders of synthetic children that are at the place or are sent with this release."""
    found = {}
    for each in bundles:
        sums, folder = f"{SYNTHETIC_FOLDER}/{each}/{SUMS_FILE}", release_dir / SYNTHETIC_FOLDER / str(each)
        if sums in content or (folder.is_dir() and store.read(sums, LARGEST) == (folder / SUMS_FILE).read_bytes()):
            found[each] = folder
    return found


def _list_missing(store: Store, version: Version, content: Files) -> list[str]:
    """Return the names of files that the place lacks. Raises `PublishRefused` if it has other bytes for one of them."""
    sizes = store.list_sizes() or {}
    there = [name for name in sizes if name in content or name.startswith(f"{version}/")]
    # A file of another size has other bytes, so it is not read.
    doubtful = [name for name in there if sizes[name] == len(content.get(name, b""))]
    found = store.read_all(doubtful, LARGEST)
    if other := sorted(name for name in there if name not in content or found.get(name) != content[name]):
        raise PublishRefused(
            f"release {version} is at {store.url} already with other bytes ({', '.join(other[:3])}"
            f"{' and more' if len(other) > 3 else ''}); what is published never changes:"
            " publish the new figures under a new version"
        )
    return [name for name in content if name not in there]


def _merge_withdrawals(store: Store, release_dir: Path) -> dict[str, release_facts.Withdrawal]:
    """Return withdrawals by version, from the place and from the release directory."""
    try:
        there = bundle_reader.fetch_withdrawals(store)
        return release_facts.load_withdrawals(release_dir) | there
    except release_facts.UnreadableWithdrawals as error:
        raise PublishRefused(str(error)) from None


def _find_bundle(store: Store, version: Version, release_dir: Path, scratch: Path) -> Path:
    """Return a folder with a published release: the local one if it is the same, otherwise a download."""
    own = release_dir / str(version)
    sums = store.read(f"{version}/{SUMS_FILE}", LARGEST)
    if own.is_dir() and (own / SUMS_FILE).read_bytes() == sums:
        return own
    try:
        files = bundle_reader.fetch_folder(store, f"{version}/")
        faults = [f"{name}: {what}" for name, what in verify.find_integrity_faults(files, None)]
    except ValueError as error:
        faults = [str(error)]
    if faults:
        raise PublishRefused(f"release {version}, which the catalogue at {store.url} names, is not whole: {faults[0]}")
    place = scratch / "fetched" / str(version)
    stage_files(place, files)
    return place


def _list_changed(store: Store, leading: Mapping[str, Path], scratch: Path) -> list[str]:
    """Return the names of leading files that the place lacks or has with other content."""
    there = _list_figures_there(store, leading)
    found = store.read_all([name for name in leading if name not in there], LARGEST)
    changed = [name for name in found if found[name] != leading[name].read_bytes()]
    if DATABASE_FILE in changed and (database := found[DATABASE_FILE]) is not None:
        fetched = scratch / DATABASE_FILE
        fetched.write_bytes(database)
        if is_same_database(leading[DATABASE_FILE], fetched):
            changed.remove(DATABASE_FILE)
    return changed


def _list_figures_there(store: Store, leading: Mapping[str, Path]) -> set[str]:
    """Return the API's files of figures that the place is known to have without reading them.

    The list of a release's files has a hash of them all and is sent after them. The names and sizes of files are
    compared as well, because a file may have been removed from the place.
    """
    sizes = store.list_sizes() or {}
    lists = [name for name in leading if documents.is_list_of_files(name)]
    found = store.read_all(lists, LARGEST)
    folders = tuple(f"{name.rpartition('/')[0]}/" for name in lists if found[name] == leading[name].read_bytes())
    return {
        name
        for name, path in leading.items()
        if documents.is_figure_file(name) and name.startswith(folders) and sizes.get(name) == path.stat().st_size
    }


def _send_content(store: Store, content: Files, tell: Callable[[str], None]) -> None:
    """Send the release's files; those that state its privacy charge go first, so that they exist if anything does."""
    first = [name for file in bundle_reader.ANCHOR_FILES for name in content if name.partition("/")[2] == file]
    for name in first:
        _send(store, name, content[name], changes=False)
    others = {name: each for name, each in content.items() if name not in first}
    _send_all(store, others, lambda line: tell(f"{line} of the release sent and read back"), changes=False)


def _send_all(store: Store, content: Files, tell: Callable[[str], None], *, changes: bool) -> None:
    """Send files in parallel, and read each back."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        sending = [pool.submit(_send, store, name, each, changes=changes) for name, each in content.items()]
        try:
            for count, each in enumerate(sending, 1):
                each.result()
                if count % 20 == 0 or count == len(sending):
                    tell(f"{count} of {len(sending)} files")
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _send(store: Store, name: str, content: bytes, *, changes: bool) -> None:
    """Send a file, and read it back."""
    store.put(name, content, changes=changes)
    if store.read(name, LARGEST) != content:
        raise StoreError(f"{store.format_address(name)} does not read back as it was sent: run the command again")


_FIRST_PAGE = f"{SITE_FOLDER}/index.html"
_API_INDEX = f"{API_FOLDER}/index.json"
_LEADING = (
    release_facts.WITHDRAWN_FILE,
    directory_files.UPCOMING_FILE,
    directory_files.REGISTER_FILE,
    directory_files.CATALOGUE_FILE,
    f"{API_FOLDER}/",
    _API_INDEX,
    DATABASE_FILE,
    directory_files.FEED_FILE,
    f"{SITE_FOLDER}/",
    _FIRST_PAGE,
    # Last, because scripts take from it which version to fetch.
    directory_files.LATEST_FILE,
)
"""In the order of replacement: the catalogue before the pages, because the next run reads from it what is published.
Files of figures go before all of these."""


def _list_leading(store: Store) -> set[str]:
    """Return the names of the leading files at a place."""
    folders = (f"{SITE_FOLDER}/", f"{API_FOLDER}/")
    return {name for name in store.list_sizes() or {} if name in _LEADING or name.startswith(folders)}


def _rank_leading(name: str) -> tuple[int, str]:
    """Return the key that sorts leading files in the order of replacement."""
    # The list of a release's figures comes before `releases.json`, which leads to it.
    if name.startswith(documents.FIGURES_FOLDER):
        return -1 if documents.is_list_of_files(name) else -2, name
    folder = API_FOLDER if name.startswith(f"{API_FOLDER}/") else name.partition("/")[0]
    return _LEADING.index(name if name in _LEADING else f"{folder}/"), name


def write_leading_files(
    bundles: Mapping[Version, Path],
    synthetic: Mapping[Version, Path],
    withdrawn: Mapping[str, release_facts.Withdrawal],
    release_dir: Path,
    scratch: Path,
) -> dict[str, Path]:
    """Write the leading files below `scratch`, and return their paths by name in the order of replacement.

    `bundles` are the folders of all published releases (at least one), and `synthetic` those of synthetic children.
    `release_dir` has the announcements and the register of requests. Raises `UnreadableRegister`.
    """
    for version, folder in bundles.items():
        (scratch / str(version)).symlink_to(folder.resolve(), target_is_directory=True)
    for version, folder in synthetic.items():
        place = scratch / SYNTHETIC_FOLDER / str(version)
        place.parent.mkdir(exist_ok=True)
        place.symlink_to(folder.resolve(), target_is_directory=True)
    if withdrawn:
        release_facts.record_withdrawals(scratch, {}, *withdrawn.values())
    for name in (directory_files.UPCOMING_FILE, directory_files.REGISTER_FILE):
        if (release_dir / name).exists():
            shutil.copyfile(release_dir / name, scratch / name)
    release_directory.refresh(scratch)
    # `latest` is left out too, because an object store has no links; `latest.json` says the same.
    made = [path for path in scratch.iterdir() if not path.is_symlink() and path.name != SYNTHETIC_FOLDER]
    files = [file for path in made for file in (path.rglob("*") if path.is_dir() else (path,)) if file.is_file()]
    found = {file.relative_to(scratch).as_posix(): file for file in files if file.name != documents.MADE_FROM_FILE}

    return {name: found[name] for name in sorted(found, key=_rank_leading)}


_DEFINED = (Path(__file__).parent / "definitions.sql").read_text(encoding="utf-8")


def is_same_database(one: Path, other: Path) -> bool:
    """Return whether two DuckDB files have the same definitions and rows; False if one is not a DuckDB file."""
    try:
        return _hash_database(one) == _hash_database(other)
    except duckdb.Error:
        return False


def _hash_database(path: Path) -> str:
    """Return a hash of a database's definitions and rows, independent of the order of rows."""
    with open_in_memory() as connection:
        connection.execute(f"ATTACH {quote_text(path)} AS built (READ_ONLY)")
        # One of the two was fetched, and nothing that it defines may open another file.
        connection.execute("SET enable_external_access = false")
        defined = connection.execute(_DEFINED).fetchall()
        tables = [(schema, name) for kind, schema, name, *_ in defined if kind == "table"]
        rows = [
            connection.execute(
                "SELECT count(*), sum(hash(t)::HUGEINT) FROM"
                f" built.{quote_identifier(schema)}.{quote_identifier(name)} AS t"
            ).fetchall()
            for schema, name in tables
        ]
    return hashlib.sha256(repr((defined, rows)).encode()).hexdigest()
