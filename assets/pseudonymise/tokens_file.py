"""Tokens files, which a sender can deliver instead of an extract: the sender writes them, and the intake reads them.

The sender runs the same pass as the pipeline (`stream_extract`), but stops after the first keying. Only the tokens file
leaves the sender. Rows hold `row_key`, payload, term of birth, deprivation quintile and tokens under the first keying.
The manifest, in the Parquet metadata, gives their inputs, keys and versions. The file is encrypted for the pipeline's
intake. Its rows are sorted by key, and the intake works out row numbers from the keys. The reader trusts nothing in the
file and checks its format and content. After the second keying, the rows are identical, bit for bit, to those from the
pipeline's own pass over the identifiable file.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, ClassVar

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from assets.home.software import get_software_version
from assets.pseudonymise import findings
from assets.pseudonymise.split_writer import CHUNK_ROWS, RowWriter, SenderWriter, build_payload_schema
from assets.pseudonymise.stream_extract import Tools, make_tools, stream_alone
from privacy import pseudonyms, row_keys
from privacy.doors import files
from privacy.doors.database import open_in_memory
from privacy.doors.sql import quote_parquet
from privacy.keys import SENDER_KEYS, KeyRing
from privacy.row_keys import ROW_KEY, RowKeys
from sources.contracts import CONTRACTS, Role, Severity, SourceContract
from sources.contracts.extract_rules import NO_USABLE_ROW
from sources.contracts.people import IMD_QUINTILE
from sources.councils.council_file import CouncilFile
from sources.errors import FILE_RULES, ExtractStopped, wrap_error
from sources.extract.landing import TOKENS_SUFFIX, Landed, get_size, get_state, hash_content, strip_endings
from sources.extract.open import open_recognised
from sources.extract.readers.csds import ORPHANS, TABLES
from sources.extract.readers.parquet import MAKE_AGAIN, serve_manifest, serve_rows
from sources.extract.table import SOURCE_ROW, format_column_numbers

if hasattr(os, "fork"):  # Windows has no fork; there, tokens files are only written
    from sources.extract.reader_process import Reader, Serve

MANIFEST_KEY = "readiness_manifest"
"""Metadata key of the manifest (JSON)."""
_MAX_MANIFEST_BYTES = 1 << 20
"""Longest manifest that is read (1 MiB)."""
_NAMES_SHOWN = 5
_Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{16,64}$")]


def build_tokens_schema(contract: SourceContract) -> pa.Schema:
    """Return the columns of a source's tokens files, in order."""
    identifiers = {column.name for column in contract.select_role(Role.IDENTIFIER)}
    tokens = pseudonyms.list_token_columns(identifiers) if "date_of_birth" in identifiers else []
    marks = pseudonyms.list_row_marks(contract.name, contract.record, (), identifiers)
    numbers = [(each.name, pa.uint64()) for each in (*tokens, *marks)]
    return pa.schema([*build_payload_schema(contract), *numbers])


def has_quintile(contract: SourceContract) -> bool:
    """Return whether rows of the source carry a deprivation quintile."""
    return IMD_QUINTILE in contract.derived


@dataclass(frozen=True)
class TokensManifest:
    """Manifest of a tokens file: counts and row numbers of the extract, but no values.

    `key_fingerprints` are those of the sender's keys. Hashes are hexadecimal SHA-256 of the contract, the identifiable
    extract, the council file and the postcode directory; the last two are None if there was no such file.
    """

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")
    software: findings.Text
    pseudonym_version: findings.Text
    normaliser_version: findings.Text
    key_fingerprints: dict[str, _Hash]
    council: findings.Text
    source: findings.Text
    cohort: findings.Text
    contract_sha256: _Hash
    extract_sha256: _Hash
    council_file_sha256: _Hash | None
    postcode_directory_sha256: _Hash | None
    rows_read: findings.Count
    rows_kept: findings.Count
    rows_rejected: findings.Count
    rules: tuple[findings.RuleCount, ...]
    headings: dict[findings.Name, findings.Text]

    def encode_json(self) -> str:
        return json.dumps(asdict(self), indent=1, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: bytes) -> "TokensManifest":
        """Parse and check a manifest. Raises `ValueError` that names the first wrong field and the rule."""
        try:
            manifest = _MANIFEST.validate_json(text, strict=True)
        except ValidationError as error:
            problem = error.errors(include_url=False, include_input=False)[0]
            # the rest of a location is the sender's own text
            place = next((name for name in problem["loc"][:1] if name in cls.__dataclass_fields__), "it")
            raise ValueError(f"{place}: {problem['msg']}") from None
        if problems := "; ".join(_iter_problems(manifest)):
            raise ValueError(problems)
        return manifest


