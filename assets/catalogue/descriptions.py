"""What the catalogue says of an asset: the columns that it holds, where each comes from, and where to read on.

Columns are public: names and descriptions of contracts and published domains. `checked` is the gate for metadata of
runs: only keys of `ALLOWED` pass, and none of them counts rows of linked children or holds a value of a row.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dagster as dg

from ndl_export.tables import FAMILIES, TABLES
from privacy.pseudonyms import token_columns
from sources.contracts import CONTRACTS, Role, SourceContract

COLUMN_SCHEMA, COLUMN_LINEAGE, DOCUMENTS = "dagster/column_schema", "dagster/column_lineage", "documentation"
ALLOWED = (
    COLUMN_SCHEMA,
    COLUMN_LINEAGE,
    DOCUMENTS,
    *("rows_read", "rows_rejected", "file_mac", "contract"),  # of one landed file, as its sender knows it
    *("cohort", "missing", "not_taken", "not_read"),  # names of councils and sources
    *("release", "path"),
    *(r"rho( of \d{6})?", r"plan_sha256( of \d{6})?"),
)
"""Patterns of the keys that metadata may have."""

_TEXT = "string"
_COLUMNS_NAMED = 4


class NotAllowed(Exception):
    """Metadata with a key that is not on the list."""


def checked(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata of a run, if every key is allowed; raises `NotAllowed`."""
    for key in metadata:
        if not any(re.fullmatch(pattern, key) for pattern in ALLOWED):
            raise NotAllowed(f"metadata may not have the key {key!r}; the list is in assets/catalogue/descriptions.py")
    return dict(metadata)


def lineage(of_definition: Mapping[str, Any]) -> dict[str, Any]:
    """What a run says of the columns: the same as the definition."""
    return checked({COLUMN_LINEAGE: of_definition[COLUMN_LINEAGE]})


def _schema(columns: Iterable[dg.TableColumn], sources_of: Mapping[str, Sequence[dg.TableColumnDep]]) -> dg.TableSchema:
    """The columns, each with what it is made of in words: the open web server draws no lineage of columns."""
    return dg.TableSchema(
        [
            dg.TableColumn(
                c.name, c.type, description=". ".join(filter(None, (c.description, _words(sources_of[c.name]))))
            )
            if c.name in sources_of
            else c
            for c in columns
        ]
    )


def _words(made_of: Sequence[dg.TableColumnDep]) -> str:
    """`From landing/eyfsp: sex`, at most so many columns of each asset."""
    by_asset: dict[str, list[str]] = {}
    for dep in made_of:
        by_asset.setdefault(dep.asset_key.to_user_string(), []).append(dep.column_name)
    return "From " + "; ".join(f"{name}: {_some(columns)}" for name, columns in by_asset.items())


def _some(columns: Sequence[str]) -> str:
    more = f" and {len(columns) - _COLUMNS_NAMED} more" if len(columns) > _COLUMNS_NAMED else ""
    return ", ".join(columns[:_COLUMNS_NAMED]) + more


def landed(contract: SourceContract) -> dict[str, Any]:
    """Of an extract as a council sends it."""
    columns = [dg.TableColumn(c.name, c.kind.value, description=c.description) for c in contract.columns]
    return checked({COLUMN_SCHEMA: dg.TableSchema(columns), DOCUMENTS: _read("docs/sources.md", "docs/formats.md")})


