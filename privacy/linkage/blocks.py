"""Blocking rules: which pairs of records are compared between services.

A pair is compared if it shares an NHS number, or:

- date of birth and postcode
- date of birth and both names, each identical or similar in some form
- postcode and one name, or the start or end of both
- date of birth, the outward part of the postcode, and the start or end of a name
- both names and the outward part of the postcode

If the names are rare enough for services of this size, a pair is also compared if it shares the date of birth and one
name, or both names with or without the day or month of birth. No other pair could reach the threshold.
"""

import math
from collections.abc import Mapping
from itertools import product

from privacy.linkage import model
from privacy.normalise import RAREST_BAND
from privacy.pseudonyms import RARE_SURNAME

_ENDS_OF_NAMES = (("start", "start"), ("start", "end"), ("end", "start"))
"""Ends of the surname and of the forename that must agree together with the date of birth."""

FREE_BITS: float = model.load_parameters()["free_bits"]
"""How much more likely (log2) two records are to be one child if neither has another partner. If each of two
services sees a share s of the other's children, this is s / (1 - s) ** 2: 20 times, or 4.3 bits, at s = 0.8. The
value is lower out of caution: many people share an address or a surname, so agreement means less than the model
assumes, and a false link does more harm than a missed one. It is the same in every cohort."""
LEAST_BITS = -8.0
"""Pairs lighter than this are dropped: they are not links at any threshold, and carry almost no weight as rivals."""
LARGE_SERVICE_CHILDREN = 100_000
"""From this many children on, there are too many pairs that agree on one name and need `FREE_BITS` to be linked."""


def _build_equal_sql(*tokens: str | tuple[str, str]) -> str:
    """Return SQL: the patterns l and r share these tokens. A tuple is the token of the left and that of the right."""
    pairs = ((each, each) if isinstance(each, str) else each for each in tokens)
    return "(" + " AND ".join(f"l.t_{left} = r.t_{right}" for left, right in pairs) + ")"


ONE_HOME, ONE_NUMBER = _build_equal_sql("dob_postcode"), _build_equal_sql("nhs")


def _compute_missing_bits(children: int, levels: Mapping[str, str], raised: float = FREE_BITS) -> float:
    """Return how many more bits a pair with these levels needs to be linked."""
    return (
        -math.log2(model.compute_prior(children))
        - sum(model.compute_weight(*level, children) for level in levels.items())
        - raised
    )


def _find_least_band(name: str, bits: float) -> int:
    """Return the lowest band at which a name that agrees weighs at least this much."""
    return next(
        (band for band, label in model.EXACT[name].items() if model.compute_weight(name, label) >= bits),
        RAREST_BAND + 1,  # no name is that rare, so the condition never holds
    )


def _list_common_bands(name: str, other: str, children: int) -> list[int]:
    """Return the bands of a name that are too common for pairs sharing only that name and the date of birth.

    Such a pair, with different districts and no similarity in the other name, is dropped after scoring. Nearly all
    pairs that share a common name are like this.
    """
    levels = {"date_of_birth": "same", "postcode": "different", "sex": "same", other: "different, at another home"}
    # `LEAST_BITS` is compared with the weight before `FREE_BITS` is added. The 0.01 covers rounding, so that no pair
    # that scoring would keep is lost.
    needed = _compute_missing_bits(children, levels, raised=0) + LEAST_BITS - 0.01
    return [band for band, label in model.EXACT[name].items() if model.compute_weight(name, label) < needed]


def _build_rare_pair_sql(children: int, **levels: str) -> str:
    """Return SQL: both names agree and are rare enough for a pair with these levels to be linked."""
    needed = _compute_missing_bits(children, levels)
    enough = [
        surname + forename
        for surname, of_surname in model.EXACT["surname"].items()
        for forename, of_forename in model.EXACT["forename"].items()
        if model.compute_weight("surname", of_surname) + model.compute_weight("forename", of_forename) >= needed
    ]
    # One sum replaces a list of pairs of bands. Pairs that it lets through in excess are dropped when they are scored.
    return f"l.surname_band + l.forename_band >= {min(enough, default=2 * RAREST_BAND + 1)}"