_MANIFEST = TypeAdapter(TokensManifest)


def _iter_problems(manifest: TokensManifest) -> Iterator[str]:
    """Yield each way in which a manifest contradicts the contracts or itself."""
    read, rules = manifest.rows_read, manifest.rules
    ids = [rule.rule for rule in rules]
    # counts decide whether the file is stopped, so they must be possible
    if read != manifest.rows_kept + manifest.rows_rejected:
        yield "rows do not add up"
    if len(set(ids)) < len(ids) or not set(ids) <= _list_rules(manifest.source):
        yield "rules name a rule twice, or one that no pass knows"
    if {rule.severity for rule in rules} - {Severity.REJECT, Severity.WARN}:
        yield "a rule's severity must be reject or warn"
    if not all(
        0 < rule.rows <= read
        and len(rule.first_rows) == min(rule.rows, findings.MAX_EXAMPLE_ROWS)
        and all(0 < row <= read for row in rule.first_rows)
        for rule in rules
    ):
        yield "a rule's rows are not in the file"
    by_rule = [rule.rows for rule in rules if rule.severity == Severity.REJECT]
    if not max(by_rule, default=0) <= manifest.rows_rejected <= sum(by_rule):
        yield "rejected rows do not agree with the rules"


def _list_rules(source: str) -> set[str]:
    """Return the ids of all rules that a row of a source can break."""
    if source not in CONTRACTS:
        return set()
    contract, of_files = CONTRACTS[source], FILE_RULES.keys()
    own = {rule.id for rule in (*contract.rules, contract.repeated, *ORPHANS.values())}
    of_columns = {f"{column.name}-{what}" for column in contract.columns for what in ("blank", "invalid")}
    return own | of_files | of_columns | {f"{rule}-{table.lower()}" for rule in of_files for table in TABLES}


def read_manifest(landed: Landed, keys: KeyRing) -> TokensManifest:
    """Read the manifest of a tokens file. Raises `ExtractStopped` if it is missing or invalid."""
    sent = list(_make_reader(landed, keys, serve_manifest, MANIFEST_KEY, _MAX_MANIFEST_BYTES))
    if not sent:
        raise ExtractStopped(
            f"{landed.name}: the file carries no manifest; it must be what `readiness pseudonymise` wrote, unchanged"
        )
    (text,) = sent
    assert isinstance(text, bytes)
    try:
        if len(text) > _MAX_MANIFEST_BYTES:
            raise ValueError("it is too long")
        return TokensManifest.from_json(text)
    except ValueError as error:
        raise ExtractStopped(
            f"{landed.name}: the file's manifest cannot be used: {error}; pseudonymise again with a tool of this"
            " version"
        ) from None


def iter_token_rows(landed: Landed, keys: KeyRing, contract: SourceContract) -> Iterator[pa.Table]:
    """Yield a tokens file's rows in tables of at most `CHUNK_ROWS`; one empty table if it has no rows.

    Raises `ExtractStopped` unless the file has exactly the source's columns, in order, and is readable to the end.
    """
    any_rows = False
    for batch in _make_reader(landed, keys, serve_rows, CHUNK_ROWS):
        assert isinstance(batch, pa.RecordBatch)
        # the reader sends an empty batch first, so columns are checked before any row is decoded
        _stop_unless_columns_fit(landed, batch.schema, contract)
        if batch.num_rows:
            yield pa.table(batch)
            any_rows = True
    if not any_rows:
        yield build_tokens_schema(contract).empty_table()


