"""The major ethnic groups that figures are published by, and which of them each DfE main code belongs to."""

ASIAN, BLACK, MIXED, WHITE, OTHER = MAJOR_GROUPS = (
    "Asian / Asian British",
    "Black / African / Caribbean / Black British",
    "Mixed / Multiple ethnic groups",
    "White",
    "Other ethnic group",
)
"""The groups of the 2021 census, in which Chinese is Asian."""

_CODES = {
    WHITE: ("WBRI", "WIRI", "WIRT", "WROM", "WOTH"),
    MIXED: ("MWBC", "MWBA", "MWAS", "MOTH"),
    ASIAN: ("AIND", "APKN", "ABAN", "CHNE", "AOTH"),
    BLACK: ("BCRB", "BAFR", "BOTH"),
    OTHER: ("OOTH",),
}
MAJOR_GROUP = {code: group for group, codes in _CODES.items() for code in codes}
"""By main code; `REFU` and `NOBT`, which say nothing, are left out."""
