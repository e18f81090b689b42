"""Take one extract in: read, check, normalise and tokenise in one pass over the identifiable file.

What is written holds tokens, payload and row numbers only. Rows are staged, judged and then promoted, so that an
extract that is stopped leaves the previous good one where it was.
"""

from __future__ import annotations

import json
import threading
import traceback
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import duckdb
import pyarrow as pa
import pyarrow.parquet

from assets.home import Home, promote
from assets.quality import Finding, validate
from privacy import normalise, pseudonyms
from privacy.keys import KeyRing
from sources.contracts import CONTRACTS, Role, Severity, SourceContract
from sources.councils.council_file import council_file
from sources.extract.errors import ExtractStopped
from sources.extract.landed import REFERENCE, Landed
from sources.extract.open import OpenExtract, file_sha256, open_extract
from sources.extract.project import Check, Projection, project
from sources.extract.readers.delimited import MALFORMED
from sources.extract.table import SOURCE_ROW
from sources.reference.cohorts import Cohort
from sources.reference.places import place

VALID = {"upn": "upn_valid({})", "nhs_number": "nhs_valid({})"}
"""Identifiers with a check digit, and the normaliser's condition for a usable value."""

TERM_OF_BIRTH = (
    "CASE WHEN month(birth_date(date_of_birth)) >= 9 THEN 'Autumn-born'"
    " WHEN month(birth_date(date_of_birth)) <= 3 THEN 'Spring-born'"
    " WHEN month(birth_date(date_of_birth)) <= 8 THEN 'Summer-born' END"
)
"""September to December, January to March, April to August (DfE); the date itself is not kept."""

POSTCODE_DIRECTORY = "postcode_directory.csv"
AT_A_TIME = 2
"""Extracts in work at once: while one is read inside DuckDB another can be judged."""
_MAX_EXAMPLE_ROWS = 100


@dataclass(frozen=True)
class RuleCount:
    """How often a rule was broken, with the first rows by number."""

    rule: str
    severity: str
    sentence: str
    columns: tuple[str, ...]
    rows: int
    first_rows: tuple[int, ...]


@dataclass(frozen=True)
class ExtractQuality:
    """What intake found in one extract. Holds the file's own counts and row numbers, no values."""

    council: str
    source: str
    cohort: str
    file: str
    file_sha256: str
    made_under: dict[str, Any]
    rows_read: int
    rows_kept: int
    rows_rejected: int
    rules: tuple[RuleCount, ...]
    findings: tuple[Finding, ...]
    unchanged: bool = field(default=False)

    @property
    def failures(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.severity == "critical" and not finding.passed)


class Intake:
    """Takes extracts in, over a connection a thread that holds keys, normaliser and look-ups.

    Connections live in memory and cannot spill: what passes through them are identifiers.
    """

    def __init__(self, landing: Path, home: Home, keys: KeyRing) -> None:
        self._home = home
        directory = landing / REFERENCE / POSTCODE_DIRECTORY
        self._made_under = {
            "software": version("readiness"),
            "normaliser": normalise.NORMALISER_VERSION,
            "pseudonyms": pseudonyms.PSEUDONYM_VERSION,
            "keys": keys.fingerprints,
            "postcode_directory": file_sha256(directory) if directory.exists() else None,
        }
        self._keys, self._directory = keys, directory
        self._thread = threading.local()

    @property
    def _con(self) -> duckdb.DuckDBPyConnection:
        if not hasattr(self._thread, "con"):
            self._thread.con = _connect(self._keys, self._directory)
        return cast(duckdb.DuckDBPyConnection, self._thread.con)

    def take_in_all(self, extracts: Iterable[Landed]) -> Iterator[ExtractQuality | ExtractStopped]:
        """The outcome of each extract, in their order; two are worked on at a time."""

        def outcome(landed: Landed) -> ExtractQuality | ExtractStopped:
            try:
                return self.take_in(landed)
            except ExtractStopped as stopped:
                return stopped

        with ThreadPoolExecutor(AT_A_TIME) as pool:
            yield from pool.map(outcome, extracts)

    def take_in(self, landed: Landed) -> ExtractQuality:
        """Pseudonymise one landed extract into the restricted zone.

        Raises `ExtractStopped`, naming file and rule, when the extract cannot be taken. The same file under the same
        contract, keys and normaliser is read from its earlier result.
        """
        contract = CONTRACTS[landed.source]
        made_under = self._made_under | {"contract": contract.sha256}
        earlier = _earlier(self._home, landed, file_sha256(landed.path), made_under)
        if earlier:
            return earlier
        with self._home.staging() as staging:
            try:
                extract = open_extract(landed, contract, council_file(landed.council).dialect(landed.source))
                projection = _stage(self._con, extract, contract, staging / "rows.parquet")
                quality = _judge(self._con, extract, projection, contract, made_under, staging)
            except ExtractStopped:
                raise
            except Exception as error:
                raise ExtractStopped(_unexpected(landed, error)) from None
            if quality.failures:
                raise ExtractStopped("; ".join(f"{landed.name}: {finding.sentence}" for finding in quality.failures))
            _promote(self._home, landed, quality, staging)
        return quality