def stop_if_foreign(landed: Landed, manifest: TokensManifest, keys: KeyRing, contract: SourceContract) -> None:
    """Raise `ExtractStopped` if a tokens file is for another council, source or cohort, or under other settings."""
    own = pseudonyms.build_manifest(keys)
    tool = f"{MAKE_AGAIN} with a tool of this version"
    for what in ("council", "source", "cohort"):
        theirs, ours = getattr(manifest, what), getattr(landed, what)
        if theirs != ours:
            raise ExtractStopped(f"{landed.name}: made for another {what}, not for {ours}; move it to that folder")
    compared = [
        ("pseudonyms of version", manifest.pseudonym_version, own["pseudonym_version"], tool),
        ("a normaliser of version", manifest.normaliser_version, own["normaliser_version"], tool),
        ("a contract of hash", manifest.contract_sha256, contract.sha256, tool),
        *(
            (
                f"a {name} key of fingerprint",
                manifest.key_fingerprints.get(name, "none"),
                own[f"{name}_key_fingerprint"],
                f"{MAKE_AGAIN} with the keys of this pipeline (`readiness keys show` shows fingerprints)",
            )
            for name in SENDER_KEYS
        ),
    ]
    for what, theirs, ours, remedy in compared:
        if theirs != ours:
            raise ExtractStopped(f"{landed.name}: not made with {what} {ours[:16]}, as the pipeline's are; {remedy}")


def rekey(
    keys: KeyRing, landed: Landed, manifest: TokensManifest, contract: SourceContract, out: RowWriter
) -> findings.Staged:
    """Write a tokens file's rows to `out` under the second keying, as `stream_extract` would.

    The quarantine gets only the example rows in the manifest, because the sender keeps the full one. Raises
    `ExtractStopped` for rows that a correct pass could not have written.
    """
    named = pa.array(sorted({row for rule in manifest.rules for row in rule.first_rows}), pa.int64())
    named_and_kept, rows, last = set[int](), 0, None
    sent = row_keys.derive_sent_file_keys(keys, *landed.key, manifest.extract_sha256)
    for chunk in iter_token_rows(landed, keys, contract):
        last = _check_rows(landed, chunk, last)
        chunk = _number_rows(landed, chunk, sent, manifest)
        rows += len(chunk)
        named_and_kept.update(chunk[SOURCE_ROW].filter(pc.is_in(chunk[SOURCE_ROW], value_set=named)).to_pylist())
        out.write(_rekey_tokens(_number_in_extract(chunk, landed.part), landed.council, keys))
    lines = (
        (row, rule.rule, ", ".join(rule.columns), rule.severity, row in named_and_kept)
        for rule in manifest.rules
        for row in rule.first_rows
    )
    examples = [dict(zip(findings.QUARANTINE.names, line, strict=True)) for line in lines]
    out.note(_number_in_extract(pa.Table.from_pylist(examples, findings.QUARANTINE), landed.part))
    if rows != manifest.rows_kept:
        raise ExtractStopped(f"{landed.name}: its number of rows differs from its manifest; send it again")
    limits = {rule.id: rule.stop_share for rule in contract.rules if rule.stop_share is not None}
    files = out.kept, out.tokens, out.quarantine
    return findings.Staged(*files, manifest.headings, manifest.rows_read, out.rows, manifest.rules, limits)


