"""Verifies that a release bundle, or its synthetic children, is the publisher's, complete, unchanged and consistent.

Signature and checksums are checked first. If they are wrong, nothing else in the bundle is opened, and the report ends
there. A folder, the `.zip` and the `.tar` are checked in the same way, locally or behind a URL; in an archive every
byte is checked.
"""

import io
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from ndl_export.bundle.checks import build_table_layouts, find_privacy_faults, find_request_faults, find_table_faults
from ndl_export.bundle.make import PRIVACY_PAGE_FILE
from ndl_export.documents.pages import FIXED_NAMES
from ndl_export.documents.workbook import build_table_sheet, find_differing_sheets
from ndl_export.facts import bundle_reader, missing, noisy_counts, release_facts
from ndl_export.facts.description import WORKBOOK_FILE
from ndl_export.facts.on_request import ON_REQUEST_FILE, OnRequest
from ndl_export.facts.release_facts import DATAPACKAGE_FILE, PRIVACY_RECORD_FILE, SITE_FOLDER
from ndl_export.facts.row_hashes import ROW_HASHES_FILE, build_row_hashes
from ndl_export.facts.synthetic_folder import (
    SYNTHETIC_FILES,
    find_synthetic_faults,
    find_synthetic_version,
    is_synthetic,
)
from ndl_export.files import signing, stores
from ndl_export.files.archive import Files
from ndl_export.files.signing import PUBLIC_KEY_FILE, SIGNATURE_FILE, SUMS_FILE, UNCOVERED, list_changed, read_sums
from ndl_export.metadata.records import REGISTRY_FILE, build_registry_file
from ndl_export.site.layouts import ReleasedFigures
from ndl_export.site.pages import build_site_downloads, list_site_names
from ndl_export.tables import TABLES, csv_files
from ndl_export.tables.rows import Layout
from sources.reference.places import PILOT

Faults = list[tuple[str, str]]
"""(file, what is wrong with it)."""
TABLE_SUFFIXES = (".parquet", csv_files.ALL_ROWS, ".csv", ".meta.csv")


class Fault(NamedTuple):
    """A fault: the file of the bundle, and what is wrong with it."""

    file: str
    what: str

    def __str__(self) -> str:
        return f"{self.file}: {self.what}"


@dataclass(frozen=True)
class Verification:
    """The result of verifying a bundle.

    `pinned` states whether the signature was checked against a key from outside the bundle. `version` and `fingerprint`
    are the bundle's own; None if they cannot be read. `withdrawn` is the release directory's sentence on a withdrawal,
    which is not a fault of the bundle; None if there is none.
    """

    bundle: str
    version: str | None
    fingerprint: str | None
    pinned: bool
    faults: tuple[Fault, ...]
    withdrawn: str | None = None
    synthetic: bool = False
    """Whether the files are synthetic children of that release, not a bundle."""
    files: Files = field(default_factory=dict, repr=False)
    """Content by name, as it was verified; empty if it cannot be read."""

    @property
    def ok(self) -> bool:
        return not self.faults

    def __str__(self) -> str:
        of = "synthetic children of release" if self.synthetic else "release"
        name = f"{self.bundle} ({of} {self.version})" if self.version else self.bundle
        lines = [f"{name}: {'sound' if self.ok else 'NOT SOUND'}", *(f"  {fault}" for fault in self.faults)]
        if self.withdrawn:
            lines.append(self.withdrawn)
        if self.fingerprint:
            lines.append(f"signing key, SHA-256: {self.fingerprint}")
        if self.fingerprint and not self.pinned:
            lines.append(
                "The key is only the bundle's own: this shows that nothing changed since it was signed, not who signed"
                " it. Compare the fingerprint with the publisher's, or check again with the publisher's key."
            )
        return "\n".join(lines)


def verify(bundle: Path | str, trusted_key: Path | None = None) -> Verification:
    """Check a bundle. Raises OSError or `StoreError` if it cannot be read, and `UnusableKey`."""
    trusted = trusted_key.read_bytes() if trusted_key else None
    if trusted is not None:
        # Called for its error: an unusable key is reported before anything is fetched.
        signing.compute_fingerprint(trusted)
    place = str(bundle) if stores.is_url(str(bundle)) else Path(bundle)
    shown = stores.hide_query(place).rstrip("/") if isinstance(place, str) else str(place)
    name = shown.rpartition("/")[2]
    try:
        folder, files = bundle_reader.read_files(place)
    except ValueError as error:
        return Verification(shown, None, None, trusted is not None, (Fault(name, str(error)),))
    version, faults = None, find_integrity_faults(files, trusted)
    # The content is opened only if it is unchanged since it was signed.
    if not faults and is_synthetic(files):
        version, faults = find_synthetic_version(files), find_synthetic_faults(files)
    elif not faults:
        version, faults = _verify_content(files)
    if folder and version and folder != version:
        faults.append((name, f"its folder is called {folder}, its content is release {version}"))
    return Verification(
        shown,
        version,
        _fingerprint(files),
        trusted is not None,
        tuple(Fault(*each) for each in faults),
        _explain_withdrawal(place, version),
        is_synthetic(files),
        files,
    )


