"""Writing of the extracts of one cohort, each as its council would send it: its council file is applied in reverse.

The truth is written too: the child that each row is about.
"""

import codecs
import gzip
import io
import unicodedata
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from sources.contracts import CONTRACTS, Column, Kind, Role, SourceContract
from sources.councils.council_file import load_council_file
from sources.councils.dialect import CONTRACT_DIALECT, Dialect
from sources.extract.landing import mark_as_synthetic
from sources.reference import published_figures
from sources.reference.cohorts import Cohort
from sources.reference.places import PILOT
from sources.synthetic.drawing import Ints
from sources.synthetic.people import NAME_TYPE
from sources.synthetic.recording import Rows, World, draw_world, strip_accents
from sources.synthetic.returns import RETURNS

DEFAULT_SEED = 20260601
_OTHER_FORMATS = {
    ("knowsley", "early_years_census"): ".parquet",
    ("liverpool", "parent_experience"): ".csv.gz",
    ("sefton", "hv_reviews"): ".csv.gz",
}
_EACH_OTHER_FORMAT = 25
"""Outside the pilot, one file in this many is gzipped, and one in this many is Parquet."""
_SENDS_NHS_NUMBER = 3
"""Outside the pilot, one council in this many has NHS numbers in its education records."""


def generate(
    landing: Path,
    cohort: str,
    *,
    scale: float = 1.0,
    seed: int = DEFAULT_SEED,
    councils: Literal["pilot", "england"] = "pilot",
    contract_names: bool = False,
) -> None:
    """Write the extracts of a cohort into `landing`, and the truth beside it.

    - `landing/<council>/<source>/<cohort>.<ext>`: in the council's dialect, or in contract form with `contract_names`
      or for councils without a council file.
    - `landing/reference/postcode_directory.csv` and, if the size is not the published one, `expected_rows.csv`.
    - `landing/reference/synthetic.json`: the marker by which the intake recognises these files as synthetic.
    - `truth.parquet` in the parent folder of `landing`.

    There are `scale` times the children of 2024/25: 26,132 in the pilot, 589,471 in England. The same arguments give
    the same bytes. Raises `InvalidCohort` for an invalid cohort and `ValueError` for a scale that is not positive.
    """
    if scale <= 0:
        raise ValueError(f"scale must be above 0, not {scale}")
    world = draw_world(Cohort(cohort), seed, councils == "england", scale, contract_names)
    landing.mkdir(parents=True, exist_ok=True)
    world.geography.write_directory(landing / "reference" / "postcode_directory.csv")
    write_expected(landing / "reference" / published_figures.EXPECTED_ROWS_FILE, world, scale)
    truth = []
    for source, draw in RETURNS.items():
        rows = draw(world)
        mark_as_synthetic(landing, _write_source(landing, source, rows, world))
        if rows.person is not None:
            truth.append(_build_links(world, source, rows.council, rows.person))
    _write_truth(landing.resolve().parent / "truth.parquet", world.cohort, pa.concat_tables(truth))


def write_expected(path: Path, world: World, scale: float) -> None:
    """Write the expected numbers of rows if the cohort's size is not the published one."""
    expected = {
        (source, world.cohort.code, entry.council): round(published * scale)
        for source in published_figures.SOURCES_OF_CHILDREN
        for entry in world.margins.councils
        if (published := published_figures.find_published_rows(source, entry.council))
    }
    # An existing file may have the numbers of this cohort at another size.
    if scale != 1 or path.exists():
        published_figures.write_expected_rows(path, expected)


def _write_source(landing: Path, source: str, rows: Rows, world: World) -> list[Path]:
    """Write one file per council, `landing/<council>/<source>/<cohort>.<ext>`, and return their paths."""
    councils = world.margins.councils
    edges = np.searchsorted(rows.council, np.arange(len(councils) + 1)).tolist()
    return [
        write_file(landing, world, place.council, source, world.cohort.code, [(rows.table[start:end], start, {})])
        for place, start, end in zip(councils, edges, edges[1:], strict=False)
    ]


def write_file(
    landing: Path,
    world: World,
    council: str,
    source: str,
    name: str,
    parts: Iterable[tuple[pa.Table, int, dict[str, pa.Array]]],
) -> Path:
    """Write a council's file, `landing/<council>/<source>/<name>.<ext>`, and return its path.

    `parts` are written one after the other. Each has rows in contract form, the seed for the choice of local codes, and
    columns that are not in the contract. A file that already has the right bytes is left alone: with a new modification
    time it would be read again.
    """
    dialect = world.get_dialect(council, source)
    columns = list_columns_sent(CONTRACTS[source], council, world.contract_names)
    content = pa.concat_tables(
        pa.table(_convert_to_dialect(table, columns, dialect, seed) | further) for table, seed, further in parts
    )
    path = landing / council / source / f"{name}{_choose_file_ending(council, source)}"
    encoded = _encode_file(path, content, dialect)
    if not path.exists() or path.read_bytes() != encoded:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded)
    return path


def list_columns_sent(contract: SourceContract, council: str, contract_names: bool) -> Sequence[Column]:
    """Return the contract columns in a council's file.

    These are the columns that its council file maps and all required or payload columns, except constants, so a new
    payload column needs no line in a council file. Under contract names, constants are columns too. A council without a
    council file sends all columns, but only some of these councils have NHS numbers in education.
    """
    own = load_council_file(council).get_dialect(contract.name)
    if own is CONTRACT_DIALECT:
        # Not drawn: a council has NHS numbers in all its education returns of every cohort, or in none.
        known = contract.name == "hv_reviews" or zlib.crc32(council.encode()) % _SENDS_NHS_NUMBER == 0
        return [column for column in contract.columns if known or column.name != "nhs_number"]
    kept = (column.name for column in contract.select_role(Role.PAYLOAD))
    named = {*own.columns, *contract.required, *kept}
    named = named | own.constants.keys() if contract_names else named - own.constants.keys()
    return [column for column in contract.columns if column.name in named]


