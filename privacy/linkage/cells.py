"""Names of the cells that children linked to both services fall into, by how well their records agree (`agreement`).

It holds names only, because the noise plan and the noisy counts of a release use them too.
"""

from dataclasses import dataclass

COMPARED = ("date_of_birth", "postcode", "surname", "forename")
"""Fields used to compare records. Sex weighs too little to lose a link."""
NAMES = "names"
FIELDS = (*COMPARED, NAMES)
"""Fields that can differ alone. Both names count as one, because a record's two names differ together far more often
than by coincidence: they are swapped, the child uses other names, or one service transliterates them differently."""
PAIRS = ("pupil and health visitor", "pupil and setting", "setting and health visitor")
DIFFERS = {
    "the pupil's record": (True, True, False),
    "the health visitor's record": (True, False, True),
    "the setting's record": (False, True, True),
    "every record": (True, True, True),
}
"""For each record that can differ from the others, the `PAIRS` in which the difference shows."""
SIZES = {
    "date_of_birth": ("near", "far"),
    "postcode": ("",),
    "surname": ("near", "far"),
    "forename": ("near", "far"),
    NAMES: ("near", "middle", "far"),
}
LEAST_WEIGHT, WEIGHT_STEP, WEIGHTS = 12, 2, 11
"""Weight in bits, without NHS numbers, of pairs in which everything agrees: the least weight, the width of a step
and the number of steps. Lighter and heavier pairs fall into the first and last step."""
REVIEW = "review"
"""The family name of a clerical review of links (`review`) in the ledger, the store and the noisy counts."""


@dataclass(frozen=True)
class Differs:
    """A cell of children whose records differ in one field only, or in both names."""

    field: str
    record: str
    size: str

    def __str__(self) -> str:
        nearly = f" ({self.size})" if self.size else ""
        return f"{self.field.replace('_', ' ')} of {self.record} differs{nearly}"


# A child that fits no other entry counts as the first of the list (index 0), here and in `JOINS`.
NOT_BOTH, SEVERAL = "not linked to both services", "more than one thing differs"
ALL_AGREE = tuple(
    f"everything agrees, {low} to {low + WEIGHT_STEP} bits"
    for low in range(LEAST_WEIGHT, LEAST_WEIGHT + WEIGHT_STEP * WEIGHTS, WEIGHT_STEP)
)
ONE_DIFFERS = tuple(Differs(field, record, size) for field in FIELDS for record in DIFFERS for size in SIZES[field])
NOT_LINKED = (
    "linked to neither service, and no record is near",
    "linked to a setting, and no review is near",
    "linked to a review, and no setting's record is near",
)
"""Pupils not linked to a service, without a record that is near: a record of that service without a pupil, which is
alike, but not enough to be linked."""
NEAR = (
    "linked to neither service, and records of both are near",
    "linked to a setting, and a review is near",
    "linked to a review, and a setting's record is near",
    "linked to neither service, and a review is near",
    "linked to neither service, and a setting's record is near",
)
"""The others, in the order of `missed.RATES`."""
NEAR_BY_CHANCE = (
    "linked to both services, and further records of both are near",
    "linked to both services, and a further review is near",
    "linked to both services, and a further setting's record is near",
)
"""Pupils linked to both services for whom a record without a pupil is near: how often that happens by chance."""
CELLS = (NOT_BOTH, SEVERAL, *ALL_AGREE, *map(str, ONE_DIFFERS), *NOT_LINKED, *NEAR, *NEAR_BY_CHANCE)
"""Every cell, in the order used by `Agreement.count_children`."""

AGREE = "everything agrees"
_SORT_OF = {
    "date_of_birth": "the date of birth alone",
    "postcode": "the postcode alone",
    "surname": "one name alone",
    "forename": "one name alone",
    NAMES: "both names",
}
SORTS = tuple(dict.fromkeys(_SORT_OF.values()))
"""Kinds of difference, in coarser groups. Moves, typing errors in dates and names, and names written differently
vary independently of each other."""
ONE_SORT = tuple(f"{what} of {record} differs" for what in SORTS for record in DIFFERS)
KINDS = (NOT_BOTH, SEVERAL, AGREE, *ONE_SORT)
"""Groups of cells, few enough to be measured by council or by ethnic group."""
KIND_OF = (
    NOT_BOTH,
    SEVERAL,
    *(AGREE for _ in ALL_AGREE),
    *(f"{_SORT_OF[each.field]} of {each.record} differs" for each in ONE_DIFFERS),
    *(NOT_BOTH for _ in (*NOT_LINKED, *NEAR, *NEAR_BY_CHANCE)),
)
"""The kind of each of `CELLS`, in their order."""

NOT_JOINED, ONE_UPN_SAME, ONE_UPN_DIFFERS, WITHOUT_UPN = JOINS = (
    "no school census row found",
    "one UPN, and both records say the same",
    "one UPN, and the records differ",
    "joined without a permanent UPN in common",
)
"""How a child's Profile was joined to its school census row, in the order used by `Agreement.count_children`."""

ALIKE, UNLIKE = "linked without it too", "linked by it alone"
NUMBERED_BY = (
    "the pupil and the review",
    "the pupil and the setting's record",
    "the pupil and the records of both services",
    "the setting's record and the review",
)
NUMBERED = (
    "no NHS number in common",
    *(f"NHS number of {records}, {linked}" for records in NUMBERED_BY for linked in (ALIKE, UNLIKE)),
)
"""Which records of a child share an NHS number, and whether each record of a service that shares the pupil's would be
linked to the child without it, or the review that shares a setting's. In the order of `Agreement.count_children`."""