def _build_close_name_sql(name: str) -> str:
    """Return SQL: the name agrees at both ends or sounds the same."""
    return f"({_build_equal_sql(f'{name}_start_dob', f'{name}_end_dob')} OR {_build_equal_sql(f'{name}_sound_dob')})"


def _build_end_block(name: str, end: str, other: str, children: int) -> str:
    """Return a block in which `other` is the same and `name` agrees at one end.

    The `other` name must be rare enough for the pair to be linked even with a different postcode. Pairs within one
    district are found by `_build_district_block`.
    """
    levels = {"date_of_birth": "same", "sex": "same", "postcode": "different", name: "starts the same"}
    rare = _find_least_band(other, _compute_missing_bits(children, levels))
    also = f"l.{other}_band >= {rare} OR NOT (l.has_postcode AND r.has_postcode) OR {_build_close_name_sql(name)}"
    return f"{_build_equal_sql(f'{other}_dob', f'{name}_{end}_dob')} AND ({also})"


def _build_alike_ends_sql(children: int) -> str:
    """Return SQL: comparing pairs that share the date of birth and one end of each name is worthwhile.

    Neither name agrees as a whole. Pairs within one district are found by `_build_district_block`.
    """
    levels = {
        "date_of_birth": "same",
        "surname": "starts or ends the same, another forename and home",
        "forename": "starts the same",
        "sex": "same",
    }
    more = (
        "true"
        if _compute_missing_bits(children, levels) <= 0
        else f"({_build_close_name_sql('surname')} OR {_build_close_name_sql('forename')})"
    )
    # A missing token makes the comparison NULL, which must not exclude the pair.
    return f"{more} AND NOT coalesce({_build_equal_sql('surname_dob')} OR {_build_equal_sql('forename_dob')}, false)"


def _build_district_block(name: str, end: str, other: str) -> str:
    """Return a block of pairs that share the date of birth, the outward postcode and one end of `name`.

    An end of the other name must agree too, unless it is missing or `name` itself agrees more closely.
    """
    similar = " OR ".join(_build_equal_sql(f"{other}_{form}_dob") for form in ("start", "end", "sound"))
    more = f"{_build_equal_sql(f'{name}_dob')} OR {_build_close_name_sql(name)}"
    also = f"{similar} OR NOT (l.has_{other} AND r.has_{other}) OR {more}"
    return f"{_build_equal_sql('dob_outward', f'{name}_{end}_dob')} AND ({also})"


def _build_names_block(children: int) -> str:
    """Return the block of pairs whose names agree and are rare enough to link them.

    They must be rare enough even if the date of birth and the postcode differ, where both records have them.
    """
    dates, postcodes = "(l.has_dob AND r.has_dob)", "(l.has_postcode AND r.has_postcode)"
    return (
        f"{_build_equal_sql('names')} AND (NOT ({dates} AND {postcodes}) AND {_build_rare_pair_sql(children)}"
        f" AND (NOT {dates} OR {_build_rare_pair_sql(children, date_of_birth='different')})"
        f" AND (NOT {postcodes} OR {_build_rare_pair_sql(children, postcode='different')})"
        f" OR {_build_rare_pair_sql(children, date_of_birth='different', postcode='different')})"
    )


def _build_one_name_blocks(name: str, other: str, children: int) -> list[str]:
    """Return blocks of pairs that share one name and the date of birth.

    The name must be rare enough to make up for the other name, which differs or is missing from one record. If the name
    is common, a pair is compared only if both records are, or may be, in one district, or if the other names share an
    end or one of the forms in `_list_name_forms`.
    """
    same = {"date_of_birth": "same", "sex": "same"}
    raised = FREE_BITS if children < LARGE_SERVICE_CHILDREN else 0
    rare = _find_least_band(name, _compute_missing_bits(children, same | {other: "different"}, raised))
    alone = _find_least_band(name, _compute_missing_bits(children, same))
    date, band, common = f"{name}_dob", f"l.{name}_band", _list_common_bands(name, other, children)
    found = [
        f"{_build_equal_sql(date)} AND {band} >= {min(rare, alone)} AND NOT {side}.has_{other}" for side in ("l", "r")
    ]
    listed = ", ".join(str(each) for each in common if each >= rare)
    if rare <= RAREST_BAND:
        # SQL has no empty list, and -1 is not a band.
        found.append(f"{_build_equal_sql(date)} AND {band} >= {rare} AND {band} NOT IN ({listed or -1})")
    if listed:
        near = [
            _build_equal_sql(date, "dob_outward"),
            *(f"{_build_equal_sql(date)} AND {side}.t_dob_outward IS NULL" for side in ("l", "r")),
            *(_build_equal_sql(date, f"{other}_{end}_dob") for end in ("start", "end")),
        ]
        found += [f"{each} AND {band} IN ({listed})" for each in near]
    return found


