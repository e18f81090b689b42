"""Documentation of the contracts for senders of extracts: `python -m sources.document > docs/sources.md`."""

from pathlib import Path

import jinja2

from sources.contracts import CONTRACTS
from sources.contracts.extract_rules import MIN_COMPLETE_SHARE, ROW_COUNT_RULES, ReleaseRule
from sources.errors import FILE_RULES
from sources.reference import code_lists
from sources.reference.cohorts import Cohort


def render() -> str:
    """Render the page as Markdown."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters["percent"] = "{:.0%}".format
    template = environment.from_string(Path(__file__).with_name("sources.md.j2").read_text(encoding="utf-8"))
    return template.render(
        contracts=CONTRACTS.values(),
        people_columns=_list_shared("columns"),
        people_rules=_list_shared("rules"),
        example=Cohort("202425"),
        becomes={"identifier": "token", "payload": "kept", "check": "checked"},
        complete=MIN_COMPLETE_SHARE,
        extract_rules=ROW_COUNT_RULES,
        release_rules=list(ReleaseRule),
        file_rules=FILE_RULES.values(),
        imd=code_lists.IMD_INDEX,
        imd_edition=code_lists.IMD_EDITION,
        imd_source=code_lists.IMD_SOURCE,
    )


def _list_shared(name: str) -> list[object]:
    """Return the columns or rules shared by every source about named children, which the page lists once."""
    people = [contract for contract in CONTRACTS.values() if "surname" in contract]
    first, *others = (list(getattr(contract, name)) for contract in people)
    return [each for each in first if all(each in found for found in others)]


if __name__ == "__main__":
    print(render(), end="")
