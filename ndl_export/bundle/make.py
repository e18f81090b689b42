"""Builds a release bundle: the folder `<version>` and the archives `<version>.zip` and `<version>.tar`.

A bundle is written completely to a temporary folder and then renamed; once published it never changes. A bundle held
for approval is kept elsewhere, is rebuilt whenever the release is run, and is published unchanged. The bytes of a
bundle depend only on facts, tables, earlier releases and signing key. Published bundles are also packed into archives.
`release_directory` makes the files beside the bundles.
"""

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ndl_export.analyst_db import build, changes
from ndl_export.answers.published import Published
from ndl_export.answers.questions import Questions
from ndl_export.answers.quotes import list_all_quotes
from ndl_export.bundle.checks import build_table_layouts, find_privacy_faults, find_request_faults, find_table_faults
from ndl_export.bundle.release_directory import BundleRefused, refresh
from ndl_export.documents import pages, workbook
from ndl_export.facts import description, missing, noisy_counts, release_facts
from ndl_export.facts.bundle_reader import read_contents
from ndl_export.facts.on_request import ON_REQUEST_FILE
from ndl_export.facts.release_facts import DATAPACKAGE_FILE, PRIVACY_RECORD_FILE, SITE_FOLDER, Earlier, ReleaseFacts
from ndl_export.facts.row_hashes import CHECK_FILE, ROW_HASHES_FILE, build_row_hashes, read_check_script
from ndl_export.files import signing, whole_files
from ndl_export.files.archive import ARCHIVES
from ndl_export.files.signing import PUBLIC_KEY_FILE, SIGNATURE_FILE, SUMS_FILE, list_changed, read_sums
from ndl_export.metadata import records
from ndl_export.pages import kit
from ndl_export.pages.number_format import join_parts
from ndl_export.site.inference import query_conclusions
from ndl_export.site.pages import build_site_files
from ndl_export.tables import Table, csv_files
from ndl_export.tables.schema import build_arrow_schema, list_columns
from privacy.doors.files import OWNER_ONLY_FILE, OWNER_ONLY_FOLDER, make_folder, sync

PRIVACY_PAGE_FILE = "privacy_statement.md"
CATALOGUE_FILES = (*records.PORTAL_FILES, "croissant.json", "csv-metadata.json")
ROW_GROUP_ROWS = 131_072
ROW_ORDER = (
    b"By time period; within it by area: all councils together, regions, devolved areas, councils by name; within it by"
    b" levels as in the data dictionary"
)


def write_bundle(
    release_dir: Path,
    facts: ReleaseFacts,
    tables: Mapping[str, pa.Table],
    signing_key: Ed25519PrivateKey,
    held_in: Path | None = None,
) -> Path:
    """Write the release to `release_dir`, or hold it in `held_in` until `publish_held`; return the bundle's folder.

    `tables` are by name, with the columns of `build_arrow_schema` and exactly the rows of `build_layout`, in any order.
    If the version is already published with the same bytes, nothing changes. Raises `BundleRefused` if the tables or
    the privacy record fail a check, or if the version is already published with other bytes.
    """
    ordered = _check_tables(facts, tables)
    release_dir.mkdir(parents=True, exist_ok=True)
    with whole_files.lock_folder(release_dir):
        if held_in is not None and not (release_dir / facts.version).exists():
            make_folder(held_in)
            with whole_files.lock_folder(held_in):
                # A held bundle may be replaced, and `_promote` would refuse other bytes of the same version.
                _discard(held_in, facts.version)
                bundle = _write(held_in, release_dir, facts, ordered, signing_key)
                # Nobody but its owner may read a release before it is approved.
                whole_files.set_modes(held_in, OWNER_ONLY_FOLDER, OWNER_ONLY_FILE)
                return bundle
        bundle = _write(release_dir, release_dir, facts, ordered, signing_key)
        _write_archives(read_contents(bundle), facts.version, release_dir)
        refresh(release_dir)
        if held_in is not None:
            _discard(held_in, facts.version)  # left behind if the publishing process died
    return bundle


def hash_sums(folder: Path) -> str:
    """Return the SHA-256 of a bundle's file of sums. Raises `BundleRefused` if its files do not match the sums."""
    files = read_contents(folder)
    if _is_damaged(files):
        raise BundleRefused(f"{folder} is not as it was made: run the same release again, and it is made again")
    return hashlib.sha256(files[SUMS_FILE]).hexdigest()


def publish_held(held_in: Path, release_dir: Path, version: str, approved: str) -> Path:
    """Publish a held bundle. Raises `BundleRefused` unless its sums have the SHA-256 `approved`."""
    with whole_files.lock_folder(release_dir), whole_files.stage(release_dir / version) as folder:
        shutil.copytree(held_in / version, folder)
        # The copy is checked, because the original could be replaced in the meantime.
        if hash_sums(folder) != approved:
            raise BundleRefused(f"release {version}, as it is held, is not the one that was approved")
        whole_files.set_modes(folder, whole_files.FOLDER_MODE, whole_files.FILE_MODE)
        files = read_contents(folder)
        bundle = _promote(folder, release_dir)
        _write_archives(files, version, release_dir)
        refresh(release_dir)
        # Last, so that the same bundle can be published again until everything is in place.
        _discard(held_in, version)
    return bundle


