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

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from privacy.linkage import model
from privacy.normalise import RAREST_BAND
from privacy.pseudonyms import RARE_SURNAME

_ENDS_OF_NAMES = (("start", "start"), ("start", "end"), ("end", "start"))
"""Ends of the surname and of the forename that must agree together with the date of birth."""

FREE_BITS: float = model.parameters()["free_bits"]
"""How much more likely (log2) two records are to be one child if neither has another partner. If each of two
services sees a share s of the other's children, this is s / (1 - s) ** 2: 20 times, or 4.3 bits, at s = 0.8. The
value is lower out of caution: many people share an address or a surname, so agreement means less than the model
assumes, and a false link does more harm than a missed one. It is the same in every cohort."""
LEAST_BITS = -8.0
"""Pairs lighter than this are dropped: they are not links at any threshold, and carry almost no weight as rivals."""
LARGE_SERVICE_CHILDREN = 100_000
"""Services with at least this many children have too many pairs that agree on one name and need the raised prior to
compare them all."""


@dataclass(frozen=True)
class Block:
    """A blocking rule: pairs whose tokens agree (`equal`, as left and right token) and for which `also` holds.

    `also` is SQL over l and r; `of_left` and `of_right` are conditions on one side only.
    """

    equal: tuple[tuple[str, str], ...]
    also: str = ""
    of_left: str = ""
    of_right: str = ""

    @property
    def sql(self) -> str:
        """The whole condition as SQL."""
        agree = [f"l.t_{left} = r.t_{right}" for left, right in self.equal]
        return " AND ".join(
            [*agree, *(f"({condition})" for condition in (self.also, self.of_left, self.of_right) if condition)]
        )


ONE_HOME, ONE_NUMBER = Block((("dob_postcode",) * 2,)), Block((("nhs",) * 2,))


def _missing_bits(children: int, levels: Mapping[str, str], raised: float = FREE_BITS) -> float:
    """Return the bits that a pair with these levels lacks to be linked."""
    return -math.log2(model.prior(children)) - sum(model.weight(*level, children) for level in levels.items()) - raised


def _least_band(name: str, bits: float) -> int:
    """Return the lowest band at which a name that agrees weighs at least this much."""
    return next(
        (band for band, label in model.EXACT[name].items() if model.weight(name, label) >= bits), RAREST_BAND + 1
    )


def _rare(name: str, other: str, children: int, level: str | None) -> int:
    """Return the lowest band at which a name, the date of birth and the sex justify comparing a pair.

    `level` is the level of the pair's other name, or None if it is missing.
    """
    levels = {"date_of_birth": "same", "sex": "same"} | ({other: level} if level else {})
    raised = FREE_BITS if level is None or children < LARGE_SERVICE_CHILDREN else 0
    return _least_band(name, _missing_bits(children, levels, raised))


def _let_go(name: str, other: str, children: int) -> list[int]:
    """Return the bands of a name that are too common for pairs sharing only that name and the date of birth.

    Such a pair, with different districts and no similarity in the other name, is dropped after scoring. Nearly all
    pairs that share a common name are like this.
    """
    levels = {"date_of_birth": "same", "postcode": "different", "sex": "same", other: "different, at another home"}
    needed = _missing_bits(children, levels, raised=0) + LEAST_BITS - 0.01
    return [band for band, label in model.EXACT[name].items() if model.weight(name, label) < needed]


def _rare_pair(children: int, **levels: str) -> str:
    """Return SQL: both names agree and are rare enough for a pair with these levels to be linked."""
    needed = _missing_bits(children, levels)
    enough = [
        surname + forename
        for surname, of_surname in model.EXACT["surname"].items()
        for forename, of_forename in model.EXACT["forename"].items()
        if model.weight("surname", of_surname) + model.weight("forename", of_forename) >= needed
    ]
    return f"l.surname_band + l.forename_band >= {min(enough, default=2 * RAREST_BAND + 1)}"