def read_quality(path: Path) -> ExtractQuality:
    """The stored result of an intake."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return ExtractQuality(
        **content
        | {
            "rules": tuple(
                RuleCount(**rule | {"columns": tuple(rule["columns"]), "first_rows": tuple(rule["first_rows"])})
                for rule in content["rules"]
            ),
            "findings": tuple(Finding(**finding) for finding in content["findings"]),
        }
    )


def _unexpected(landed: Landed, error: Exception) -> str:
    """Kind and place of an error, without its message, which may quote a value."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place_in_code = f"{Path(frame.filename).name}:{frame.lineno}"
    return f"{landed.name}: the file could not be read ({type(error).__name__} at {place_in_code}); please report this"


def _earlier(home: Home, landed: Landed, sha256: str, made_under: dict[str, Any]) -> ExtractQuality | None:
    path = home.quality(landed.source, landed.cohort, landed.council)
    if not path.exists() or not home.pseudonymised(landed.source, landed.cohort, landed.council).exists():
        return None
    quality = read_quality(path)
    if quality.file_sha256 != sha256 or quality.made_under != made_under:
        return None
    return ExtractQuality(**quality.__dict__ | {"unchanged": True})


def _connect(keys: KeyRing, directory: Path) -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    con.execute("SET temp_directory = ''; SET enable_progress_bar = false")
    pseudonyms.prepare(con, keys)
    nothing = "(SELECT NULL::VARCHAR AS postcode, NULL AS imd_decile)"
    rows = f"read_csv('{directory}', all_varchar = true)" if directory.exists() else nothing
    con.execute(
        "CREATE TEMP TABLE imd AS SELECT letters_and_digits(postcode) AS imd_postcode,"
        " min((try_cast(imd_decile AS INTEGER) + 1) // 2) AS imd_quintile"
        f" FROM {rows} WHERE postcode IS NOT NULL GROUP BY 1"
    )
    return con


def _stage(con: duckdb.DuckDBPyConnection, extract: OpenExtract, contract: SourceContract, staged: Path) -> Projection:
    """Write every row, pseudonymised, with its findings: the one pass over the identifiable file."""
    landed = extract.landed
    schema = pa.schema(
        [*((name, pa.string()) for name in (*extract.headings, *extract.inputs.values())), (SOURCE_ROW, pa.int64())]
    )
    con.register("extract", pa.RecordBatchReader.from_batches(schema, extract.batches))
    projection = project(
        "extract",
        extract.headings,
        extract.inputs,
        contract,
        extract.dialect,
        Cohort(landed.cohort),
        place(landed.council),
        VALID,
    )
    payload = [column.name for column in contract.with_role(Role.PAYLOAD)]
    identifiers = {column.name for column in contract.with_role(Role.IDENTIFIER)}
    kept = [SOURCE_ROW, *payload, *projection.issue_columns]
    rows = projection.sql
    if "date_of_birth" in identifiers:
        rows = (
            f"SELECT typed.*, {TERM_OF_BIRTH} AS term_of_birth, imd_quintile FROM"
            f" ({projection.sql}) AS typed LEFT JOIN imd ON imd_postcode = letters_and_digits(postcode)"
        )
        kept += ["term_of_birth", "imd_quintile"]
        rows = pseudonyms.tokenise_sql(f"({rows})", identifiers, landed.council, kept)
    else:
        rows = f"SELECT {', '.join(kept)} FROM ({rows})"
    con.execute(f"COPY ({rows}) TO '{staged}' (FORMAT parquet, COMPRESSION zstd)")
    con.unregister("extract")
    return projection


