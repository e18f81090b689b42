"""Make the extracts of one cohort, each as its council would send it: the inverse of its council file."""

from __future__ import annotations

import codecs
import gzip
import io
import unicodedata
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from sources.contracts import CONTRACTS, Column, Kind, Role, SourceContract
from sources.councils.council_file import CONTRACT_DIALECT, Dialect, council_file
from sources.reference.cohorts import Cohort
from sources.reference.places import PILOT
from sources.synthetic.education import early_years_census, eyfsp, school_census
from sources.synthetic.health_visiting import hv_reviews
from sources.synthetic.recording import Rows, without_accents
from sources.synthetic.survey_of_parents import parent_experience
from sources.synthetic.truth import write_truth
from sources.synthetic.world import World, draw_world

DEFAULT_SEED = 20260601
_RETURNS = (eyfsp, school_census, early_years_census, hv_reviews, parent_experience)
"""Each is named after its source."""
_OTHER_FORMATS = {
    ("knowsley", "early_years_census"): ".parquet",
    ("liverpool", "parent_experience"): ".csv.gz",
    ("sefton", "hv_reviews"): ".csv.gz",
}
_EACH_OTHER_FORMAT = 25
"""Beyond the pilot, one file in so many is compressed and one is Parquet."""
_SENDS_NHS_NUMBER = 3
"""Beyond the pilot, one council in so many has NHS numbers on its education records."""


def generate(
    landing: Path,
    cohort: str,
    *,
    scale: float = 1.0,
    seed: int = DEFAULT_SEED,
    councils: Literal["pilot", "england"] = "pilot",
    contract_names: bool = False,
) -> None:
    """Write the extracts of a cohort into `landing` and the truth beside it.

    - `landing/<council>/<source>/<cohort>.<ext>`: in the council's own dialect, or the contract's with `contract_names`
      and for councils without a council file.
    - `landing/reference/postcode_directory.csv`.
    - `truth.parquet` and `truth_tables.parquet` in the folder that holds `landing`.

    `scale` times the children of 2024/25: 26,132 in the pilot, 589,471 in England. The same arguments give the same
    bytes. Raises `InvalidCohort` for a cohort and `ValueError` for a scale that cannot be.
    """
    if scale <= 0:
        raise ValueError(f"scale must be above 0, not {scale}")
    world = draw_world(Cohort(cohort), seed, councils == "england", scale, contract_names)
    landing.mkdir(parents=True, exist_ok=True)
    world.geography.write_directory(landing / "reference" / "postcode_directory.csv")
    linkable: dict[str, Rows] = {}
    for rows_of in _RETURNS:
        source, rows = rows_of.__name__, rows_of(world)
        write_source(landing, source, rows, world)
        linkable[source] = Rows(rows.council, rows.person, rows.table.select([]))
    write_truth(landing.resolve().parent, world, linkable)


def write_source(landing: Path, source: str, rows: Rows, world: World) -> None:
    """Write one file a council: `landing/<council>/<source>/<cohort>.<ext>`."""
    contract = CONTRACTS[source]
    edges = np.searchsorted(rows.council, np.arange(len(world.margins.councils) + 1))
    for index, place in enumerate(world.margins.councils):
        start, end = int(edges[index]), int(edges[index + 1])
        dialect = world.dialect(place.council, source)
        columns = columns_sent(contract, place.council, world.contract_names)
        table = in_dialect(rows.table.slice(start, end - start), columns, dialect, start)
        path = landing / place.council / source / f"{world.cohort.code}{file_ending(place.council, source)}"
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, table, dialect)


