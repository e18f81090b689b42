"""Sender's side: turns an identifiable extract into a tokens file, the only file that leaves the sender.

It runs the same pass as the pipeline (`stream_extract`), but stops after the first keying.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from assets.home.software import get_software_version
from assets.pseudonymise.findings import Staged, stop_if_wrong
from assets.pseudonymise.split_writer import SenderWriter
from assets.pseudonymise.stream_extract import Tools, make_tools, stream_alone
from assets.pseudonymise.tokens_file import MANIFEST_KEY, Manifest, build_tokens_schema
from privacy import pseudonyms, row_keys
from privacy.doors import files
from privacy.doors.database import open_in_memory
from privacy.doors.sql import parquet
from privacy.keys import SENDER_KEYS, KeyRing
from sources.contracts import CONTRACTS
from sources.contracts.extract_rules import NO_USABLE_ROW
from sources.councils.council_file import CouncilFile
from sources.diagnosis.wrong_files import OtherOrigin, open_recognised
from sources.errors import ExtractStopped, wrap_error
from sources.extract.landing import TOKENS_SUFFIX, Landed, get_state, hash_content, strip_endings
from sources.extract.table import SheetTaken


@dataclass(frozen=True)
class Outputs:
    """Output files for one extract or part, named after the cohort or, for a part, after its file.

    `tokens` is the file to send, encrypted for the pipeline. A readable copy of its manifest, and the quarantine with a
    line for each row and broken rule, stay with the sender.
    """

    tokens: Path
    manifest: Path
    quarantine: Path


@dataclass(frozen=True)
class Pseudonymised:
    """Result for one extract. `stopped` is the reason if no tokens were written.

    `sheet` is the workbook sheet that it was read from, whose row numbers the quarantine uses. `other_origins` are
    other years or councils that the rows seem to come from.
    """

    outputs: Outputs
    manifest: Manifest
    stopped: str | None
    sheet: SheetTaken | None
    other_origins: tuple[OtherOrigin, ...]


def pseudonymise(
    landed: Landed,
    council_file: CouncilFile,
    council_file_path: Path | None,
    postcode_directory: Path | None,
    keys: KeyRing,
    folder: Path,
) -> Pseudonymised:
    """Pseudonymise an extract into `folder`. The same extract gives the same rows again, under new encryption.

    If the pipeline would stop the extract because of its rows, only the quarantine is written. Raises `ExtractStopped`
    if the file cannot be read.
    """
    called = strip_endings(landed.path.name) if landed.part else landed.cohort
    endings = (TOKENS_SUFFIX, ".manifest.json", ".quarantine.csv")
    outputs = Outputs(*(folder / f"{called}{ending}" for ending in endings))
    _stop_if_it_cannot_be(landed, outputs)
    if landed.part and council_file.get_dialect(landed.source).deleted:
        raise ExtractStopped(
            f"{landed.path.name}: rows that delete a record cannot be handed over as tokens; send whole files, or parts"
            " with what is new or corrected"
        )
    try:
        seen, sha256 = get_state(landed.path), hash_content(landed.path)
        contract = CONTRACTS[landed.source]
        row_keys_ = row_keys.derive_sent_file_keys(keys, *landed.key, sha256)
        files.make_folder(folder)
        # in the output folder, because files are moved into place within one file system
        unfinished = TemporaryDirectory(prefix=".working-", dir=folder, ignore_cleanup_errors=True)
        with _open_tools(keys, postcode_directory) as tools, unfinished as name:
            work = Path(name)
            with SenderWriter(work, row_keys_, keys.get_public_key("intake"), build_tokens_schema(contract)) as out:
                extract = open_recognised(landed, contract, council_file.get_dialect(landed.source))
                staged = stream_alone(tools, extract, contract, out)
                manifest = Manifest(
                    software=get_software_version(),
                    pseudonym_version=pseudonyms.PSEUDONYM_VERSION,
                    normaliser_version=pseudonyms.build_manifest(keys)["normaliser_version"],
                    key_fingerprints={name: keys.fingerprints[name] for name in SENDER_KEYS},
                    council=landed.council,
                    source=landed.source,
                    cohort=landed.cohort,
                    contract_sha256=contract.sha256,
                    extract_sha256=sha256,
                    council_file_sha256=hash_content(council_file_path) if council_file_path else None,
                    postcode_directory_sha256=hash_content(postcode_directory) if postcode_directory else None,
                    rows_read=staged.rows_read,
                    rows_kept=staged.rows_kept,
                    rows_rejected=staged.rows_rejected,
                    rules=staged.rules,
                    headings=dict(staged.headings),
                )
                out.describe({MANIFEST_KEY: manifest.to_json()})
            stopped = _find_stop_reason(landed, staged, moved=get_state(landed.path) != seen)
            _write(outputs, work, staged, manifest, with_tokens=stopped is None)
    except Exception as error:
        raise wrap_error(landed.name, error) from None
    return Pseudonymised(outputs, manifest, stopped, staged.sheet, staged.other_origins)


def _stop_if_it_cannot_be(landed: Landed, outputs: Outputs) -> None:
    if landed.holds_tokens:
        raise ExtractStopped(f"{landed.path.name}: already holds tokens; give the extract that it was made from")
    if not outputs.tokens.exists():
        return
    try:
        # tokens are named by cohort only, so those of another council or source could be overwritten
        earlier = Manifest.from_json(outputs.manifest.read_bytes())
    except (OSError, ValueError, RecursionError):
        raise ExtractStopped(f"{outputs.tokens} is not a tokens file of this version; move it away first") from None
    if (earlier.council, earlier.source) != (landed.council, landed.source):
        raise ExtractStopped(
            f"{outputs.tokens} holds {earlier.source} of {earlier.council}; give each council and source a folder of"
            " its own"
        )


def _find_stop_reason(landed: Landed, staged: Staged, *, moved: bool) -> str | None:
    """Return the reason why the pipeline would stop the staged extract, or None."""
    try:
        stop_if_wrong(landed, staged, moved=moved)
        if not staged.rows_kept and not landed.part:
            raise ExtractStopped(f"{landed.name}: {NO_USABLE_ROW.sentence}{staged.why_rejected[1]}")
        staged.check_rejected(landed.name)
    except ExtractStopped as stopped:
        return stopped.for_sender
    return None


@contextmanager
def _open_tools(keys: KeyRing, postcode_directory: Path | None) -> Iterator[Tools]:
    try:
        # with the linker's key a sender could look up its own tokens in the pipeline's store
        tools = make_tools(keys.limit_to_sender(), postcode_directory, second_keying=False)
    except duckdb.Error:
        raise ExtractStopped(
            f"{postcode_directory}: cannot be read as a postcode directory; it must be a CSV file with the columns"
            " postcode and imd_decile"
        ) from None
    with tools.con:
        yield tools


def _write(outputs: Outputs, work: Path, staged: Staged, manifest: Manifest, *, with_tokens: bool) -> None:
    """Write the outputs, the tokens last."""
    quarantine = work / outputs.quarantine.name
    with open_in_memory() as con:
        found = con.sql(f"FROM {parquet(staged.quarantine)}").order("source_row, rule")
        above = staged.sheet.header_row if staged.sheet else 0  # number rows as in the sheet
        found.project(f"* REPLACE (source_row + {above} AS source_row)").write_csv(str(quarantine))
    finished = {quarantine: outputs.quarantine}
    if with_tokens:
        described = work / outputs.manifest.name
        described.write_text(manifest.to_json() + "\n", encoding="utf-8")
        finished |= {described: outputs.manifest, staged.kept: outputs.tokens}
    for made, final in finished.items():
        files.promote(made, final)
