"""Take a sender's tokens file in: check what it says, look at every row, and give its tokens the second keying.

The rows that come out are those that the pipeline's own pass over the identifiable file would have written, to the bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.intake.findings import Finding
from assets.intake.one_pass import QUARANTINE, TERMS, RuleCount, Staged, TableWriter
from assets.intake.tokens_file import QUINTILE, TERM, Manifest, has_quintile, token_rows
from privacy import pseudonyms
from privacy.keys import SENDER_KEYS, KeyRing
from privacy.pseudonyms import TokenKeys
from sources.contracts import SourceContract
from sources.errors import ExtractStopped
from sources.extract.landed import Landed
from sources.extract.table import SOURCE_ROW

_QUINTILES = (1, 2, 3, 4, 5)
_MAKE_AGAIN = "the sender must pseudonymise the extract again"


def stop_if_foreign(landed: Landed, manifest: Manifest, keys: KeyRing, contract: SourceContract) -> None:
    """Raise `ExtractStopped` where a tokens file is of another place or made under something else than here."""
    own = pseudonyms.manifest(keys)
    tool = f"{_MAKE_AGAIN} with a tool of this version"
    for what in ("council", "source", "cohort"):
        theirs, ours = getattr(manifest, what), getattr(landed, what)
        if theirs != ours:
            raise ExtractStopped(f"{landed.name}: made for {what} {theirs[:40]}, it lies under {ours}; move it there")
    compared = [
        ("pseudonyms of version", manifest.pseudonym_version, own["pseudonym_version"], tool),
        ("a normaliser of version", manifest.normaliser_version, own["normaliser_version"], tool),
        ("a contract of hash", manifest.contract_sha256, contract.sha256, tool),
        *(
            (
                f"a {name} key of fingerprint",
                manifest.key_fingerprints.get(name, "none"),
                own[f"{name}_key_fingerprint"],
                f"{_MAKE_AGAIN} with the keys of this pipeline (`readiness keys show` shows fingerprints)",
            )
            for name in SENDER_KEYS
        ),
    ]
    for what, theirs, ours, remedy in compared:
        if theirs != ours:
            raise ExtractStopped(
                f"{landed.name}: made with {what} {theirs[:16]}, the pipeline holds {ours[:16]}; {remedy}"
            )


def rekey(
    keys: TokenKeys,
    landed: Landed,
    manifest: Manifest,
    contract: SourceContract,
    folder: Path,
    metadata: Mapping[str, str],
) -> Staged:
    """Write a tokens file's rows under the second keying to `folder`, as `one_pass` would.

    The quarantine holds the rows that the manifest gives as examples: the sender keeps the whole of it. Raises
    `ExtractStopped` for rows that no sound pass writes.
    """
    kept, quarantine = folder / "kept.parquet", folder / "quarantine.parquet"
    noted, last = _Noted(manifest.rules), 0
    with TableWriter(kept, {**metadata, "source": contract.name}) as rows, TableWriter(quarantine) as examples:
        for chunk in token_rows(landed, contract):
            last = _checked_rows(landed, chunk, manifest, last)
            rows.write(_second_keying(chunk, landed.council, keys))
            noted.see(chunk)
        examples.write(noted.examples())
    if rows.rows != manifest.rows_kept:
        raise ExtractStopped(f"{landed.name}: the file has not as many rows as its manifest says; send it again")
    limits = {rule.id: rule.stop_share for rule in contract.rules if rule.stop_share is not None}
    return Staged(kept, quarantine, manifest.headings, manifest.rows_read, rows.rows, manifest.rules, limits)


def postcode_findings(
    manifest: Manifest, contract: SourceContract, directory_sha256: str | None
) -> tuple[Finding, ...]:
    """A warning where the deprivation quintiles are not what the pipeline's own directory would give."""
    if not has_quintile(contract) or manifest.postcode_directory_sha256 == directory_sha256:
        return ()
    sentence = (
        "The sender looked deprivation quintiles up in another postcode directory than the pipeline's."
        if manifest.postcode_directory_sha256
        else "The sender had no postcode directory: every deprivation quintile is missing."
    )
    rule = "another-postcode-directory"
    return (Finding(rule, "manifest", QUINTILE, "warning", passed=False, unexpected_rows=None, sentence=sentence),)


def _second_keying(chunk: pa.Table, council: str, keys: TokenKeys) -> pa.Table:
    tokens = [name for name in chunk.column_names if name in pseudonyms.TOKEN_COLUMNS]
    plain = chunk.drop_columns(tokens).add_column(0, "council", pa.repeat(council, len(chunk)))
    rekeyed = pseudonyms.rekey(chunk.select(tokens), tokens, keys)
    return pa.table([*plain.columns, *rekeyed.columns], names=[*plain.column_names, *tokens])


def _checked_rows(landed: Landed, chunk: pa.Table, manifest: Manifest, last: int) -> int:
    """The last row number of `chunk`, which must go on from `last`; raises `ExtractStopped` for impossible rows."""
    numbers = chunk[SOURCE_ROW]
    if numbers.null_count or (np.diff(numbers.to_numpy(), prepend=last) <= 0).any():
        raise ExtractStopped(f"{landed.name}: {SOURCE_ROW} must rise from row to row; {_MAKE_AGAIN}")
    for name, known in ((TERM, TERMS), (QUINTILE, _QUINTILES)):
        if name in chunk.column_names and not _all_in(chunk[name], known):
            raise ExtractStopped(f"{landed.name}: {name} holds values that it cannot have; {_MAKE_AGAIN}")
    for name in chunk.column_names:
        if pa.types.is_floating(chunk[name].type) and not _all(pc.is_finite(chunk[name])):
            raise ExtractStopped(f"{landed.name}: {name} holds what is not a number; {_MAKE_AGAIN}")
    last = numbers[-1].as_py() if len(numbers) else last
    if last > manifest.rows_read:
        raise ExtractStopped(f"{landed.name}: {SOURCE_ROW} is past the rows that the manifest speaks of; {_MAKE_AGAIN}")
    return last


def _all_in(values: pa.ChunkedArray, known: tuple[object, ...]) -> bool:
    return _all(pc.is_in(values.drop_null(), value_set=pa.array(known, values.type)))


def _all(found: pa.ChunkedArray) -> bool:
    return bool(pc.all(found, min_count=0).as_py())


class _Noted:
    """The rows that a manifest names under its rules, with whether each was kept."""

    def __init__(self, rules: tuple[RuleCount, ...]) -> None:
        self._rules = rules
        self._named = pa.array(sorted({row for rule in rules for row in rule.first_rows}), pa.int64())
        self._kept: set[int] = set()

    def see(self, chunk: pa.Table) -> None:
        numbers = chunk[SOURCE_ROW]
        self._kept.update(numbers.filter(pc.is_in(numbers, value_set=self._named)).to_pylist())

    def examples(self) -> pa.Table:
        """Lines of a quarantine, in its schema."""
        lines = [
            (row, rule.rule, ", ".join(rule.columns), rule.severity, row in self._kept)
            for rule in self._rules
            for row in rule.first_rows
        ]
        columns = zip(*lines, strict=True) if lines else [()] * len(QUARANTINE)
        return pa.table([pa.array(c, f.type) for c, f in zip(columns, QUARANTINE, strict=True)], schema=QUARANTINE)
