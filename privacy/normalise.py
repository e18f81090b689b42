"""One form for names, dates, postcodes and numbers, before anything is compared or hashed.

All of it is SQL over a relation, so it streams inside DuckDB. The rules are versioned together: two files
normalised under different versions are not comparable, and the linker refuses to mix them.

- Names are upper-cased, apostrophes go, hyphens and spaces part words, titles and suffixes go. Accented Latin
  letters lose their accents through an explicit map (Unicode decomposition alone would make UKASZ of Łukasz);
  letters of other scripts stay as they are (NFC), so 李, Мария and محمد remain names.
- A name of several words is kept whole (joined) beside its first and last word: DE SILVA is DESILVA, SMITH-JONES is
  SMITHJONES with the words SMITH and JONES.
- Placeholders ("Unknown", "Baby boy", "Infant of ...", "Test", "N/K", 1900-01-01, ZZ99 postcodes), a title, an initial
  or a relation ("Son") alone, and blanks are NULL.
- A surname and a given name have a band, 0 (many people share it) to 5 (few do), by public lists of frequencies
  (`names/surnames.txt`, `names/given_name_bands.txt`): that two records share a rare name says more.
- A given name has a canonical form by a public table of short forms and spellings (`names/given_names.txt`).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import cache, reduce
from importlib import resources

import duckdb

from privacy.doors.sql import quoted

NORMALISER_VERSION = "4"

VALID = {"upn": "upn_valid({})", "nhs_number": "nhs_valid({})"}
"""Identifiers with a check digit, and the SQL condition that a usable value meets."""

INPUTS = ("surname", "forename", "postcode", "date_of_birth", "upn", "nhs_number")
"""Contract columns that are read, where present: VARCHAR, and DATE for date_of_birth."""

RAREST_BAND = 5
"""Band of a name that is in no list. One band is half an order of magnitude of frequency."""
OTHER_SCRIPT_BAND = 3
"""Band of a name in letters other than A to Z: the lists do not know them, and some are common."""
DOUBLE_NAME_BANDS = 3
"""So many bands rarer than its first word is a given name of several words."""

EARLIEST_BIRTH = "2000-01-02"
"""Earlier dates, 2000-01-01 included, are placeholders in records about children under ten."""

_LATIN_RANGES = ((0x00C0, 0x0250), (0x1E00, 0x1F00), (0x2C60, 0x2C80), (0xFF21, 0xFF3B))
_LETTERS = {
    **dict(
        zip(
            "ŁØĐÐĦŦŊƏƁƊƘƳŒÆÞ",
            ("L", "O", "D", "D", "H", "T", "N", "E", "B", "D", "K", "Y", "OE", "AE", "TH"),
            strict=True,
        )
    ),
    "ẞ": "SS",
    "ß": "SS",
    "ı": "I",
    "ŉ": "N",
    "ſ": "S",
    "ĸ": "K",
    "ƒ": "F",
}
_APOSTROPHES = "'`´‘’‛ʹʻʼʽʾʿ′＇"
_PARTING = "-‐‑‒–—―−_./\\,;:&+·・"
_MARKS_OF_OPTIONAL_VOWELS = r"\x{0640}\x{064B}-\x{0652}\x{0670}\x{05B0}-\x{05C7}"  # Arabic, Hebrew
_TITLES = "MASTER|MISS|MR|MRS|MS|MX|DR"
_SUFFIXES = "JR|JNR|JUNIOR|SNR|SENIOR|II|III"
_PARTICLES = "AL|EL|DE|DEL|DELLA|DI|DA|DOS|DU|LA|LE|VAN|VON|DER|DEN|TER|BIN|IBN|BEN|BINT|UL|UR|ABU|MC|MAC|ST|SAINT"
_PLACEHOLDERS = (
    r"(?:BABY|INFANT|TWIN|TRIPLET|NEWBORN|NEW BORN)(?: .*)?",
    r"BABY ?(?:BOY|GIRL|SON|DAUGHTER|OF|TWIN|ONE|TWO|A|B).*",
    r"(?:INFANT|TWIN|TRIPLET) ?(?:OF|BOY|GIRL|ONE|TWO|THREE|I|II|III|A|B|C)",
    r"INFANT ?OF.*",
    r"(?:SURNAME |FORENAME |NAME )?UNKNOWN(?: .*)?|UNK|NOT ?KNOWN|NK|N K|N A|NONE|NULL|UNNAMED|NO ?NAME",
    r"NOT ?(?:GIVEN|STATED|PROVIDED|RECORDED|AVAILABLE|APPLICABLE|YET ?NAMED|NAMED)",
    r"ANON|ANONYMOUS|TB ?[ACD]|X{2,}|DUMMY|DO ?NOT ?USE|REDACTED|WITHHELD|MISSING|BLANK",
    r"(?:GRAND|STEP|FOSTER )?(?:CHILD|SON|DAUGHTER)|(?:GRAND|STEP)?(?:MOTHER|FATHER|PARENT)|NEPHEW|NIECE|KID|MINOR",
    r"HUSBAND|WIFE|SPOUSE|OCCUPANT|OCCUPIER|RESIDENT|LADY ?OF ?THE ?(?:HOUSE|HOME)|OF ?THE ?(?:HOUSE|HOME)|REFUSED",
    r"[A-Z]|MASTER|MISS|MR|MRS|(?:ADULT ?)?(?:FE)?MALE|ADULT|BOY|GIRL|GENTLEMAN|ONE|TWO|THREE|FOUR",
    r"(?:ZZ)?TEST(?:ING)?(?: ?(?:PATIENT|CHILD|PUPIL|RECORD|USER|NAME|SURNAME|FORENAME))?",
)
_UPN_LETTERS = "ABCDEFGHJKLMNPQRTUVWXYZ"


def install(con: duckdb.DuckDBPyConnection) -> None:
    """Create the normaliser's macros and its table of given names (`given_name_forms`) in a connection.

    `front(x)` and `rest(x)` are what the last or first two letters of a name leave, of five letters and more; a shorter
    name stays whole, marked as such: that there is none would tell that the name is short.
    The validity macros `upn_valid(x)`, `upn_permanent(x)`, `nhs_valid(x)` take a VARCHAR as sent (spaces and case
    do not matter) and return BOOLEAN, or NULL for NULL. `soundex(x)` takes upper-case letters.
    """
    for macro in (*_name_macros(), *_number_macros(), *_place_and_date_macros()):
        con.execute(f"CREATE OR REPLACE MACRO {macro}").fetchall()
    con.execute("CREATE OR REPLACE TABLE given_name_forms (form VARCHAR, canonical VARCHAR)").fetchall()
    forms = {canonical: canonical for canonical in given_name_forms().values()} | given_name_forms()
    con.execute(
        "INSERT INTO given_name_forms SELECT unnest($1::VARCHAR[]), unnest($2::VARCHAR[])",
        [list(forms), list(forms.values())],
    ).fetchall()
    for table, bands in (("surname_bands", surname_bands()), ("given_name_bands", given_name_bands())):
        con.execute(
            f"CREATE OR REPLACE TABLE {table} AS SELECT unnest($1::VARCHAR[]) AS name, unnest($2::UTINYINT[]) AS band",
            [list(bands), list(bands.values())],
        ).fetchall()


@cache
def given_name_forms() -> dict[str, str]:
    """Form -> canonical form, from the public table. A form stands for one canonical name only."""
    text = resources.files("privacy").joinpath("names/given_names.txt").read_text(encoding="utf-8")
    forms: dict[str, str] = {}
    for line in text.splitlines():
        canonical, _, written = line.partition(":")
        if written and not line.startswith("#"):
            forms |= dict.fromkeys(written.split(), canonical)
    return forms


@cache
def surname_bands() -> dict[str, int]:
    """Surname -> band, 0 the commonest, of the surnames that many people share, from the public list."""
    return _bands("surnames.txt")


@cache
def given_name_bands() -> dict[str, int]:
    """Canonical given name -> band, of the given names that many people share, from the public list."""
    return _bands("given_name_bands.txt")


def _bands(file: str) -> dict[str, int]:
    text = resources.files("privacy").joinpath(f"names/{file}").read_text(encoding="utf-8")
    bands: dict[str, int] = {}
    band = 0
    for line in text.splitlines():
        if line.endswith(":"):
            band = int(line[:-1])
        elif not line.startswith("#"):
            bands |= dict.fromkeys(line.split(), band)
    return bands


def normalise_sql(relation: str, columns: set[str]) -> str:
    """A SELECT of every column of `relation` and its normalised forms; `columns` says which of `INPUTS` it has.

    The forms, VARCHAR or NULL, DATE for `n_dob` and UTINYINT for `*_band`:

    - `n_surname` and `n_forename` (the canonical form; `n_forename_written` as written), each with `*_first` and
      `*_last` (set only for names of several words), `*_sound` (Soundex, only for names in Latin letters), `*_start`
      and `*_end` (two letters), and `*_band` (how common the name is);
    - `n_dob`, `n_dob_sorted` (the smaller of day and month first, so that a swap of the two makes no difference),
      `n_dob_day`, `n_dob_month`;
    - `n_postcode` (missing where the outward part alone was sent), `n_postcode_outward` (the part before the space, or
      two characters of a code of another form), `n_postcode_full` (only of the form of a whole postcode);
    - `n_upn` (permanent) and `n_upn_temporary` numbers, `n_nhs`.

    The form of numbers is looked at, their check digits are not: intake has seen to `VALID`. There are few different
    names and dates beside the rows that bear them, so each is given its forms once, and the rows look them up.
    `relation` is held in memory meanwhile. Needs `install` on the connection.
    """
    types = dict.fromkeys(INPUTS, "VARCHAR") | {"date_of_birth": "DATE"}
    sent = {name: name if name in columns else f"NULL::{types[name]}" for name in INPUTS}
    forms = [
        f"{name}_forms AS ({_layered(f'(SELECT DISTINCT {sent[name]} AS sent FROM people)', layers)})"
        for name, layers in _FORMS.items()
    ]
    people = [f"people AS MATERIALIZED (SELECT * FROM {relation})"]
    joins = [f" LEFT JOIN {name}_forms ON {name}_forms.sent = {sent[name]}" for name in _FORMS]
    found = [f"{name}_forms.* EXCLUDE (sent)" for name in _FORMS]
    codes = _layered("people", [layer.format("{0}", **sent) for layer in _CODE_LAYERS])
    return (
        f"WITH {', '.join(people + forms)} SELECT coded.*, {', '.join(found)} FROM ({codes}) AS coded{''.join(joins)}"
    )


def _layered(relation: str, layers: Iterable[str]) -> str:
    """SELECTs, each of the one before. One layer a step: macros that repeat their argument are given columns, not
    expressions, or the planner drowns in copies."""
    return reduce(lambda query, layer: layer.format(f"({query})"), layers, f"SELECT * FROM {relation}")


_CODE_LAYERS = (
    """
    SELECT *, letters_and_digits({postcode}) AS postcode_code, upn_code({upn}) AS upn_code,
           nhs_code({nhs_number}) AS n_nhs
      FROM {0}
    """,
    "SELECT * REPLACE (real_postcode(postcode_code) AS postcode_code) FROM {0}",
    "SELECT *, CASE WHEN full_postcode(postcode_code) THEN postcode_code END AS n_postcode_full FROM {0}",
    """
    SELECT * EXCLUDE (postcode_code, upn_code),
           CASE WHEN NOT outward_alone(postcode_code) THEN postcode_code END AS n_postcode,
           CASE WHEN n_postcode_full IS NOT NULL THEN left(postcode_code, -3)
                WHEN outward_alone(postcode_code) THEN postcode_code ELSE left(postcode_code, 2) END
             AS n_postcode_outward,
           CASE WHEN NOT ends_in_letter(upn_code) THEN upn_code END AS n_upn,
           CASE WHEN ends_in_letter(upn_code) THEN upn_code END AS n_upn_temporary
      FROM {0}
    """,
)
_NAME_LAYERS = (
    "SELECT sent, fold_name(sent) AS folded FROM {0}",
    "SELECT sent, spaced_name(folded) AS spaced FROM {0}",
    "SELECT sent, real_name(spaced) AS words FROM {0}",
    """
    SELECT sent, replace(words, ' ', '') AS whole, first_word(words) AS front, last_word(words) AS back
      FROM {0}
    """,
)
_SURNAME_LAYER = """
    SELECT sent, whole AS n_surname, front AS n_surname_first, back AS n_surname_last,
           soundex(whole) AS n_surname_sound, left(whole, 2) AS n_surname_start, right(whole, 2) AS n_surname_end,
           name_band(whole, band) AS n_surname_band
      FROM {0} LEFT JOIN surname_bands ON name = whole