def _choose_file_ending(council: str, source: str) -> str:
    """Return the file's suffix: `.csv`, or for a few files `.csv.gz` or `.parquet`."""
    if council in PILOT:
        return _OTHER_FORMATS.get((council, source), ".csv")
    lot = zlib.crc32(f"{council} {source}".encode()) % _EACH_OTHER_FORMAT
    return {0: ".csv.gz", 1: ".parquet"}.get(lot, ".csv")


def _convert_to_dialect(table: pa.Table, columns: Sequence[Column], dialect: Dialect, seed: int) -> dict[str, pa.Array]:
    """Return rows as text under the council's headings, date format and codes; of several for one, all are used."""
    rng = np.random.default_rng(seed)
    local: dict[str, pa.Array] = {}
    for column in columns:
        values = table[column.name].combine_chunks()
        if column.kind is Kind.DATE:
            # Each different date is formatted once.
            values = pc.strftime(values.dictionary_encode().dictionary, dialect.date_format[0]).take(
                values.dictionary_encode().indices
            )
        elif column.name in dialect.codes:
            values = _draw_local_codes(rng, values, dialect.codes[column.name])
        local[dialect.get_local_name(column.name)] = values.cast(pa.string())
    return local


def _draw_local_codes(rng: np.random.Generator, values: pa.DictionaryArray, codes: Mapping[str, str]) -> pa.Array:
    """Replace contract codes with the council's values."""
    own: dict[str, list[str]] = {}
    for local, code in codes.items():
        own.setdefault(code, []).append(local)
    # A code without a value in the council file is written as in the contract, which is always read.
    forms = [own.get(code, [code]) for code in values.dictionary.to_pylist()]
    first = np.cumsum([0, *(len(form) for form in forms[:-1])])
    width = np.array([len(form) for form in forms])
    index = values.indices.to_numpy()
    index = first[index] + np.floor(rng.random(len(index)) * width[index]).astype(np.int64)
    return pa.array([local for form in forms for local in form], pa.string()).take(pa.array(index))


def _encode_file(path: Path, table: pa.Table, dialect: Dialect) -> bytes:
    """Return the table as the content of a file of this name."""
    if path.suffix == ".parquet":
        buffer = io.BytesIO()
        pyarrow.parquet.write_table(table, buffer, compression="zstd")
        return buffer.getvalue()
    content = _encode_text(_format_csv(table, dialect.delimiter), dialect.encoding)
    # mtime=0, because the same arguments must give the same bytes.
    return gzip.compress(content, compresslevel=5, mtime=0) if path.suffix == ".gz" else content


def _format_csv(table: pa.Table, delimiter: str) -> bytes:
    """Return the table as UTF-8 CSV, with quotes only if a value needs them."""
    # Arrow refuses to write a value that needs quotes without them.
    for style in ("none", "needed"):
        buffer = io.BytesIO()
        options = pyarrow.csv.WriteOptions(delimiter=delimiter, quoting_style=style, quoting_header=style)
        try:
            pyarrow.csv.write_csv(table, buffer, options)
        except pa.ArrowInvalid:
            continue
        return buffer.getvalue()
    raise AssertionError("quoted CSV can hold any value")


def _encode_text(content: bytes, encoding: str) -> bytes:
    """Encode text in the council's encoding; letters that it lacks lose their accents or become `?`."""
    if codecs.lookup(encoding).name == "utf-8":
        return content
    text = content.decode()
    lacking = [letter for letter in sorted(set(text)) if not letter.encode(encoding, "ignore")]
    plain: dict[str, str | int | None] = {}
    for letter, form in zip(lacking, strip_accents(np.array(lacking, NAME_TYPE)).tolist(), strict=True):
        marks_apart = unicodedata.normalize("NFKD", form)
        plain[letter] = "".join(c if c.isascii() else "?" for c in marks_apart if not unicodedata.combining(c))
    return text.translate(str.maketrans(plain)).encode(encoding)


def _write_truth(path: Path, cohort: Cohort, truth: pa.Table) -> None:
    """Write the child of each row, keeping other cohorts' rows in the file."""
    if path.exists():
        earlier = pyarrow.parquet.read_table(path)
        others = earlier.filter(pc.not_equal(earlier["cohort"], cohort.code))
        truth = pa.concat_tables([others.cast(truth.schema), truth]) if others.num_rows else truth
    pyarrow.parquet.write_table(truth, path, compression="zstd")


def _build_links(world: World, source: str, council: Ints, person: Ints) -> pa.Table:
    """Return the child of each row; `source_row` is the 1-based data row of the council's file."""
    size = len(council)
    councils = pa.array([entry.council for entry in world.margins.councils])
    return pa.table(
        {
            "source": pa.repeat(source, size),
            "council": councils.take(pa.array(council)),
            "cohort": pa.repeat(world.cohort.code, size),
            "source_row": np.arange(size) - np.searchsorted(council, council) + 1,
            # The truth has several cohorts in one file, so numbers must not repeat between them.
            "person_id": world.cohort.first_year * 10_000_000 + person,
            "is_twin": world.people.twin[person],
        }
    )
