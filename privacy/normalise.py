"""Normalises names, dates, postcodes and numbers before they are compared or hashed.

Everything is SQL over a relation, so it streams inside DuckDB. The rules are versioned together: files normalised under
different versions are not comparable, and the linker refuses to mix them.

- Names are upper-cased; apostrophes, titles and suffixes are removed; hyphens and spaces separate words. Accented Latin
  letters lose their accents through an explicit map (Unicode decomposition alone would turn Łukasz into UKASZ); letters
  of other scripts are unchanged (NFC), so 李, Мария and محمد remain names.
- A name of several words is kept whole (joined), with its first and last word: DE SILVA is DESILVA, SMITH-JONES is
  SMITHJONES with the words SMITH and JONES.
- Placeholders ("Unknown", "Baby boy", "Infant of ...", "Test", "N/K", 1900-01-01, ZZ99 postcodes), a title, initial or
  relation ("Son") alone, and blanks are NULL.
- A surname or given name has a band from 0 (common) to 5 (rare), from public lists of frequencies
  (`names/surname_bands.txt`, `names/given_name_bands.txt`), because agreement on a rare name is stronger evidence.
- A given name has a canonical form, from a public table of short forms and spellings (`names/given_names.txt`).
"""

from functools import cache
from importlib import resources

import duckdb

NORMALISER_VERSION = "5"

VALID = {"upn": "upn_valid({})", "nhs_number": "nhs_valid({})"}
"""Identifiers with a check digit, and the SQL condition of a usable value."""

INPUTS = ("surname", "forename", "postcode", "date_of_birth", "upn", "nhs_number")
"""Contract columns that are read, if present: VARCHAR, and DATE for date_of_birth."""

RAREST_BAND = 5
"""Band of a name that is in neither list. One band is half an order of magnitude of frequency."""

_MACROS = resources.files("privacy").joinpath("normalise.sql").read_text(encoding="utf-8")
_FORMS = resources.files("privacy").joinpath("normalised_forms.sql").read_text(encoding="utf-8")


def install(con: duckdb.DuckDBPyConnection) -> None:
    """Create the normaliser's macros and its tables of names in a connection.

    The validity macros `upn_valid(x)`, `upn_permanent(x)`, `nhs_valid(x)` take a VARCHAR as sent (spaces and case are
    ignored) and return BOOLEAN, or NULL for NULL. `sound_code(x)` takes upper-case letters.
    """
    con.execute(f"CREATE OR REPLACE MACRO rarest_band() AS {RAREST_BAND}").fetchall()
    con.execute(_MACROS).fetchall()
    con.execute("CREATE OR REPLACE TABLE given_name_forms (form VARCHAR, canonical VARCHAR)").fetchall()
    # A canonical name is its own canonical form, unless the table lists it as a form of another.
    forms = {canonical: canonical for canonical in load_given_name_forms().values()} | load_given_name_forms()
    con.execute(
        "INSERT INTO given_name_forms SELECT unnest($1::VARCHAR[]), unnest($2::VARCHAR[])",
        [list(forms), list(forms.values())],
    ).fetchall()
    for name in ("surname", "given_name"):
        bands = load_name_bands(name)
        columns = "unnest($1::VARCHAR[]) AS name, unnest($2::UTINYINT[]) AS band"
        con.execute(
            f"CREATE OR REPLACE TABLE {name}_bands AS SELECT {columns}", [list(bands), list(bands.values())]
        ).fetchall()


@cache
def load_given_name_forms() -> dict[str, str]:
    """Return the public table of given names: form -> canonical form. Each form has one canonical name."""
    text = resources.files("privacy").joinpath("names/given_names.txt").read_text(encoding="utf-8")
    forms: dict[str, str] = {}
    for line in text.splitlines():
        canonical, _, written = line.partition(":")
        if written and not line.startswith("#"):
            forms |= dict.fromkeys(written.split(), canonical)
    return forms


@cache
def load_name_bands(kind: str) -> dict[str, int]:
    """Return the public list of common names of a kind (surname, or canonical given_name): name -> band, 0 to 4."""
    text = resources.files("privacy").joinpath(f"names/{kind}_bands.txt").read_text(encoding="utf-8")
    bands: dict[str, int] = {}
    band = 0
    for line in text.splitlines():
        if line.endswith(":"):
            band = int(line[:-1])
        elif not line.startswith("#"):
            bands |= dict.fromkeys(line.split(), band)
    return bands


def normalise_sql(relation: str, columns: set[str]) -> str:
    """Return a SELECT of every column of `relation` and its normalised forms; `columns` are the `INPUTS` that it has.

    The forms are VARCHAR, DATE for `n_dob` and UTINYINT for `*_band`, or NULL:

    - `n_surname` and `n_forename` (the canonical form; `n_forename_written` as written), each with `*_first` and
      `*_last` (only for names of several words), `*_sound` (a code of the sound, only for names in Latin
      letters), `*_start` and `*_end` (two letters), and `*_band` (how common the name is);
    - `n_dob`, `n_dob_sorted` (the smaller of day and month first, so that swapping them makes no difference),
      `n_dob_day`, `n_dob_month`;
    - `n_postcode` (NULL if only the outward part was sent), `n_postcode_outward` (the part before the space, or two
      characters of a code of another form), `n_postcode_full` (only for a complete postcode);
    - `n_upn` (permanent) and `n_upn_temporary` numbers, `n_nhs`.

    Only the format of numbers is checked: intake has already applied the check digits (`VALID`). `relation` is held
    in memory. Call `install` on the connection first.
    """
    types = dict.fromkeys(INPUTS, "VARCHAR") | {"date_of_birth": "DATE"}
    sent = {name: name if name in columns else f"NULL::{types[name]}" for name in INPUTS}
    return _FORMS.format(relation=relation, **sent)
