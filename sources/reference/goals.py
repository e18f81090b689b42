"""The early learning goals, and which of them make a good level of development."""

# The 17 early learning goals of the EYFS statutory framework in force since September 2021.
GOALS: dict[str, str] = {
    "com_e01": "Listening, attention and understanding",
    "com_e02": "Speaking",
    "pse_e03": "Self-regulation",
    "pse_e04": "Managing self",
    "pse_e05": "Building relationships",
    "phy_e06": "Gross motor skills",
    "phy_e07": "Fine motor skills",
    "lit_e08": "Comprehension",
    "lit_e09": "Word reading",
    "lit_e10": "Writing",
    "mat_e11": "Number",
    "mat_e12": "Numerical patterns",
    "utw_e13": "Past and present",
    "utw_e14": "People, culture and communities",
    "utw_e15": "The natural world",
    "exp_e16": "Creating with materials",
    "exp_e17": "Being imaginative and expressive",
}

GLD_GOALS = tuple(goal for goal in GOALS if int(goal[-2:]) <= 12)
"""A good level of development is "expected" in all of these (DfE, EYFSP methodology)."""

AREAS_OF_LEARNING: dict[str, str] = {
    "com": "Communication and language",
    "pse": "Personal, social and emotional development",
    "phy": "Physical development",
    "lit": "Literacy",
    "mat": "Mathematics",
    "utw": "Understanding the world",
    "exp": "Expressive arts and design",
}
"""The seven areas, by what their goals' column names begin with."""