def _judge(
    con: duckdb.DuckDBPyConnection,
    extract: OpenExtract,
    projection: Projection,
    contract: SourceContract,
    made_under: dict[str, Any],
    staging: Path,
) -> ExtractQuality:
    """Split staged rows into kept and quarantined, and judge the extract as a whole."""
    landed = extract.landed
    rejected = projection.any_of(Severity.REJECT)
    con.execute(
        f"CREATE OR REPLACE TEMP VIEW staged AS SELECT *, ({rejected}) AS rejected FROM '{staging / 'rows.parquet'}'"
    )
    staged, bad = con.execute("SELECT count(*), count(*) FILTER (rejected) FROM staged").fetchall()[0]
    counts = _rule_counts(con, projection.checks, extract.set_aside.get(MALFORMED, []))
    broken = tuple(check for check in projection.checks if check.rule.id in {count.rule for count in counts})
    read = staged + len(extract.set_aside.get(MALFORMED, []))
    _stop_if_too_many(landed, counts, projection.checks, read)
    _write_kept(con, projection, landed, file_sha256(extract.landed.path), staging)
    _write_quarantine(con, broken, extract.set_aside.get(MALFORMED, []), staging)
    payload = ", ".join(column.name for column in contract.with_role(Role.PAYLOAD))
    frame = con.execute(f"SELECT {SOURCE_ROW}, {payload} FROM '{staging / 'kept.parquet'}'").df()
    return ExtractQuality(
        landed.council,
        landed.source,
        landed.cohort,
        landed.path.name,
        file_sha256(extract.landed.path),
        made_under,
        rows_read=read,
        rows_kept=staged - bad,
        rows_rejected=read - staged + bad,
        rules=counts,
        findings=validate(contract, frame, rejected_share=(read - staged + bad) / max(read, 1)),
    )


def _rule_counts(
    con: duckdb.DuckDBPyConnection, checks: tuple[Check, ...], malformed: list[int]
) -> tuple[RuleCount, ...]:
    totals = con.execute(
        "SELECT " + ", ".join(f"count(*) FILTER ({check.found})" for check in checks) + " FROM staged"
    ).fetchall()[0]
    found = zip(checks, totals, strict=True)
    broken = [(check.rule, total, _first_rows(con, check)) for check, total in found if total]
    if malformed:
        broken.append((MALFORMED, len(malformed), tuple(malformed[:_MAX_EXAMPLE_ROWS])))
    return tuple(
        RuleCount(rule.id, rule.severity, rule.sentence, rule.columns, total, rows) for rule, total, rows in broken
    )


def _first_rows(con: duckdb.DuckDBPyConnection, check: Check) -> tuple[int, ...]:
    rows = con.execute(
        f"SELECT {SOURCE_ROW} FROM staged WHERE {check.found} ORDER BY 1 LIMIT {_MAX_EXAMPLE_ROWS}"
    ).fetchall()
    return tuple(row for (row,) in rows)


def _stop_if_too_many(landed: Landed, counts: tuple[RuleCount, ...], checks: tuple[Check, ...], read: int) -> None:
    shares = {check.rule.id: check.rule.stop_share for check in checks}
    for count in counts:
        limit = shares.get(count.rule)
        if limit is not None and count.rows > limit * read:
            raise ExtractStopped(
                f"{landed.name}: {count.rows} of {read} rows break {count.rule}: {count.sentence}"
                f" Is it the right file? First row: {count.first_rows[0]}"
            )


def _write_kept(
    con: duckdb.DuckDBPyConnection, projection: Projection, landed: Landed, sha256: str, staging: Path
) -> None:
    con.execute(
        f"COPY (SELECT '{landed.council}' AS council, * EXCLUDE (rejected, {', '.join(projection.issue_columns)})"
        f" FROM staged WHERE NOT rejected ORDER BY {SOURCE_ROW}) TO '{staging / 'kept.parquet'}'"
        f" (FORMAT parquet, COMPRESSION zstd, KV_METADATA {{source: '{landed.source}', file_sha256: '{sha256}'}})"
    )


def _write_quarantine(
    con: duckdb.DuckDBPyConnection, checks: tuple[Check, ...], malformed: list[int], staging: Path
) -> None:
    """One line for each row and rule broken, whether the row was rejected or kept."""
    found = [
        f"SELECT {SOURCE_ROW}, '{check.rule.id}' AS rule, '{', '.join(check.rule.columns)}' AS columns,"
        f" '{check.rule.severity}' AS severity, NOT rejected AS row_kept FROM staged WHERE {check.found}"
        for check in checks
    ]
    con.register("malformed", pa.table({SOURCE_ROW: pa.array(malformed, pa.int64())}))
    found.append(
        f"SELECT {SOURCE_ROW}, '{MALFORMED.id}' AS rule, '' AS columns, '{MALFORMED.severity}' AS severity,"
        " false AS row_kept FROM malformed"
    )
    con.execute(
        f"COPY (SELECT * FROM ({' UNION ALL '.join(found)}) ORDER BY {SOURCE_ROW}, rule)"
        f" TO '{staging / 'quarantine.parquet'}' (FORMAT parquet, COMPRESSION zstd)"
    )


def _promote(home: Home, landed: Landed, quality: ExtractQuality, staging: Path) -> None:
    """The quality result goes last: it is what says that the extract is in."""
    key = (landed.source, landed.cohort, landed.council)
    (staging / "quality.json").write_text(json.dumps(asdict(quality), indent=1), encoding="utf-8")
    promote(staging / "kept.parquet", home.pseudonymised(*key))
    promote(staging / "quarantine.parquet", home.quarantine(*key))
    promote(staging / "quality.json", home.quality(*key))
