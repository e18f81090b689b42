"""Every kept column is published, returned or used to link and follow records, and its contract says for what."""

import re
from collections import defaultdict
from dataclasses import replace

import pytest

from assets.catalogue.descriptions import render_uses_page
from assets.linkage.children import get_derivations
from assets.pseudonymise.split_writer import LINKED_PAYLOAD
from ndl_export.tables import FAMILIES
from privacy.services import Fact
from sources.contracts import CONTRACTS, RecordAtAge, Role, SourceContract
from sources.contracts.people import DERIVED
from tests.support import PROJECT


def find_uses(contract: SourceContract) -> dict[str, set[str]]:
    """Return the uses of each column as the code has them."""
    found = defaultdict[str, set[str]](set)
    for family in FAMILIES:
        for name, each in get_derivations(family).items():
            for column in each.made_of.get(contract.name, ()):
                found[column].add(f"{family}.{name}")
    for column in LINKED_PAYLOAD:
        found[column] |= {"linkage"} if "surname" in contract else set()
    for column in re.findall(r"\w+", contract.concern or ""):
        found[column].add(f"returns.{Fact.CONCERN}")
    for column in contract.columns:
        if column.name in (contract.concern_month or ""):
            found[column.name].add(f"returns.{Fact.CONCERN_MONTH}")
    for record in contract.expected:
        if isinstance(record, RecordAtAge):
            found[record.kind] |= {"timeline", f"returns.{Fact.REVIEW}"}
            found[record.dated] |= {"timeline", f"returns.{Fact.LAST_CONTACT}", f"returns.{Fact.CONCERN_MONTH}"}
    return found


@pytest.mark.parametrize("source", CONTRACTS)
def test_every_kept_column_says_each_of_its_uses_and_no_other(source: str) -> None:
    contract = CONTRACTS[source]
    kept = {column.name for column in contract.select_role(Role.PAYLOAD)}
    used = find_uses(contract)
    assert set(contract.purposes) == kept
    for name, purposes in contract.purposes.items():
        assert purposes, f"{name} has no use: it must not be kept"
        assert len(set(purposes)) == len(purposes)
        assert set(purposes) == used[name], name


def test_purposes_change_no_file() -> None:
    """A table more or less does not make every council's extract be read again."""
    contract = CONTRACTS["eyfsp"]
    assert replace(contract, purposes={}).sha256 == contract.sha256


def test_the_page_of_uses_is_that_of_the_contracts() -> None:
    page = (PROJECT / "docs" / "uses.md").read_text(encoding="utf-8")
    assert page == render_uses_page(), "make docs"
    columns = {column.name for contract in CONTRACTS.values() for column in contract.columns}
    assert all(f"`{name}`" in page for name in (columns | {each.name for each in DERIVED}))
