"""Builds asset descriptions for the catalogue: columns, column lineage and links to documentation.

Columns are public: names and descriptions from contracts and published domains. `check_metadata` is the gate for
metadata: only the keys in `ALLOWED` pass, and none of them counts rows of linked children or holds a value of a row.
`python -m assets.catalogue.descriptions` prints docs/uses.md.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import dagster as dg
import jinja2

from assets.home.errors import Refused
from assets.home.retention_policy import get_retention
from ndl_export.tables import FAMILIES, TABLES
from privacy.pseudonyms import list_token_columns
from privacy.row_keys import ROW_KEY
from privacy.services import Fact
from sources.contracts import CONTRACTS, Kind, Role, SourceContract
from sources.contracts.people import IMD_QUINTILE

COLUMN_SCHEMA, COLUMN_LINEAGE, DOCUMENTS = "dagster/column_schema", "dagster/column_lineage", "documentation"
ALLOWED = (
    COLUMN_SCHEMA,
    COLUMN_LINEAGE,
    DOCUMENTS,
    *("rows_read", "rows_rejected", "file_mac", "contract"),  # about one landed file, and known to its sender
    *("cohort", "missing", "not_taken", "not_read"),  # names of councils and sources
    *("share_rejected", "share_warned", "rows_of_expected", "rows_of_last", "least_filled"),  # shares, rounded
    *("expected_rows", "rules", "rules_broken"),  # published or set by the operator; counts of rules
    *("report", "dagster/row_count"),  # a path; the row count is of published tables only
    *("rows_outside_their_domain", "units_twice", "problems"),  # from checks, which must find 0
    *("release", "path", "waits"),
    *(r"rho( of \d{6})?", r"plan_sha256( of \d{6})?"),
)
"""Patterns of the allowed metadata keys."""

_TEXT = "string"
_COLUMNS_NAMED = 4


def check_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata. Raises `Refused` if a key is not allowed."""
    for key in metadata:
        if not any(re.fullmatch(pattern, key) for pattern in ALLOWED):
            raise Refused(f"metadata may not have the key {key!r}; the list is in assets/catalogue/descriptions.py")
    return dict(metadata)


def copy_lineage(of_definition: Mapping[str, Any]) -> dict[str, Any]:
    """Return column lineage for a run's metadata: the same as in the asset's definition."""
    return {COLUMN_LINEAGE: of_definition[COLUMN_LINEAGE]}


_Column = tuple[str, str, str, Sequence[dg.TableColumnDep]]
"""Name, type, description and input columns of a column."""


def _describe_columns(columns: Iterable[_Column], *to_read: str) -> dict[str, Any]:
    """Return metadata of columns and lineage. Descriptions repeat the lineage, which Dagster itself does not draw."""
    listed = list(columns)
    schema = [
        dg.TableColumn(name, kind, description=". ".join(filter(None, (text, _format_inputs(made_of)))))
        for name, kind, text, made_of in listed
    ]
    lineage_of = {name: made_of for name, _, _, made_of in listed if made_of}
    return {
        COLUMN_SCHEMA: dg.TableSchema(schema),
        COLUMN_LINEAGE: dg.TableColumnLineage(lineage_of),
        **name_documents(*to_read),
    }


def _format_inputs(made_of: Sequence[dg.TableColumnDep]) -> str:
    """Return text such as `From landing/eyfsp: sex`, with at most `_COLUMNS_NAMED` columns of each asset."""
    by_asset: dict[str, list[str]] = {}
    for dep in made_of:
        by_asset.setdefault(dep.asset_key.to_user_string(), []).append(dep.column_name)
    named = []
    for name, columns in by_asset.items():
        more = f" and {len(columns) - _COLUMNS_NAMED} more" if len(columns) > _COLUMNS_NAMED else ""
        named.append(f"{name}: {', '.join(columns[:_COLUMNS_NAMED])}{more}")
    return f"From {'; '.join(named)}" if named else ""


def describe_landed(contract: SourceContract) -> dict[str, Any]:
    """Return metadata for a landed extract."""
    columns = [dg.TableColumn(c.name, c.kind.value, description=c.description) for c in contract.columns]
    return {COLUMN_SCHEMA: dg.TableSchema(columns), **name_documents("docs/sources.md", "docs/formats.md")}