def build_blocks(children: int) -> list[str]:
    """Return the blocks other than `ONE_HOME` and `ONE_NUMBER`, as SQL, for services with this many children."""
    both_names = (("surname", "forename"), ("forename", "surname"))
    return [
        _build_names_block(children),
        *(
            # Tokens of a common surname also contain a part of the postcode, so the pair need not be rare.
            f"{_build_equal_sql(f'names_{part}')} AND (l.surname_band < {RARE_SURNAME}"
            f" OR {_build_rare_pair_sql(children, date_of_birth=level)})"
            for part, level in (("day", "same day of the month"), ("month", "same month"))
        ),
        _build_equal_sql("names_outward"),
        _build_district_block("surname", "start", "forename"),
        _build_district_block("forename", "start", "surname"),
        _build_district_block("forename", "end", "surname"),
        *(_build_end_block(name, end, other, children) for name, other in both_names for end in ("start", "end")),
        *(
            f"{_build_equal_sql(f'surname_{a}_dob', f'forename_{b}_dob')} AND {_build_alike_ends_sql(children)}"
            for a, b in _ENDS_OF_NAMES
        ),
        *(block for name, other in both_names for block in _build_one_name_blocks(name, other, children)),
        # The postcode and a name, swapped names, or the ends of both names.
        _build_equal_sql("surname_postcode"),
        _build_equal_sql("forename_postcode"),
        _build_equal_sql(
            ("surname_postcode", "forename_postcode"), ("forename_start_postcode", "surname_start_postcode")
        ),
        _build_equal_sql(
            ("forename_postcode", "surname_postcode"), ("surname_start_postcode", "forename_start_postcode")
        ),
        *(
            _build_equal_sql(f"surname_{a}_postcode", f"forename_{b}_postcode")
            for a, b in (*_ENDS_OF_NAMES, ("end", "end"))
        ),
        # Identical surnames sound the same, so they need a block only if they have no sound, as with names outside the
        # Latin alphabet.
        *(
            block
            for forename in ("forename_dob", "forename_sound_dob")
            for block in (
                _build_equal_sql("surname_sound_dob", forename),
                f"{_build_equal_sql('surname_dob', forename)} AND l.t_surname_sound_dob IS NULL",
            )
        ),
        *(
            _build_equal_sql((f"{a}_dob", f"{b}_dob"), (f"{c}_dob", f"{d}_dob"))
            for (a, b), (c, d) in _list_name_forms()
        ),
    ]


def _list_name_forms() -> list[tuple[tuple[str, str], tuple[str, str]]]:
    """Return forms of both names, as (left, right), that are enough for a comparison if the date of birth agrees."""
    one_way = [
        *(((f"surname_{part}", "surname"), ("forename", "forename")) for part in ("first", "last")),
        *((("surname", "surname"), (f"forename_{part}", "forename")) for part in ("first", "last")),
        *(
            (("surname", whole), (f"forename_{form}", f"surname_{form}"))
            for whole in ("forename", "forename_written")
            for form in ("sound", "start")
        ),
    ]
    other_way = [(one[::-1], other[::-1]) for one, other in one_way]
    both_ways = [
        *((("surname", form), (form, "surname")) for form in ("forename", "forename_written")),
        *(
            ((f"surname_{a}", f"forename_{a}"), (f"forename_{b}", f"surname_{b}"))
            for a, b in product(("start", "end"), repeat=2)
        ),
    ]
    return one_way + other_way + both_ways
