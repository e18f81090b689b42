"""One contract a source: its columns, codes and rules. Everything else about a source is derived from its contract.

What a column is called, which values it takes, whether it identifies a child and what is checked stands here and
nowhere else; the readers, the generator, the quality suites and the documents all read it from here.
"""

from sources.contracts import early_years_census, eyfsp, hv_reviews, parent_experience, school_census
from sources.contracts.model import Column, Due, Kind, Role, Rule, Severity, SourceContract

CONTRACTS: dict[str, SourceContract] = {
    module.CONTRACT.name: module.CONTRACT
    for module in (eyfsp, school_census, early_years_census, hv_reviews, parent_experience)
}

__all__ = ["CONTRACTS", "Column", "Due", "Kind", "Role", "Rule", "Severity", "SourceContract"]
