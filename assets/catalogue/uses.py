"""Documentation of what every column is used for and how long it is kept: `python -m assets.catalogue.uses`."""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import jinja2

from assets.home.retention_policy import get_retention
from ndl_export.tables import FAMILIES, TABLES
from privacy.returns.agreement import Fact
from sources.contracts import CONTRACTS, Role, SourceContract

_FACTS = {
    Fact.KNOWN_TO: "that another service knows the child",
    Fact.LAST_CONTACT: "month of the latest linked record",
    Fact.CONCERN: "that a concern was recorded",
    Fact.NO_OTHER: "that no other service knows the child",
    Fact.REVIEW: "that no health-visiting team has recorded a due review",
}


def render() -> str:
    """Render the page as Markdown."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True)
    template = environment.from_string(Path(__file__).with_name("uses.md.j2").read_text(encoding="utf-8"))
    return template.render(
        contracts=CONTRACTS.values(),
        roles=Role,
        uses=_iter_uses,
        published={name: [table.name for table in TABLES.values() if table.family == name] for name in FAMILIES},
        facts=_FACTS,
        derived=list(dict.fromkeys(each.name for contract in CONTRACTS.values() for each in contract.derived)),
        retention=get_retention(),
    )


def _iter_uses(contract: SourceContract) -> Iterator[tuple[str, str]]:
    """Yield the names of consecutive kept columns with the same purposes, and these purposes in words."""
    kept = [column.name for column in contract.with_role(Role.PAYLOAD)]
    described = [(name, "; ".join(_describe(name, contract.purposes[name]))) for name in kept]
    for words, columns in groupby(described, key=lambda each: each[1]):
        yield ", ".join(f"`{name}`" for name, _ in columns), words


def _describe(column: str, purposes: tuple[str, ...]) -> Iterator[str]:
    """Yield each kind of use of a column, with what it is used in; the column's own name is not repeated."""
    for kind, of_kind in groupby(sorted(purposes, key=_get_kind), key=_get_kind):
        parts = [purpose.partition(".")[2] for purpose in of_kind]
        if kind in FAMILIES:
            yield f"tables of `{kind}`: " + ", ".join(
                "by itself" if name == column else FAMILIES[kind].get_attribute(name).label for name in parts
            )
        elif kind == "returns":
            yield "returns: " + ", ".join(_FACTS[Fact(name)] for name in parts)
        else:
            yield kind


def _get_kind(purpose: str) -> str:
    return purpose.partition(".")[0]


if __name__ == "__main__":
    print(render(), end="")