def columns_sent(contract: SourceContract, council: str, contract_names: bool) -> Sequence[Column]:
    """The contract's columns that a council's file has.

    Those that its council file names, and what is required or kept, unless it gives a constant for it: a new column of
    the payload needs no line in a council file. Under contract names constants stand in the file too. A council without
    a file sends all; only some have NHS numbers in education.
    """
    own = council_file(council).dialect(contract.name)
    if own is CONTRACT_DIALECT:
        known = contract.name == "hv_reviews" or zlib.crc32(council.encode()) % _SENDS_NHS_NUMBER == 0
        return [column for column in contract.columns if known or column.name != "nhs_number"]
    kept = (column.name for column in contract.with_role(Role.PAYLOAD))
    named = {*own.columns, *contract.required, *kept} - set(own.constants)
    return [
        column
        for column in contract.columns
        if column.name in named or (contract_names and column.name in own.constants)
    ]


def file_ending(council: str, source: str) -> str:
    """`.csv`, for a few files `.csv.gz` or `.parquet`."""
    if council in PILOT:
        return _OTHER_FORMATS.get((council, source), ".csv")
    lot = zlib.crc32(f"{council} {source}".encode()) % _EACH_OTHER_FORMAT
    return {0: ".csv.gz", 1: ".parquet"}.get(lot, ".csv")


def in_dialect(table: pa.Table, columns: Sequence[Column], dialect: Dialect, seed: int) -> pa.Table:
    """Rows in contract form as text under the council's names, codes and date format.

    Where several local values stand for one code, each is used.
    """
    rng = np.random.default_rng(seed)
    local = {}
    for column in columns:
        values = table[column.name].combine_chunks()
        if column.kind is Kind.DATE:
            values = pc.strftime(values.dictionary_encode().dictionary, dialect.date_format).take(
                values.dictionary_encode().indices
            )
        elif column.name in dialect.codes:
            values = _local_codes(rng, values, dialect.codes[column.name])
        local[dialect.local_name(column.name)] = values.cast(pa.string())
    return pa.table(local)


def _local_codes(rng: np.random.Generator, values: pa.DictionaryArray, codes: Mapping[str, str]) -> pa.Array:
    """Replace contract codes by the council's values."""
    own: dict[str, list[str]] = {}
    for local, code in codes.items():
        own.setdefault(code, []).append(local)
    forms = [own.get(code, [code]) for code in values.dictionary.to_pylist()]
    first = np.cumsum([0, *(len(form) for form in forms[:-1])])
    width = np.array([len(form) for form in forms])
    index = values.indices.to_numpy()
    index = first[index] + np.floor(rng.random(len(index)) * width[index]).astype(np.int64)
    return pa.array([local for form in forms for local in form], pa.string()).take(pa.array(index))


def _write(path: Path, table: pa.Table, dialect: Dialect) -> None:
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(table, path, compression="zstd")
        return
    content = _encoded(_as_csv(table, dialect.delimiter), dialect.encoding)
    path.write_bytes(gzip.compress(content, compresslevel=5, mtime=0) if path.suffix == ".gz" else content)


def _as_csv(table: pa.Table, delimiter: str) -> bytes:
    """UTF-8 CSV; values are quoted only where one in the file needs it."""
    for style in ("none", "needed"):
        buffer = io.BytesIO()
        options = pyarrow.csv.WriteOptions(delimiter=delimiter, quoting_style=style, quoting_header=style)
        try:
            pyarrow.csv.write_csv(table, buffer, options)
        except pa.ArrowInvalid:
            continue
        return buffer.getvalue()
    raise AssertionError("quoted CSV can hold any value")


def _encoded(content: bytes, encoding: str) -> bytes:
    """Text in the council's encoding; letters it does not have lose their accents, others become `?`."""
    if codecs.lookup(encoding).name == "utf-8":
        return content
    return content.decode().encode(encoding, errors=_PLAIN)


def _plain_letters(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    letters = str(without_accents(np.array([error.object[error.start : error.end]], dtype="U40"))[0])
    latin = "".join(c for c in unicodedata.normalize("NFKD", letters) if not unicodedata.combining(c))
    return "".join(letter if letter.isascii() else "?" for letter in latin), error.end


_PLAIN = "plain-letters"
codecs.register_error(_PLAIN, _plain_letters)