def _stop_unless_columns_fit(landed: Landed, found: pa.Schema, contract: SourceContract) -> None:
    expected = build_tokens_schema(contract)
    if found.equals(expected):
        return
    surplus = [number for number, name in enumerate(found.names, 1) if name not in expected.names]
    missing = [name for name in expected.names if name not in found.names]
    left = f" and {len(missing) - _NAMES_SHOWN} more" if len(missing) > _NAMES_SHOWN else ""
    problem = (
        (f"unexpected {format_column_numbers(surplus)}" if surplus else "")
        or (f"missing {', '.join(missing[:_NAMES_SHOWN])}{left}" if missing else "")
        or "its columns are in another order or of another type"
    )
    raise ExtractStopped(f"{landed.name}: not a tokens file of {contract.name}: {problem}; pseudonymise again")


def _make_reader(landed: Landed, keys: KeyRing, serve: "Serve", *arguments: Any) -> "Reader":
    # as bytes, because key objects cannot be pickled for the reader process
    key = keys.get_private_key("intake").private_bytes_raw()
    return Reader(landed.name, get_size(landed.path), serve, landed, key, *arguments)


def _rekey_tokens(chunk: pa.Table, council: str, keys: KeyRing) -> pa.Table:
    tokens = [name for name in chunk.column_names if name in (*pseudonyms.TOKEN_COLUMNS, *pseudonyms.MARK_COLUMNS)]
    plain = chunk.drop_columns(tokens).add_column(0, "council", pa.repeat(council, len(chunk)))
    rekeyed = pseudonyms.rekey(chunk.select(tokens), tokens, keys)
    return pa.table([*plain.columns, *rekeyed.columns], names=[*plain.column_names, *tokens])


def _check_rows(landed: Landed, chunk: pa.Table, last: int | None) -> int | None:
    """Check a chunk and return its last row key. Raises `ExtractStopped` for impossible values, or if keys do not rise.

    `last` is the last key of the previous chunk.
    """
    keys = chunk[ROW_KEY].to_numpy()
    rising = (keys[1:] > keys[:-1]).all() and (last is None or not len(keys) or keys[0] > last)
    if chunk[ROW_KEY].null_count or not rising:
        raise ExtractStopped(f"{landed.name}: {ROW_KEY} must rise from row to row; {MAKE_AGAIN}")
    for derived in CONTRACTS[landed.source].derived:
        values = chunk[derived.name].cast(pa.string()).drop_null()
        if not _is_all_true(pc.is_in(values, value_set=pa.array(derived.groups))):
            raise ExtractStopped(f"{landed.name}: {derived.name} holds values outside its list; {MAKE_AGAIN}")
    for name in chunk.column_names:
        if pa.types.is_floating(chunk[name].type) and not _is_all_true(pc.is_finite(chunk[name])):
            raise ExtractStopped(f"{landed.name}: {name} holds something other than a number; {MAKE_AGAIN}")
    return int(keys[-1]) if len(keys) else last


def _number_rows(landed: Landed, chunk: pa.Table, sent: RowKeys, manifest: TokensManifest) -> pa.Table:
    """Replace the sender's keys with row numbers in the extract, and sort by number."""
    rows = sent.find_rows(chunk[ROW_KEY].to_numpy())
    # a forged key almost surely gives a number out of range
    if ((rows < 1) | (rows > manifest.rows_read)).any():
        raise ExtractStopped(f"{landed.name}: {ROW_KEY} gives rows that the extract does not have; {MAKE_AGAIN}")
    chunk = chunk.drop_columns([ROW_KEY]).add_column(0, SOURCE_ROW, pa.array(rows))
    return chunk.take(pa.array(np.argsort(rows)))


def _number_in_extract(rows: pa.Table, part: int) -> pa.Table:
    """Return a part's rows with their row numbers in the whole extract."""
    at = rows.column_names.index(SOURCE_ROW)
    return rows.set_column(at, rows.schema.field(at), pa.array(row_keys.number_rows(part, rows[SOURCE_ROW].to_numpy())))


