"""Made-up child tables of the family `pupil`, in the published sizes, with a known truth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from assets.release.expected_accuracy import council_size, public_shares
from ndl_export.tables.pupil import CONCERN_GIVEN_SEEN, DOTS, FAMILY, NO_REVIEW, NOT_LINKED_TO_SETTING, dots_category

CHARACTERISTICS = ("fsm", "ethnic_group", "sen_provision", "first_language", "term_of_birth", "imd_quintile")
_NO_REVIEW = {dots_category(seen, c) for seen in ("Setting only", "Neither") for c in CONCERN_GIVEN_SEEN[seen]}
_NO_SETTING = {dots_category(seen, c) for seen in ("Health visitor only", "Neither") for c in CONCERN_GIVEN_SEEN[seen]}


def child_table(councils: Sequence[str], seed: int, interaction: float = 0.0, special: float = 0.0) -> pa.Table:
    """A child for each published one. Chances of a good level of development are additive over council and
    characteristics; `interaction` is the standard deviation, in shares, of what a group does besides in one council,
    and `special` is taken off one ethnic group in one council, the second in the order of both."""
    rng = np.random.default_rng(seed)
    council = np.repeat(np.arange(len(councils)), [round(council_size(name)) for name in councils])
    rows = len(council)
    codes = {"council": council}
    chance = 0.68 + rng.normal(0, 0.03, len(councils))[council]
    for attribute in FAMILY.attributes:
        shares = np.array(list(public_shares(attribute.label, attribute.categories).values()))
        codes[attribute.name] = rng.choice(len(shares), rows, p=shares / shares.sum())
        if attribute.name in CHARACTERISTICS:
            chance += _effects(rng, len(councils), shares, interaction)[council, codes[attribute.name]]
    chance -= special * ((council == 1) & (codes["ethnic_group"] == 1))
    codes["gld"] = (rng.random(rows) >= np.clip(chance, 0.02, 0.98)).astype(int)
    dots = np.array(DOTS.categories)[codes["dots"]]
    _overrule(codes, "asq3", NO_REVIEW, np.isin(dots, list(_NO_REVIEW)))
    _overrule(codes, "entitlement", NOT_LINKED_TO_SETTING, np.isin(dots, list(_NO_SETTING)))
    domains = {"council": tuple(councils)} | {a.name: a.categories for a in FAMILY.attributes}
    columns = {n: pa.DictionaryArray.from_arrays(pa.array(values), list(domains[n])) for n, values in codes.items()}
    return pa.table({"child_id": pa.array(range(rows), pa.int64()), **columns})


def _effects(rng: np.random.Generator, councils: int, shares: np.ndarray, interaction: float) -> np.ndarray:
    """(councils, categories): of the category everywhere, and of it in each council."""
    general = rng.normal(0, 0.06, len(shares))
    return general - shares @ general / shares.sum() + rng.normal(0, interaction, (councils, len(shares)))


def _overrule(codes: dict[str, np.ndarray], name: str, category: str, where: np.ndarray) -> None:
    """The category holds exactly `where`; another is the first in its place."""
    position = FAMILY.attribute(name).categories.index(category)
    codes[name] = np.where(where, position, np.where(codes[name] == position, 0, codes[name]))