def _equal(*tokens: str) -> str:
    return "(" + " AND ".join(f"l.t_{token} = r.t_{token}" for token in tokens) + ")"


def _more_than_an_end(name: str) -> str:
    """Return SQL: the name agrees at both ends or sounds the same."""
    return f"({_equal(f'{name}_start_dob', f'{name}_end_dob')} OR {_equal(f'{name}_sound_dob')})"


def _an_end_of(name: str, end: str, other: str, children: int) -> Block:
    """Return a block in which `other` is the same and `name` agrees at one end.

    The `other` name must be rare enough for the pair to be linked even with a different postcode. Pairs within one
    district are found by `_in_one_district`.
    """
    levels = {"date_of_birth": "same", "sex": "same", "postcode": "different", name: "starts the same"}
    rare = _least_band(other, _missing_bits(children, levels))
    also = f"l.{other}_band >= {rare} OR NOT (l.has_postcode AND r.has_postcode) OR {_more_than_an_end(name)}"
    return Block(_same(f"{other}_dob", f"{name}_{end}_dob"), also)


def _ends_alike(children: int) -> str:
    """Return SQL: comparing pairs that share the date of birth and one end of each name is worthwhile.

    Neither name agrees as a whole. Pairs within one district are found by `_in_one_district`.
    """
    levels = {
        "date_of_birth": "same",
        "surname": "starts or ends the same, another forename and home",
        "forename": "starts the same",
        "sex": "same",
    }
    enough = -math.log2(model.prior(children)) - sum(model.weight(*level) for level in levels.items()) - FREE_BITS
    more = "true" if enough <= 0 else f"({_more_than_an_end('surname')} OR {_more_than_an_end('forename')})"
    return f"{more} AND NOT coalesce({_equal('surname_dob')} OR {_equal('forename_dob')}, false)"


def _in_one_district(name: str, end: str, other: str) -> Block:
    """Return a block of pairs that share the date of birth, the outward postcode and one end of `name`.

    An end of the other name must agree too, unless it is missing or `name` itself agrees more closely.
    """
    similar = " OR ".join(_equal(f"{other}_{form}_dob") for form in ("start", "end", "sound"))
    more = f"{_equal(f'{name}_dob')} OR {_more_than_an_end(name)}"
    also = f"{similar} OR NOT (l.has_{other} AND r.has_{other}) OR {more}"
    return Block(_same("dob_outward", f"{name}_{end}_dob"), also)


def _only_names(children: int) -> Block:
    """Return the block of pairs whose names both agree, and whose dates or postcodes differ if both have one."""
    alone = [
        f"NOT (l.has_dob AND r.has_dob AND l.has_postcode AND r.has_postcode) AND {_rare_pair(children)}"
        f" AND (NOT (l.has_dob AND r.has_dob) OR {_rare_pair(children, date_of_birth='different')})"
        f" AND (NOT (l.has_postcode AND r.has_postcode) OR {_rare_pair(children, postcode='different')})",
        _rare_pair(children, date_of_birth="different", postcode="different"),
    ]
    return Block(_same("names"), " OR ".join(alone))


def _one_name(name: str, other: str, children: int) -> list[Block]:
    """Return blocks of pairs that share one name and the date of birth.

    The name must be rare enough to make up for the other name, which differs or is missing from one record. If the name
    is common, only pairs that live, or may live, in one district are compared, or whose other names share an end or one
    of the forms in `_two_names`.
    """
    rare, alone = (_rare(name, other, children, level) for level in ("different", None))
    date, band, common = f"{name}_dob", f"l.{name}_band", _let_go(name, other, children)
    found = [
        Block(_same(date), of_left=f"NOT l.has_{other} AND {band} >= {min(rare, alone)}"),
        Block(_same(date), of_left=f"{band} >= {min(rare, alone)}", of_right=f"NOT r.has_{other}"),
    ]
    listed = ", ".join(str(each) for each in common if each >= rare)
    if rare <= RAREST_BAND:
        found.append(Block(_same(date), of_left=f"{band} >= {rare} AND {band} NOT IN ({listed or -1})"))
    if listed:
        found += [
            Block(_same(date, "dob_outward"), of_left=f"{band} IN ({listed})"),
            Block(_same(date), of_left=f"{band} IN ({listed}) AND l.t_dob_outward IS NULL"),
            Block(_same(date), of_left=f"{band} IN ({listed})", of_right="r.t_dob_outward IS NULL"),
            *(Block(_same(date, f"{other}_{end}_dob"), of_left=f"{band} IN ({listed})") for end in ("start", "end")),
        ]
    return found