def _is_all_true(found: pa.ChunkedArray) -> bool:
    return bool(pc.all(found, min_count=0).as_py())


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

    The quarantine uses the row numbers of the sheet of `staged`, if it was read from a workbook.
    """

    outputs: Outputs
    manifest: TokensManifest
    stopped: str | None
    staged: findings.Staged


def pseudonymise(
    landed: Landed,
    council_file: CouncilFile,
    council_file_path: Path | None,
    postcode_directory: Path | None,
    keys: KeyRing,
    folder: Path,
) -> Pseudonymised:
    """Pseudonymise an extract into `folder`. The same extract gives the same rows again, under new encryption.

    If the pipeline would stop it because of its rows, only the quarantine is written. Raises `ExtractStopped` if the
    file cannot be read.
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
        tools = _make_tools(keys, postcode_directory)
        with tools.con, unfinished as name:
            work = Path(name)
            with SenderWriter(work, row_keys_, keys.get_public_key("intake"), build_tokens_schema(contract)) as out:
                extract = open_recognised(landed, contract, council_file.get_dialect(landed.source))
                staged = stream_alone(tools, extract, contract, out)
                manifest = TokensManifest(
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
                out.describe({MANIFEST_KEY: manifest.encode_json()})
            stopped = _find_stop_reason(landed, staged, moved=get_state(landed.path) != seen)
            _write(outputs, work, staged, manifest, with_tokens=stopped is None)
    except Exception as error:
        raise wrap_error(landed.name, error) from None
    return Pseudonymised(outputs, manifest, stopped, staged)


def _stop_if_it_cannot_be(landed: Landed, outputs: Outputs) -> None:
    if landed.holds_tokens:
        raise ExtractStopped(f"{landed.path.name}: already holds tokens; give the extract that it was made from")
    if not outputs.tokens.exists():
        return
    try:
        # tokens are named by cohort only, so those of another council or source could be overwritten
        earlier = TokensManifest.from_json(outputs.manifest.read_bytes())
    except (OSError, ValueError, RecursionError):
        raise ExtractStopped(f"{outputs.tokens} is not a tokens file of this version; move it away first") from None
    if (earlier.council, earlier.source) != (landed.council, landed.source):
        raise ExtractStopped(
            f"{outputs.tokens} holds {earlier.source} of {earlier.council}; give each council and source a folder of"
            " its own"
        )


def _find_stop_reason(landed: Landed, staged: findings.Staged, *, moved: bool) -> str | None:
    """Return the reason why the pipeline would stop the staged extract, or None."""
    try:
        findings.stop_if_wrong(landed, staged, moved=moved)
        if not staged.rows_kept and not landed.part:
            raise ExtractStopped(f"{landed.name}: {NO_USABLE_ROW.sentence}{staged.why_rejected[1]}")
        staged.check_rejected(landed.name)
    except ExtractStopped as stopped:
        return stopped.for_sender
    return None


def _make_tools(keys: KeyRing, postcode_directory: Path | None) -> Tools:
    try:
        # with the linker's key a sender could look up its own tokens in the pipeline's store
        return make_tools(keys.limit_to_sender(), postcode_directory, second_keying=False)
    except duckdb.Error:
        raise ExtractStopped(
            f"{postcode_directory}: cannot be read as a postcode directory; it must be a CSV file with the columns"
            " postcode and imd_decile"
        ) from None


def _write(
    outputs: Outputs, work: Path, staged: findings.Staged, manifest: TokensManifest, *, with_tokens: bool
) -> None:
    """Write the outputs, the tokens last."""
    quarantine = work / outputs.quarantine.name
    with open_in_memory() as con:
        found = con.sql(f"FROM {quote_parquet(staged.quarantine)}").order("source_row, rule")
        above = staged.sheet.header_row if staged.sheet else 0  # number rows as in the sheet
        found.project(f"* REPLACE (source_row + {above} AS source_row)").write_csv(str(quarantine))
    finished = {quarantine: outputs.quarantine}
    if with_tokens:
        described = work / outputs.manifest.name
        described.write_text(manifest.encode_json() + "\n", encoding="utf-8")
        finished |= {described: outputs.manifest, staged.kept: outputs.tokens}
    for made, final in finished.items():
        files.promote(made, final)