"""
_FORENAME_LAYERS = (
    """
    SELECT sent, whole AS n_forename_written, soundex(whole) AS n_forename_sound, left(whole, 2) AS n_forename_start,
           right(whole, 2) AS n_forename_end, coalesce(fronts.canonical, front) AS n_forename_first,
           coalesce(backs.canonical, back) AS n_forename_last,
           coalesce(wholes.canonical,
                    CASE WHEN front || back = whole
                         THEN coalesce(fronts.canonical, front) || coalesce(backs.canonical, back) END,
                    whole) AS n_forename
      FROM {0}
      LEFT JOIN given_name_forms AS wholes ON wholes.form = whole
      LEFT JOIN given_name_forms AS fronts ON fronts.form = front
      LEFT JOIN given_name_forms AS backs ON backs.form = back
    """,
    f"""
    SELECT named.*,
           name_band(n_forename, coalesce(wholes.band, least(fronts.band + {DOUBLE_NAME_BANDS}, {RAREST_BAND})))
             AS n_forename_band
      FROM {{0}} AS named
      LEFT JOIN given_name_bands AS wholes ON wholes.name = n_forename
      LEFT JOIN given_name_bands AS fronts ON fronts.name = n_forename_first
    """,
)
_DATE_LAYERS = (
    "SELECT sent, birth_date(sent) AS n_dob FROM {0}",
    """
    SELECT *, sorted_date(n_dob) AS n_dob_sorted, day(n_dob)::VARCHAR AS n_dob_day, month(n_dob)::VARCHAR AS n_dob_month
      FROM {0}
    """,
)
_FORMS = {
    "surname": (*_NAME_LAYERS, _SURNAME_LAYER),
    "forename": (*_NAME_LAYERS, *_FORENAME_LAYERS),
    "date_of_birth": _DATE_LAYERS,
}


def _name_macros() -> list[str]:
    singles, several = _letter_maps()
    folded = "upper(nfc_normalize(x))"
    for letter, letters in several.items():
        folded = f"replace({folded}, {quoted(letter)}, {quoted(letters)})"
    folded = f"translate({folded}, {quoted(''.join(singles))}, {quoted(''.join(singles.values()))})"
    folded = rf"regexp_replace({folded}, '([A-Z])[\x{{0300}}-\x{{036F}}]+', '\1', 'g')"
    folded = f"nfc_normalize(regexp_replace({folded}, '[{_MARKS_OF_OPTIONAL_VOWELS}]', '', 'g'))"
    apostrophes = quoted("[" + _APOSTROPHES + "]")
    parting = quoted(r"[\s\x{00A0}\x{2000}-\x{200B}\x{3000}" + _PARTING.replace("\\", r"\\").replace("-", r"\-") + "]+")
    words = rf"regexp_replace(regexp_replace(x, '\([^)]*\)', ' ', 'g'), {apostrophes}, '', 'g')"
    words = rf"regexp_replace(regexp_replace({words}, {parting}, ' ', 'g'), '[^\p{{L}}\p{{M}} ]', '', 'g')"
    words = rf"trim(regexp_replace({words}, ' +', ' ', 'g'))"
    words = rf"regexp_replace(regexp_replace({words}, '^(?:{_TITLES}) ', ''), ' (?:{_SUFFIXES})$', '')"
    placeholder = quoted("|".join(_PLACEHOLDERS))
    return [
        f"fold_name(x) AS CASE WHEN strlen(x) = length(x) THEN upper(x) ELSE {folded} END",
        f"spaced_name(x) AS CASE WHEN regexp_full_match(x, '[A-Z]+') THEN x ELSE nullif({words}, '') END",
        f"""real_name(x) AS CASE WHEN NOT regexp_full_match(x, {placeholder})
                                  AND NOT regexp_full_match(replace(x, ' ', ''), {placeholder}) THEN x END""",
        f"""first_word(x) AS CASE WHEN contains(x, ' ') THEN
             nullif(regexp_extract(regexp_replace(x, '^(?:(?:{_PARTICLES}) )+', ''), '^([^ ]{{2,}}) ', 1), '')
             END""",
        "last_word(x) AS CASE WHEN contains(x, ' ') THEN nullif(regexp_extract(x, ' ([^ ]{2,})$', 1), '') END",
        f"""name_band(x, listed) AS CASE WHEN x IS NOT NULL THEN coalesce(
             listed, CASE WHEN regexp_full_match(x, '[A-Z]+') THEN {RAREST_BAND} ELSE {OTHER_SCRIPT_BAND} END)::UTINYINT
             END""",
        "front(x) AS CASE WHEN length(x) >= 5 THEN left(x, -2) ELSE x || '.' END",
        "rest(x) AS CASE WHEN length(x) >= 5 THEN substr(x, 3) ELSE '.' || x END",
        f"soundex(x) AS CASE WHEN regexp_full_match(x, '[A-Z]+') THEN {_soundex('x')} END",
    ]


def _letter_maps() -> tuple[dict[str, str], dict[str, str]]:
    """Latin letters -> A-Z: those with one letter (for `translate`), those with several (for `replace`)."""
    letters = dict(_LETTERS)
    for low, high in _LATIN_RANGES:
        for letter in map(chr, range(low, high)):
            bare = "".join(c for c in unicodedata.normalize("NFKD", letter) if not unicodedata.combining(c)).upper()
            if bare.isascii() and bare.isalpha() and letter not in letters:
                letters[letter] = bare
    accented = {c: bare for c, bare in letters.items() if c in _LETTERS or c != bare}
    marked = {
        c: letters[base]
        for c in map(chr, range(0x00C0, 0x1F00))
        for base in [unicodedata.normalize("NFD", c)[0]]
        if c not in accented and base in _LETTERS
    }
    accented |= marked
    singles = {c: bare for c, bare in accented.items() if len(bare) == 1}
    return singles, {c: bare for c, bare in accented.items() if len(bare) > 1}


def _soundex(x: str) -> str:
    """American Soundex (US National Archives): H and W do not part equal codes, vowels do."""
    coded = f"left({x}, 1) || replace(replace(substr({x}, 2), 'H', ''), 'W', '')"
    for letters, code in (
        ("BFPV", 1), ("CGJKQSXZ", 2), ("DT", 3), ("L", 4), ("MN", 5), ("R", 6), ("AEIOUYHW", 0),
    ):  # fmt: skip
        coded = f"regexp_replace({coded}, '[{letters}]+', '{code}', 'g')"
    return f"left({x}, 1) || left(replace(substr({coded}, 2), '0', '') || '000', 3)"


def _number_macros() -> list[str]:
    upn_sum = " + ".join(f"{i} * (ascii(substr(x, {i}, 1)) - 48)" for i in range(2, 13))
    letter = f"instr('{_UPN_LETTERS}', right(x, 1)) - 1"
    last = f"CASE WHEN ends_in_letter(x) THEN {letter} ELSE ascii(right(x, 1)) - 48 END"
    nhs_sum = " + ".join(f"{11 - i} * (ascii(substr(x, {i}, 1)) - 48)" for i in range(1, 10))
    upn_form = f"regexp_full_match(x, '[{_UPN_LETTERS}][0-9]{{11}}[0-9{_UPN_LETTERS}]')"
    nhs_form = "regexp_full_match(x, '[0-9]{10}')"
    return [
        "ends_in_letter(x) AS ascii(right(x, 1)) >= 58",
        r"compact_code(x) AS upper(regexp_replace(x, '[\s-]', '', 'g'))",
        # Department for Education, UPN guide: weights 2 to 13, modulus 23; the alphabet has no I, O, S.
        f"upn_sum_fits(x) AS substr('{_UPN_LETTERS}', 1 + ({upn_sum} + 13 * ({last})) % 23, 1) = left(x, 1)",
        f"upn_of_form(x) AS CASE WHEN {upn_form} THEN x END",
        f"upn_code(x) AS CASE WHEN {upn_form} THEN x ELSE upn_of_form(compact_code(x)) END",
        f"upn_checks(x) AS CASE WHEN {upn_form} THEN upn_sum_fits(x) ELSE x IS NULL AND NULL END",
        # Nearly every number is written in its plain form, and a macro evaluates what it is given at every mention.
        f"upn_valid(x) AS CASE WHEN {upn_form} THEN upn_sum_fits(x) ELSE upn_checks(compact_code(x)) END",
        "upn_permanent(x) AS upn_valid(x) AND NOT ends_in_letter(compact_code(x))",
        # NHS Data Dictionary, NHS NUMBER: weights 10 to 2, modulus 11, 11 counts as 0 and 10 is no check digit.
        f"""nhs_sum_fits(x) AS (11 - ({nhs_sum}) % 11) % 11 = ascii(right(x, 1)) - 48
                               AND x <> repeat(left(x, 1), 10)""",
        f"nhs_of_form(x) AS CASE WHEN {nhs_form} THEN x END",
        f"nhs_code(x) AS CASE WHEN {nhs_form} THEN x ELSE nhs_of_form(compact_code(x)) END",
        f"nhs_checks(x) AS CASE WHEN {nhs_form} THEN nhs_sum_fits(x) ELSE x IS NULL AND NULL END",
        f"nhs_valid(x) AS CASE WHEN {nhs_form} THEN nhs_sum_fits(x) ELSE nhs_checks(compact_code(x)) END",
    ]


def _place_and_date_macros() -> list[str]:
    return [
        """letters_and_digits(x) AS CASE WHEN regexp_full_match(x, '[A-Z0-9]+ [A-Z0-9]+') THEN replace(x, ' ', '')
                                         ELSE regexp_replace(upper(x), '[^A-Z0-9]', '', 'g') END""",
        # The letter O for the digit of the inward part is the one confusion that leaves no doubt.
        r"""inward_digit(x) AS CASE WHEN regexp_full_match(x, '[A-Z]{1,2}[0-9][A-Z0-9]?O[A-Z]{2}')
                               THEN left(x, length(x) - 3) || '0' || right(x, 2) ELSE x END""",
        r"""real_postcode(x) AS CASE WHEN NOT starts_with(x, 'ZZ99') AND regexp_matches(x, '[0-9]')
                                  AND NOT regexp_full_match(x, '0+|9+') THEN inward_digit(x) END""",
        """outward_alone(x) AS CASE WHEN length(x) > 4 THEN false
                                 ELSE regexp_full_match(x, '[A-Z]{1,2}[0-9][A-Z0-9]?') END""",
        "full_postcode(x) AS regexp_full_match(x, '[A-Z]{1,2}[0-9][A-Z0-9]?[0-9][A-Z]{2}')",
        f"birth_date(x) AS CASE WHEN x BETWEEN DATE {quoted(EARLIEST_BIRTH)} AND DATE '2099-12-31' THEN x END",
        """sorted_date(x) AS (year(x) * 10000 + least(month(x), day(x)) * 100
                              + greatest(month(x), day(x)))::VARCHAR""",
    ]