def describe_pseudonymised(contract: SourceContract, landing: dg.AssetKey, directory: dg.AssetKey) -> dict[str, Any]:
    """Return metadata for a pseudonymised extract."""
    tokens = list_token_columns({c.name for c in contract.select_role(Role.IDENTIFIER)})
    columns: list[_Column] = [
        ("council", _TEXT, "Who sent the row", ()),
        (ROW_KEY, "ubigint", "Key of the row, which says nothing about its place in the extract", ()),
    ]
    for column in contract.select_role(Role.PAYLOAD):
        month = ", as the first of its month" if column.kind is Kind.DATE else ""
        columns.append(
            (column.name, column.kind.value, f"{column.description}{month}", [dg.TableColumnDep(landing, column.name)])
        )
    for derived in contract.derived:
        read = [dg.TableColumnDep(landing, name) for name in derived.made_of]
        read += [dg.TableColumnDep(directory, "imd_decile")] if derived == IMD_QUINTILE else []
        columns.append((derived.name, derived.kind.value, derived.description, read))
    for token in tokens:
        made_of = [dg.TableColumnDep(landing, name) for name in token.inputs]
        text = f"In a separate file, encrypted for the linkage: token, keyed twice, of {', '.join(token.inputs)}"
        columns.append((token.name, "ubigint", text, made_of))
    return _describe_columns(columns, "docs/architecture.md", "docs/linkage.md")


def describe_links(extracts: Iterable[dg.AssetKey]) -> dict[str, Any]:
    """Return metadata for the table of links."""
    keys = list(extracts)
    tokens = [
        dg.TableColumnDep(key, token.name)
        for key in keys
        for token in list_token_columns({c.name for c in CONTRACTS[key.path[-1]].select_role(Role.IDENTIFIER)})
    ]
    child = "Random; the same for all rows of a child, kept when the cohort is linked again"
    columns: list[_Column] = [
        ("source", _TEXT, "Source of the row", ()),
        ("council", _TEXT, "Who sent the row", [dg.TableColumnDep(key, "council") for key in keys]),
        (ROW_KEY, "ubigint", "Key of the row in its extract", [dg.TableColumnDep(key, ROW_KEY) for key in keys]),
        ("child_id", _TEXT, child, tokens),
        ("match_rule", _TEXT, "How the row was assigned: own number, twin rows, probabilistic or none", tokens),
        ("match_probability", "double", "Of the link, where it is probabilistic", tokens),
    ]
    return _describe_columns(columns, "docs/linkage.md", "docs/linkage-parameters.md")


def describe_confidential(
    family: str, made_of: Mapping[str, Mapping[str, Sequence[str]]], extracts: Mapping[str, dg.AssetKey]
) -> dict[str, Any]:
    """Return metadata of a confidential table, from input columns by attribute and source, and asset keys by source."""
    columns: list[_Column] = [
        (
            a.name,
            _TEXT,
            f"{a.label}: {'; '.join(a.categories)}",
            [dg.TableColumnDep(extracts[source], name) for source, names in made_of[a.name].items() for name in names],
        )
        for a in FAMILIES[family].attributes
    ]
    return _describe_columns(columns, "docs/architecture.md", "docs/privacy.md")


def name_documents(*names: str, and_more: str = "") -> dict[str, Any]:
    """Return metadata that names documents to read."""
    text = "Further reading: " + ", ".join(f"`{name}`" for name in names)
    return {DOCUMENTS: dg.MetadataValue.md(f"{text}{and_more}")}


_FACTS = {
    Fact.KNOWN_TO: "that another service knows the child",
    Fact.LAST_CONTACT: "month of the latest linked record",
    Fact.CONCERN: "that a concern was recorded",
    Fact.CONCERN_MONTH: "month of the latest concern",
    Fact.NO_OTHER: "that no other service knows the child",
    Fact.REVIEW: "that no health-visiting team has recorded a due review",
}


def render_uses_page() -> str:
    """Render docs/uses.md: what every column is used for, and how long it is kept."""
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
    kept = [column.name for column in contract.select_role(Role.PAYLOAD)]
    described = [(name, "; ".join(_iter_purposes(name, contract.purposes[name]))) for name in kept]
    for words, columns in groupby(described, key=lambda each: each[1]):
        yield ", ".join(f"`{name}`" for name, _ in columns), words


def _iter_purposes(column: str, purposes: tuple[str, ...]) -> Iterator[str]:
    """Yield a phrase for each kind of use of a column. An attribute of the same name is called `by itself`."""
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
    print(render_uses_page(), end="")