def _explain_withdrawal(place: Path | str, version: str | None) -> str | None:
    """Return what the bundle's release directory says about its withdrawal, or None if it is not withdrawn."""
    try:
        found = bundle_reader.read_withdrawal(place, version) if version else None
    except (release_facts.UnreadableWithdrawals, stores.StoreError) as error:
        return str(error)
    return found.sentence if found else None


def _fingerprint(files: Files) -> str | None:
    try:
        return signing.compute_fingerprint(files.get(PUBLIC_KEY_FILE, b""))
    except signing.UnusableKey:
        return None


_UNREADABLE = "it does not say which tables were asked for, or what was measured for them"


def _verify_content(files: Files) -> tuple[str | None, Faults]:
    """Return the version and the faults in the content of files whose signature is valid."""
    try:
        package, record = (json.loads(files[name]) for name in (DATAPACKAGE_FILE, PRIVACY_RECORD_FILE))
        version = str(release_facts.Version.parse(package["version"]))
        cohorts, councils, absent = tuple(package["cohorts"]), tuple(package["councils"]), package["missing"]
        if odd := missing.find_faults(absent, councils, cohorts):
            raise ValueError("; ".join(odd))
        plans = {key: files[name] for key, name in noisy_counts.list_plan_files(cohorts).items()}
        # Called for its errors: councils that do not exist, or plans without a readable detail.
        build_table_layouts(councils, cohorts, absent, plans)
    except (ValueError, KeyError, TypeError) as error:
        return None, [(DATAPACKAGE_FILE, f"it does not say what the release is: {error!r}")]
    try:
        on_request = OnRequest.read(files)
    except (ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as error:
        return version, [(ON_REQUEST_FILE, f"{_UNREADABLE}: {error}")]
    unsound = [(PRIVACY_RECORD_FILE, what) for what in find_privacy_faults(record, version, cohorts)] or [
        (ON_REQUEST_FILE, what) for what in find_request_faults(on_request, record, version, cohorts)
    ]
    faults = _find_package_faults(files, package) + unsound
    if not unsound and files[REGISTRY_FILE] != build_registry_file(record, package.get("notice", "")).encode():
        faults.append((REGISTRY_FILE, f"does not say the same as {PRIVACY_RECORD_FILE}"))
    if not files[PRIVACY_PAGE_FILE].strip():
        faults.append((PRIVACY_PAGE_FILE, "it is empty"))
    if on_request and unsound:  # the rows of the requested tables are then unknown
        return version, faults
    layouts = build_table_layouts(councils, cohorts, absent, plans, on_request.tables)
    try:
        # Not `read_table`, which imports pandas: a third of a second.
        tables = {name: pq.ParquetFile(io.BytesIO(files[f"{name}.parquet"])).read() for name in layouts}
        cells = pq.ParquetFile(io.BytesIO(files[noisy_counts.NOISY_COUNTS_FILE])).read()
        covariance = pq.ParquetFile(io.BytesIO(files[noisy_counts.NOISE_COVARIANCE_FILE])).read()
    except (pa.ArrowException, OSError) as error:
        return version, [*faults, ("*.parquet", f"cannot be read: {error}")]
    faults += [(noisy_counts.NOISY_COUNTS_FILE, what) for what in noisy_counts.find_noisy_faults(plans, cells, record)]
    faults += [
        (noisy_counts.NOISE_COVARIANCE_FILE, what) for what in noisy_counts.find_covariance_faults(covariance, cohorts)
    ]
    wrong = [
        (f"{name}.parquet" if name in layouts else f"tables of {name}", what)
        for name, what in find_table_faults(tables, layouts)
    ]
    # What was made from the tables can be made again only if their rows are the expected ones.
    if wrong:
        return version, faults + wrong
    downloads = build_site_downloads(ReleasedFigures(tables, councils, cohorts, absent, on_request.tables))
    return version, faults + _find_differences(files, tables, layouts, downloads, package)


def _find_differences(
    files: Files,
    tables: Mapping[str, pa.Table],
    layouts: Mapping[str, Layout],
    downloads: Files,
    package: Mapping[str, Any],
) -> Faults:
    """Return the files that were made from the tables and differ from them."""
    ordered = {name: layouts[name].sort_rows(data) for name, data in tables.items()}
    defined = {name: rows.table for name, rows in layouts.items()}
    made = csv_files.build_csv_files(ordered, defined)
    made[ROW_HASHES_FILE] = build_row_hashes(made, defined, package["version"], package.get("notice", ""))
    sheets = [build_table_sheet(defined[name], data) for name, data in ordered.items()]
    try:
        differing = find_differing_sheets(files[WORKBOOK_FILE], sheets)
        workbook = [(WORKBOOK_FILE, f"does not hold the same figures as {name}.parquet") for name in differing]
    except ValueError as error:
        workbook = [(WORKBOOK_FILE, f"cannot be read: {error}")]
    return [
        *((name, _explain_other_content(name)) for name, content in made.items() if files[name] != content),
        *workbook,
        *(
            (f"{SITE_FOLDER}/{name}", "does not hold the same figures as the tables")
            for name, content in downloads.items()
            if files[f"{SITE_FOLDER}/{name}"] != content
        ),
    ]


def _explain_other_content(name: str) -> str:
    """Return what is wrong with a CSV file, the bulk upload or the row hashes, if they do not match the tables."""
    if name == csv_files.EES_UPLOAD_FILE:
        return "does not hold the same figures as the tables"
    if name == ROW_HASHES_FILE:
        return "does not hold the hashes of the tables' rows"
    if name.endswith(".meta.csv"):
        return f"does not describe {name.removesuffix('.meta.csv')}.csv"
    return f"does not hold the same figures as {name.removesuffix(csv_files.ALL_ROWS).removesuffix('.csv')}.parquet"


def _find_package_faults(files: Files, package: Mapping[str, Any]) -> Faults:
    listed = {resource["path"] for resource in package["resources"]}
    expected = {name for name in files if "/" not in name} - {DATAPACKAGE_FILE, *UNCOVERED}
    return [
        *((DATAPACKAGE_FILE, f"does not describe {name}") for name in sorted(expected - listed)),
        *((DATAPACKAGE_FILE, f"describes {name}, which is not there") for name in sorted(listed - expected)),
    ]


def find_integrity_faults(files: Mapping[str, bytes], trusted: bytes | None) -> Faults:
    """List the faults in the set of `files` (content by name), signature or checksums; empty if there are none.

    `trusted` is the publisher's public key in PEM, or None to use the bundle's own.
    """
    faults = [(name, "missing") for name in sorted(_list_due_files(files) - files.keys())]
    faults += [(name, "not part of a bundle") for name in sorted(files.keys() - _list_due_files(files))]
    # A release without requests has no `on_request.json`, so one that names neither table nor plan is a fault.
    if OnRequest.list_names(files) == ((), {ON_REQUEST_FILE}):
        faults.append((ON_REQUEST_FILE, _UNREADABLE))
    if {SUMS_FILE, SIGNATURE_FILE, PUBLIC_KEY_FILE} <= files.keys():
        faults += _find_signature_faults(files, trusted)
    if SUMS_FILE in files:
        faults += _find_checksum_faults(files)
    return faults


def _list_due_files(files: Files) -> frozenset[str]:
    """Return the names of the files that a bundle, or a folder of synthetic children, should have by its own records.

    If a bundle's records cannot be read, these are the files of the pilot's.
    """
    if is_synthetic(files):
        return SYNTHETIC_FILES
    listed = {ON_REQUEST_FILE} if f"  {ON_REQUEST_FILE}\n".encode() in files.get(SUMS_FILE, b"") else set()
    tables, others = OnRequest.list_names(files)
    try:
        package = json.loads(files[DATAPACKAGE_FILE])
        cohorts, councils = ([str(each) for each in package[name]] for name in ("cohorts", "councils"))
        return list_bundle_files(cohorts, councils, tables, others | listed)
    except (KeyError, TypeError, ValueError):
        return list_bundle_files([""], PILOT, tables, others | listed)


def list_bundle_files(
    cohorts: Collection[str], councils: Collection[str], requested: Collection[str] = (), for_them: Collection[str] = ()
) -> frozenset[str]:
    """Return the names of all files of a bundle; `for_them` are those that `on_request` adds for `requested` tables."""
    tables = (name + suffix for name in (*TABLES, *requested) for suffix in TABLE_SUFFIXES)
    plans = noisy_counts.list_plan_files(cohorts).values()
    others = frozenset((*FIXED_NAMES, *plans, *for_them, *tables))
    return others.union(f"{SITE_FOLDER}/{name}" for name in list_site_names(cohorts, councils, others, requested))


def _find_signature_faults(files: Mapping[str, bytes], trusted: bytes | None) -> Faults:
    own = files[PUBLIC_KEY_FILE]
    try:
        if trusted is not None and signing.compute_fingerprint(trusted) != signing.compute_fingerprint(own):
            return [(PUBLIC_KEY_FILE, "this is not the trusted key")]
        if not signing.is_signed(own, files[SUMS_FILE], files[SIGNATURE_FILE]):
            return [(SIGNATURE_FILE, f"this is not the signature of {SUMS_FILE}")]
    except signing.UnusableKey as error:
        return [(PUBLIC_KEY_FILE, str(error))]
    return []


def _find_checksum_faults(files: Mapping[str, bytes]) -> Faults:
    try:
        expected = read_sums(files[SUMS_FILE])
    except ValueError as error:
        return [(SUMS_FILE, str(error))]
    due = _list_due_files(files)
    unlisted = sorted(due - expected.keys() - set(UNCOVERED))
    unknown = sorted(expected.keys() - due - files.keys())
    return [
        *((name, f"changed: its content does not match {SUMS_FILE}") for name in list_changed(files, expected)),
        *((SUMS_FILE, f"does not list {name}") for name in unlisted),
        *((SUMS_FILE, f"lists {name}, which is not part of a bundle") for name in unknown),
    ]
