"""Attributes and filters shared by several families, and all measures, which are read from `measures.csv`.

The wording is that of the Department for Education's tables.
"""

import csv
from pathlib import Path

from ndl_export.tables.model import UNKNOWN, Attribute, Filter, Measure, MeasureKind

SEX = Attribute("sex", "Sex", ("Female", "Male", UNKNOWN))
FSM = Attribute(
    "fsm",
    "Free school meal eligibility",
    ("Eligible for free school meals", "Not eligible for free school meals", UNKNOWN),
)
IMD = Attribute(
    "imd_quintile",
    "IMD quintile",
    ("Quintile 1 (most deprived)", "Quintile 2", "Quintile 3", "Quintile 4", "Quintile 5 (least deprived)", UNKNOWN),
)

SEX_FILTER = Filter("sex", "Sex", "Sex as recorded by the school or service")
FSM_FILTER = Filter("fsm_eligibility", "Free school meal eligibility", "From the spring school census, by UPN")
TOPIC_FILTER = Filter("breakdown_topic", "Breakdown topic", "The characteristic that the row breaks down by")
BREAKDOWN_FILTER = Filter("breakdown", "Breakdown", "The level of the breakdown topic")


with (Path(__file__).parent / "measures.csv").open(encoding="utf-8", newline="") as _lines:
    MEASURES = {
        row["name"]: Measure(
            row["name"],
            row["label"],
            MeasureKind[row["kind"].upper()],
            row["description"],
            int(row["decimals"]),
            row["of"],
            row["modelled"] == "yes",
            row["as_linked"] == "yes",
        )
        for row in csv.DictReader(_lines)
    }
"""All measures, by name."""