def _discard(held_in: Path, version: str) -> None:
    """Delete the held bundle of a version."""
    shutil.rmtree(held_in / version, ignore_errors=True)
    for suffix in ARCHIVES:
        (held_in / f"{version}.{suffix}").unlink(missing_ok=True)


def _write(
    place: Path, release_dir: Path, facts: ReleaseFacts, tables: Mapping[str, pa.Table], signing_key: Ed25519PrivateKey
) -> Path:
    """Write the bundle's folder into `place`, comparing it with the releases in `release_dir`."""
    earlier = release_facts.read_previous_releases(release_dir, facts)
    with whole_files.stage(place / facts.version) as staged:
        whole_files.stage_files(staged, _build_files(facts, tables, earlier, signing_key))
        return _promote(staged, place)


def _write_archives(files: Mapping[str, bytes], version: str, place: Path) -> None:
    for suffix, pack in ARCHIVES.items():
        with whole_files.stage(place / f"{version}.{suffix}") as archive:
            archive.write_bytes(pack(files, version))
            sync(archive)
            _promote(archive, place)


def _check_tables(facts: ReleaseFacts, tables: Mapping[str, pa.Table]) -> dict[str, pa.Table]:
    """Return the tables in the row order of their definitions. Raises `BundleRefused` if a check fails."""
    plans, record, requested = noisy_counts.collect_plans(facts.noisy_counts), facts.privacy_record, facts.on_request
    faults = missing.find_faults(facts.missing, facts.councils, facts.cohorts)
    unsound = [f"privacy record: {fault}" for fault in find_privacy_faults(record, facts.version, facts.cohorts)]
    faults += unsound or [
        f"{ON_REQUEST_FILE}: {fault}" for fault in find_request_faults(requested, record, facts.version, facts.cohorts)
    ]
    if not (requested and faults):  # otherwise the rows of the requested tables are unknown
        layouts = build_table_layouts(facts.councils, facts.cohorts, facts.missing, plans, requested.tables)
        faults += [f"{name}: {fault}" for name, fault in find_table_faults(tables, layouts)]
        faults += [f"noisy counts: {fault}" for fault in noisy_counts.find_noisy_faults(plans, None, record)]
    if faults:
        raise BundleRefused(f"release {facts.version} is not written:\n" + "\n".join(faults))
    return {name: layouts[name].sort_rows(tables[name]) for name in facts.tables}


def _build_files(
    facts: ReleaseFacts, tables: Mapping[str, pa.Table], earlier: Earlier, signing_key: Ed25519PrivateKey
) -> dict[str, bytes]:
    """Return the content of every file of the bundle, by name."""
    files = csv_files.build_csv_files(tables, facts.tables)
    files[ROW_HASHES_FILE] = build_row_hashes(files, facts.tables, facts.version, facts.notice)
    files[CHECK_FILE] = read_check_script()
    files |= {f"{name}.parquet": _format_parquet(tables[name], table, facts) for name, table in facts.tables.items()}
    files |= noisy_counts.build_noisy_files(facts.noisy_counts, facts.version)
    files |= facts.on_request.build_files(facts.version)
    files[description.WORKBOOK_FILE] = workbook.build_workbook_file(facts, tables)
    covariance = facts.noise_covariance.cast(noisy_counts.COVARIANCE_SCHEMA)
    files[noisy_counts.NOISE_COVARIANCE_FILE] = noisy_counts.format_cells(covariance, facts.version)
    with build.open_analyst_database(facts, tables) as (connection, script):
        concluded = query_conclusions(connection, facts.cohorts)
        published = Published(connection, [release_facts.build_release(facts, tables)])
        quotes = list_all_quotes(Questions(published))
    files |= build.build_analyst_files(facts, script)
    files |= {name: text.encode() for name, text in _render_pages(facts, tables, earlier).items()}
    notice = {"notice": facts.notice} if facts.notice else {}
    files[PRIVACY_RECORD_FILE] = whole_files.format_json(facts.privacy_record | notice)
    files[records.REGISTRY_FILE] = records.build_registry_file(facts.privacy_record, facts.notice).encode()
    files[PUBLIC_KEY_FILE] = signing.get_public_pem(signing_key)
    described = description.describe(facts, files)
    made = {name: records.build_record(name, described, earlier.replaced) for name in records.PORTAL_FILES} | {
        "croissant.json": records.build_croissant(described, files, earlier.replaced),
        "csv-metadata.json": records.build_csvw_metadata(described, files),
    }
    files |= {name: whole_files.format_json(record) for name, record in made.items()}
    files[records.CITATION_FILE] = records.build_citation(described).encode()
    # After all other records, because it lists them with size and hash; the pages link to everything.
    files[DATAPACKAGE_FILE] = whole_files.format_json(records.build_datapackage(facts, files))
    page = build_site_files(facts, tables, files, files.keys() | {SUMS_FILE, SIGNATURE_FILE}, concluded, quotes)
    files |= {f"{SITE_FOLDER}/{name}": content for name, content in page.items()}
    # Last, because the sums cover every file but themselves and their signature.
    return files | signing.sign_files(signing_key, files)