def pseudonymised(contract: SourceContract, landing: dg.AssetKey, directory: dg.AssetKey) -> dict[str, Any]:
    """Of what intake makes of it."""
    payload = contract.with_role(Role.PAYLOAD)
    columns = [
        dg.TableColumn("council", _TEXT, description="Who sent the row"),
        dg.TableColumn("source_row", "integer", description="Number of the row in the extract, from 1"),
        *(dg.TableColumn(c.name, c.kind.value, description=c.description) for c in payload),
    ]
    sources_of = {c.name: [_of(landing, c.name)] for c in payload}
    tokens = token_columns({c.name for c in contract.with_role(Role.IDENTIFIER)})
    if tokens:
        columns += [
            dg.TableColumn("term_of_birth", _TEXT, description="School term of birth; the date is not kept"),
            dg.TableColumn("imd_quintile", "integer", description="Deprivation quintile; the postcode is not kept"),
        ]
        sources_of["term_of_birth"] = [_of(landing, "date_of_birth")]
        sources_of["imd_quintile"] = [_of(landing, "postcode"), _of(directory, "imd_decile")]
    for token in tokens:
        made_of = ", ".join(token.inputs)
        columns.append(dg.TableColumn(token.name, "ubigint", description=f"Token of {made_of}, keyed twice"))
        sources_of[token.name] = [_of(landing, name) for name in token.inputs]
    return checked(
        {
            COLUMN_SCHEMA: _schema(columns, sources_of),
            COLUMN_LINEAGE: dg.TableColumnLineage(sources_of),
            DOCUMENTS: _read("docs/architecture.md", "docs/linkage.md"),
        }
    )


def links(extracts: Iterable[dg.AssetKey]) -> dict[str, Any]:
    """Of the table of links."""
    described = {
        "source": (_TEXT, "Source of the row"),
        "council": (_TEXT, "Who sent the row"),
        "source_row": ("integer", "Number of the row in its extract"),
        "child_id": (_TEXT, "Random; the same for all rows of a child, kept when the cohort is linked again"),
        "match_rule": (_TEXT, "How the row came to its child: own number, twin rows, probabilistic or none"),
        "match_probability": ("double", "Of the link, where it is probabilistic"),
    }
    keys = list(extracts)
    sources_of = {name: [_of(key, name) for key in keys] for name in ("council", "source_row")}
    tokens = [
        _of(key, token.name)
        for key in keys
        for token in token_columns({c.name for c in CONTRACTS[key.path[-1]].with_role(Role.IDENTIFIER)})
    ]
    sources_of |= dict.fromkeys(("child_id", "match_rule", "match_probability"), tokens)
    columns = [dg.TableColumn(name, kind, description=said) for name, (kind, said) in described.items()]
    return checked(
        {
            COLUMN_SCHEMA: _schema(columns, sources_of),
            COLUMN_LINEAGE: dg.TableColumnLineage(sources_of),
            DOCUMENTS: _read("docs/linkage.md", "docs/linkage-parameters.md"),
        }
    )


def confidential(
    family: str, made_of: Mapping[str, Mapping[str, Sequence[str]]], extracts: Mapping[str, dg.AssetKey]
) -> dict[str, Any]:
    """Of a table that noise is added over: by attribute and source the columns it is made of; by source the asset."""
    attributes = FAMILIES[family].attributes
    columns = [dg.TableColumn(a.name, _TEXT, description=f"{a.label}: {'; '.join(a.categories)}") for a in attributes]
    sources_of = {
        name: [_of(extracts[source], column) for source, columns in by_source.items() for column in columns]
        for name, by_source in made_of.items()
    }
    return checked(
        {
            COLUMN_SCHEMA: _schema(columns, sources_of),
            COLUMN_LINEAGE: dg.TableColumnLineage(sources_of),
            DOCUMENTS: _read("docs/architecture.md", "docs/privacy.md"),
        }
    )


def measurement() -> dict[str, Any]:
    """Of noisy counts."""
    return checked({DOCUMENTS: _read("docs/privacy.md", "docs/operations.md")})


def bundle() -> dict[str, Any]:
    """Of the published tables."""
    listed = "\n".join(f"- `{name}`: {table.title}" for name, table in TABLES.items())
    return checked({DOCUMENTS: dg.MetadataValue.md(f"{_read('docs/releases.md').value}\n\n{listed}")})


def analyst_database() -> dict[str, Any]:
    """Of the DuckDB file."""
    return checked({DOCUMENTS: _read("docs/releases.md")})


def _of(key: dg.AssetKey, column: str) -> dg.TableColumnDep:
    return dg.TableColumnDep(key, column)


def _read(*documents: str) -> dg.MarkdownMetadataValue:
    return dg.MetadataValue.md("To read on: " + ", ".join(f"`{name}`" for name in documents))