def _same(*tokens: str) -> tuple[tuple[str, str], ...]:
    return tuple((token, token) for token in tokens)


def blocks(children: int) -> list[Block]:
    """Return the blocks other than `ONE_HOME` and `ONE_NUMBER` for services with this many children."""
    both_names = (("surname", "forename"), ("forename", "surname"))
    return [
        _only_names(children),
        *(
            Block(
                _same(f"names_{part}"),
                of_left=f"l.surname_band < {RARE_SURNAME} OR {_rare_pair(children, date_of_birth=level)}",
            )
            for part, level in (("day", "same day of the month"), ("month", "same month"))
        ),
        Block(_same("names_outward")),
        _in_one_district("surname", "start", "forename"),
        _in_one_district("forename", "start", "surname"),
        _in_one_district("forename", "end", "surname"),
        *(_an_end_of(name, end, other, children) for name, other in both_names for end in ("start", "end")),
        *(Block(_same(f"surname_{a}_dob", f"forename_{b}_dob"), _ends_alike(children)) for a, b in _ENDS_OF_NAMES),
        *(block for name, other in both_names for block in _one_name(name, other, children)),
        *_at_one_postcode(),
        *_same_names(),
        *(Block(((f"{a}_dob", f"{b}_dob"), (f"{c}_dob", f"{d}_dob"))) for (a, b), (c, d) in _two_names()),
    ]


def _same_names() -> list[Block]:
    """Return blocks of pairs that share the date of birth and both names, or names that sound the same.

    Identical surnames sound the same, so they need a block only if they have no sound, as names outside the Latin
    alphabet.
    """
    forenames = ("forename_dob", "forename_sound_dob")
    return [
        *(Block(_same("surname_sound_dob", forename)) for forename in forenames),
        *(Block(_same("surname_dob", forename), of_left="l.t_surname_sound_dob IS NULL") for forename in forenames),
    ]


def _at_one_postcode() -> list[Block]:
    """Return blocks of pairs that share the postcode and a name, or the ends of both names."""
    ends = (*_ENDS_OF_NAMES, ("end", "end"))
    exchanged = (("surname", "forename"), ("forename_start", "surname_start"))
    return [
        Block(_same("surname_postcode")),
        Block(_same("forename_postcode")),
        Block(tuple((f"{a}_postcode", f"{b}_postcode") for a, b in exchanged)),
        Block(tuple((f"{b}_postcode", f"{a}_postcode") for a, b in exchanged)),
        *(Block(_same(f"surname_{a}_postcode", f"forename_{b}_postcode")) for a, b in ends),
    ]


def _two_names() -> list[tuple[tuple[str, str], tuple[str, str]]]:
    """Return other forms of the two names, each as (left, right), that are enough together with the date of birth."""
    sides = []
    for part in ("surname_first", "surname_last"):
        sides += [((part, "surname"), ("forename",) * 2), (("surname", part), ("forename",) * 2)]
    for part in ("forename_first", "forename_last"):
        sides += [(("surname",) * 2, (part, "forename")), (("surname",) * 2, ("forename", part))]
    for form in ("forename", "forename_written"):
        sides.append((("surname", form), (form, "surname")))
    for form in ("sound", "start"):
        sides.append((("surname", "forename"), (f"forename_{form}", f"surname_{form}")))
        sides.append(((f"surname_{form}", f"forename_{form}"), ("forename", "surname")))
    return sides