def _format_parquet(data: pa.Table, table: Table, facts: ReleaseFacts) -> bytes:
    """Return the rows of `data`, already in final order, as Parquet; the same content gives the same bytes."""
    schema = build_arrow_schema(table)
    # For readers that do not use Arrow's schema metadata. No time, path or machine name is written.
    metadata = schema.metadata | {
        b"release_version": facts.version.encode(),
        b"columns": whole_files.format_json({column.name: column.description for column in list_columns(table)}),
        b"row_order": ROW_ORDER,
    }
    if origin := facts.on_request.origins.get(table.name):
        metadata[b"on_request"] = origin.encode()
    if facts.notice:
        metadata[b"description"] = join_parts(facts.notice, metadata.get(b"description", b"").decode()).encode()
    rows = data.cast(schema).replace_schema_metadata(metadata)
    return whole_files.format_parquet(rows, data_page_version="1.0", row_group_size=ROW_GROUP_ROWS)


def _render_pages(facts: ReleaseFacts, tables: Mapping[str, pa.Table], earlier: Earlier) -> dict[str, str]:
    comparisons = {
        cohort: changes.compare(
            changes.select_cohort(tables, cohort),
            before := earlier.of.get(cohort),
            facts.on_request.select_cohort(cohort),
            before.find_sharpened(facts) if before else (),
        )
        for cohort in sorted(facts.cohorts)
    }
    moved = [line for tables_of in comparisons.values() for one in tables_of.values() for line in one.moved]
    reconciliation = pages.reconcile(tables["gld_headline"], facts.cohorts)
    texts = {
        "LICENCE.md": pages.render_page("LICENCE.md", facts, licence_address=description.OGL_ADDRESS),
        "README.md": pages.render_readme_page(facts),
        "ai_readiness.md": pages.render_ai_readiness_page(facts, tables, reconciliation),
        "changelog.md": changes.render_changelog_page(facts, earlier, comparisons),
        "changes.csv": whole_files.format_csv(changes.HEADER, moved),
        "code_of_practice.md": pages.render_page("code_of_practice.md", facts, previous=earlier.replaced),
        "data_dictionary.csv": pages.build_data_dictionary_csv(facts.tables),
        "data_dictionary.md": pages.render_data_dictionary_page(facts.on_request.tables),
        "five_safes.md": pages.render_page("five_safes.md", facts, inference=facts.privacy_record["inference"]),
        "methodology.md": pages.render_methodology_page(facts),
        PRIVACY_PAGE_FILE: facts.privacy_page,
        "quality.md": pages.render_quality_page(facts, tables, reconciliation),
        "reconciliation.csv": whole_files.format_csv(pages.RECONCILED, [[*each.values()] for each in reconciliation]),
    }
    return {name: kit.add_notice(text, facts.notice) if name.endswith(".md") else text for name, text in texts.items()}


def _promote(staged: Path, directory: Path) -> Path:
    """Move `staged` into `directory`; keep the same content, and raise `BundleRefused` for other content."""
    place = directory / staged.name
    if not place.exists():
        staged.rename(place)
        # The directory holds the new name, so it has to reach the disk too.
        sync(directory)
        return place
    there, new = (read_contents(path) if path.is_dir() else {path.name: path.read_bytes()} for path in (place, staged))
    differing = sorted(name for name in there.keys() | new.keys() if there.get(name) != new.get(name))
    # An archive has no sums, but it is packed from an identical bundle, so other bytes can only be damage.
    if differing and (place.is_file() or _is_damaged(there)):
        raise BundleRefused(
            f"{place} was damaged since it was written: {', '.join(differing)} is not as signed. Put back a copy of it,"
            " or move it away and run again: the same bytes are written from the stored measurements, and nothing is"
            " spent."
        )
    if signing.PUBLIC_KEY_FILE in differing:
        raise BundleRefused(
            f"{place} is signed with another key than this installation's, and is never replaced: put back the right"
            " signing key"
        )
    if differing:
        raise BundleRefused(
            f"{place} is published already and is never replaced; this one differs in: {', '.join(differing)}."
            f" Where `readiness recompute {place}` finds its figures right, another version of the software, or another"
            " processor, wrote it, and nothing is to be done. Otherwise publish the new figures under a new version."
        )
    return place


def _is_damaged(files: Mapping[str, bytes]) -> bool:
    """Return whether the files of a bundle do not match its own sums."""
    try:
        listed = read_sums(files[SUMS_FILE])
    except (KeyError, ValueError):
        return True
    return bool(list_changed(files, listed) or listed.keys() ^ files.keys() - {SUMS_FILE, SIGNATURE_FILE})
