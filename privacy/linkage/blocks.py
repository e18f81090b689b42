"""Blocking: which pairs of records between services are compared.

A pair is looked at when it shares date of birth and postcode, or the date of birth and two names (alike in some form),
or the postcode and a name or the beginnings or ends of two, or the date of birth, the outward part of the postcode and
the beginning or end of a name, or both names and the outward part, or an NHS number; and where the names are rare
enough for services of that size: the date of birth and one name, or both names, with or without the day or month of
birth. Any other pair could not reach the threshold.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from privacy.linkage import model
from privacy.normalise import RAREST_BAND
from privacy.pseudonyms import RARE_SURNAME

_ENDS_OF_NAMES = (("start", "start"), ("start", "end"), ("end", "start"))
"""Ends of the surname and of the forename that must both agree, where more than the date of birth does."""

FREE_BITS: float = model.parameters()["free_bits"]
"""How much likelier (log2) two records that have no other partner are one child than any two records. Where two
services each see a share s of the children in the other, s / (1 - s) ** 2 times: 20 times, or 4.3 bits, at s = 0.8. The
rest is caution: many people share an address or a surname, so agreement says less than the model has it, and a false
link does more harm than a missed one. The same in every cohort."""
LEAST_BITS = -8.0
"""Pairs lighter than this are let go: they are links under no threshold, and weigh next to nothing as rivals."""
LARGE_SERVICE_CHILDREN = 100_000
"""In services of so many children, pairs with one name that need the raised prior are too many to look at."""


@dataclass(frozen=True)
class Block:
    """Pairs whose tokens `equal` (of the left pattern, of the right one) agree and for which `also` holds, SQL over l
    and r; `of_left` and `of_right` are what holds of one of them alone."""

    equal: tuple[tuple[str, str], ...]
    also: str = ""
    of_left: str = ""
    of_right: str = ""

    @property
    def sql(self) -> str:
        """Return the whole condition."""
        agree = [f"l.t_{left} = r.t_{right}" for left, right in self.equal]
        return " AND ".join(
            [*agree, *(f"({condition})" for condition in (self.also, self.of_left, self.of_right) if condition)]
        )


ONE_HOME, ONE_NUMBER = Block((("dob_postcode",) * 2,)), Block((("nhs",) * 2,))


def _rare(name: str, other: str, children: int, level: str | None) -> int:
    """Return the band from which a name, the date of birth and the sex are enough to compare a pair.

    The pair's other name is at this level, or missing.
    """
    others = model.weight(other, level) if level else 0.0
    raised = FREE_BITS if level is None or children < LARGE_SERVICE_CHILDREN else 0
    given = model.weight("date_of_birth", "same") + others + model.weight("sex", "same") + raised
    needed = -math.log2(model.prior(children)) - given
    rare = (band for band, label in model.EXACT[name].items() if model.weight(name, label) >= needed)
    return next(rare, RAREST_BAND + 1)


def _let_go(name: str, other: str, children: int) -> list[int]:
    """Bands of a name so common that a pair which has it and the date of birth in common, lives in two districts and
    has other names that share nothing is let go once it is weighed. With few names about, nearly all pairs are such."""
    levels = {"date_of_birth": "same", "postcode": "different", "sex": "same", other: "different, at another home"}
    given = math.log2(model.prior(children)) + sum(model.weight(*level, children) for level in levels.items())
    return [band for band, label in model.EXACT[name].items() if given + model.weight(name, label) < LEAST_BITS - 0.01]


def _rare_pair(children: int, **levels: str) -> str:
    """Return SQL: two names that agree are so rare that a pair with these levels can be linked."""
    given = sum(model.weight(*level, children) for level in levels.items()) + FREE_BITS
    needed = -math.log2(model.prior(children)) - given
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
    """One name is the same, and the other, `name`, agrees at an end: enough where the first is rare enough for what is
    left, another postcode; the pairs of one district are found by `_in_one_district`."""
    rare = _least_band(
        other, children, date_of_birth="same", sex="same", postcode="different", **{name: "starts the same"}
    )
    also = f"l.{other}_band >= {rare} OR NOT (l.has_postcode AND r.has_postcode) OR {_more_than_an_end(name)}"
    return Block(_same(f"{other}_dob", f"{name}_{end}_dob"), also)


def _least_band(name: str, children: int, **levels: str) -> int:
    """Return the band from which a name that agrees is so rare that a pair with these levels can be linked."""
    given = sum(model.weight(*level, children) for level in levels.items()) + FREE_BITS
    needed = -math.log2(model.prior(children)) - given
    rare = (band for band, label in model.EXACT[name].items() if model.weight(name, label) >= needed)
    return next(rare, RAREST_BAND + 1)


def _ends_alike(children: int) -> str:
    """Condition under which two names that agree at an end, and neither wholly, and the date of birth are enough to
    look at a pair; the pairs of one district are found by `_in_one_district`."""
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
    """The name agrees at an end, the date of birth and the outward part of the postcode do; and so does an end of the
    other name, unless that is missing or this one is more alike."""
    alike = " OR ".join(_equal(f"{other}_{form}_dob") for form in ("start", "end", "sound"))
    more = f"{_equal(f'{name}_dob')} OR {_more_than_an_end(name)}"
    also = f"{alike} OR NOT (l.has_{other} AND r.has_{other}) OR {more}"
    return Block(_same("dob_outward", f"{name}_{end}_dob"), also)


def _only_names(children: int) -> Block:
    """Return the block of pairs whose two names agree, and whose date or postcode differs where both have one."""
    alone = [
        f"NOT (l.has_dob AND r.has_dob AND l.has_postcode AND r.has_postcode) AND {_rare_pair(children)}"
        f" AND (NOT (l.has_dob AND r.has_dob) OR {_rare_pair(children, date_of_birth='different')})"
        f" AND (NOT (l.has_postcode AND r.has_postcode) OR {_rare_pair(children, postcode='different')})",
        _rare_pair(children, date_of_birth="different", postcode="different"),
    ]
    return Block(_same("names"), " OR ".join(alone))


def _one_name(name: str, other: str, children: int) -> list[Block]:
    """One name and the date of birth, where the name is rare enough for what is left: the other name differs, or one
    record lacks it. Under a common name, only those who live in one district, or may, or whose other names share
    something: an end, what `_two_names` asks for."""
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
    """Return the blocks, other than `ONE_HOME` and `ONE_NUMBER`, for services of so many children."""
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
    """The date of birth and both names, or what they sound like: a surname that is the same sounds the same, and only
    one that is not in Latin letters has no sound."""
    forenames = ("forename_dob", "forename_sound_dob")
    return [
        *(Block(_same("surname_sound_dob", forename)) for forename in forenames),
        *(Block(_same("surname_dob", forename), of_left="l.t_surname_sound_dob IS NULL") for forename in forenames),
    ]


def _at_one_postcode() -> list[Block]:
    """Return the blocks of one postcode, and a name or ends of two."""
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
    """Return other forms of the two names, (left, right) of each, that are enough with the date of birth."""
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
