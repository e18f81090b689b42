"""Link one cohort's pseudonymised extracts and derive the tables that noise is added over."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from assets.home.errors import check_readable
from assets.home.home_lock import while_in_use, with_cohort_lock
from assets.home.paths import Home
from assets.home.processing_log import Processing, record
from assets.intake import deliveries
from assets.linkage import tokens
from assets.linkage.capacity import check_suffices
from assets.linkage.children import build_confidential_tables
from assets.linkage.inputs import LinkageRecord, extracts_in, extracts_of, named, write_record
from assets.linkage.replaced import note_replaced
from assets.linkage.report import coarse, rates_by_group, render, weighted_figures
from assets.linkage.standing import (
    not_as_linked,
    published_children,
    record_now,
    said_of_links,
    said_of_weights,
    stand_as,
    tables_stand,
)
from assets.linkage.weighed import WeighedPairs
from ndl_export.tables import FAMILIES
from privacy import normalise, pseudonyms
from privacy.doors.files import promote, promote_all
from privacy.keys import LINKED_UNDER, KeyRing
from privacy.linkage.agreement import Agreement
from privacy.linkage.link import LinkResult, Watcher, link
from privacy.linkage.report import Report
from privacy.returns.facts import Doubts
from privacy.row_keys import ROW_KEY
from privacy.services import SERVICES
from sources.contracts import CONTRACTS


class NothingToLink(Exception):
    """No extract of the cohort has been taken in."""


class CannotBeLinked(Exception):
    """Extracts whose tokens were made in different ways; the message names them and what to do."""


@while_in_use
@with_cohort_lock
def link_cohort(home: Home, cohort: str, councils: Sequence[str], keys: KeyRing) -> None:
    """Write links, linkage report and confidential tables of a cohort; child ids of an earlier linkage are kept, and
    pairs that it weighed are not weighed again. Where the links stand, of the same extracts and by the same program,
    nothing is done, and the processing log has no line.

    `keys` open the tokens. Raises `NothingToLink`, `CannotBeLinked`, `NotEnoughMemory`, and what `tokens.readers` does.
    """
    extracts = _readable_extracts(home, cohort, councils)
    if not any(extracts[source] for source in SERVICES):
        raise NothingToLink(f"no linked source of cohort {cohort} has been taken in")
    _check_comparable(home, cohort, {source: extracts[source] for source in SERVICES})
    sent = extracts_in(home, cohort, councils, SERVICES)
    made_from = said_of_links(sent, councils)
    if stand_as(home, cohort, made_from):
        return
    check_suffices(path for source in SERVICES for path in extracts[source])
    record(home, Processing.LINKAGE, cohort=cohort)
    report, doubts, agreement = Report(), Doubts(), Agreement()
    watchers: list[Watcher] = [*report.watchers, doubts, agreement]
    linked = {source: extracts[source] for source in SERVICES}
    result = _linked(home, cohort, councils, keys, linked, _earlier_links(home, cohort), watchers)
    note_replaced(home, cohort, keys, sent)
    with home.staging() as staging:
        _write(result.links.replace_schema_metadata(made_from), staging / "links.parquet")
        _write(agreement.children(result.links), staging / "agreement.parquet")
        with ThreadPoolExecutor(1) as beside:
            found = staging / "links.parquet", staging / "agreement.parquet"
            building = beside.submit(_build_tables, staging, *found, extracts)
            _write(doubts.children(result.links), staging / "doubts.parquet")
            facts, tables = report.facts(result), building.result()
        _write_report(staging, cohort, tables["pupil"], facts)
        home.doubts(cohort).unlink(missing_ok=True)
        page = home.linkage_report(cohort)
        made = {"links.parquet": home.links(cohort), "doubts.parquet": home.doubts(cohort)}
        made["agreement.parquet"] = home.agreement(cohort)
        made |= {f"linkage.{kind}": page.with_suffix(f".{kind}") for kind in ("json", "html")}
        promote_all([(staging / name, place) for name, place in made.items()])
        _promote_tables(home, cohort, councils, tables)


def _linked(
    home: Home,
    cohort: str,
    councils: Sequence[str],
    keys: KeyRing,
    extracts: Mapping[str, Sequence[Path]],
    previous: pa.Table | None,
    watchers: Sequence[Watcher],
) -> LinkResult:
    """Link with what the linkage before kept, and keep what this one weighed."""
    children = published_children(councils)
    with home.staging() as staging:
        kept = staging / "weighed.parquet"
        with WeighedPairs(home, cohort, kept, keys, said_of_weights(children)) as memory:
            read = tokens.readers(home, keys, cohort, extracts)
            result = link(read, previous, watchers, children, memory)
        promote(kept, home.weighed(cohort))
    return result


def _readable_extracts(home: Home, cohort: str, councils: Sequence[str]) -> dict[str, list[Path]]:
    """Pseudonymised extracts by source. Raises `Damaged`."""
    extracts = {source: extracts_of(home, source, cohort, councils) for source in CONTRACTS}
    for path in chain.from_iterable(extracts.values()):
        check_readable(home, path)
    return extracts


def _build_tables(staging: Path, links: Path, agreement: Path, extracts: Mapping[str, list[Path]]) -> dict[str, Path]:
    """The confidential table of every family, in `staging`."""
    staged = {family: staging / f"{family}.parquet" for family in FAMILIES}
    build_confidential_tables(links, agreement, extracts, staged)
    return staged


def _promote_tables(home: Home, cohort: str, councils: Sequence[str], staged: Mapping[str, Path]) -> None:
    """Put confidential tables into their places, and then say of what they are."""
    write_record(home, cohort, LinkageRecord(sorted(councils)))
    promote_all([(path, home.confidential(family, cohort)) for family, path in staged.items()])
    write_record(home, cohort, record_now(home, cohort, councils))


def _earlier_links(home: Home, cohort: str) -> pa.Table | None:
    """The links whose child ids are kept: those of rows that still have the same key. A correction gives every row of
    an extract another, a further part none of those before it.

    Raises `Damaged`.
    """
    links = home.links(cohort)
    if not links.exists():
        return None
    check_readable(home, links)
    if ROW_KEY not in pyarrow.parquet.read_schema(links).names:
        return None
    senders = ["source", "council"]
    return pyarrow.parquet.read_table(
        links, columns=[*senders, ROW_KEY, "child_id"], partitioning=None, read_dictionary=senders
    )


def _write_report(staging: Path, cohort: str, children: Path, facts: dict[str, Any]) -> None:
    """Write `linkage.json` and `linkage.html` into `staging`; `children` is the confidential table of family pupil."""
    report = coarse(
        {"cohort": cohort, **facts, "groups": rates_by_group(children), "weighted": weighted_figures(children)}
    )
    (staging / "linkage.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    (staging / "linkage.html").write_text(render(report), encoding="utf-8")


@while_in_use
@with_cohort_lock
def derive_confidential_tables(home: Home, cohort: str, councils: Sequence[str], keys: KeyRing) -> list[str]:
    """Write the confidential table of every family of a cohort, and then of what extracts they are.

    Where the extracts that are in are not those that were linked, because one came in meanwhile, or they were linked
    with other parameters, the cohort is linked again first; returns the names of such extracts. Tables that are there,
    of the same extracts and links and by the same program, stay as they are. Raises what `link_cohort` does.
    """
    extracts = _readable_extracts(home, cohort, councils)
    came = not_as_linked(home, cohort, councils)
    link_cohort(home, cohort, councils, keys)
    if not tables_stand(home, cohort, councils):
        with home.staging() as staging:
            found = home.links(cohort), home.agreement(cohort)
            _promote_tables(home, cohort, councils, _build_tables(staging, *found, extracts))
    return came


def _check_comparable(home: Home, cohort: str, extracts: Mapping[str, Sequence[Path]]) -> None:
    """Tokens can be compared where keys, pseudonyms and normaliser are the same, and are those that the model knows."""
    own = {"pseudonyms": pseudonyms.PSEUDONYM_VERSION, "normaliser": normalise.NORMALISER_VERSION}
    keys, foreign = "", []
    for source, paths in extracts.items():
        for path in paths:
            quality = deliveries.read(home.quality(source, cohort, path.stem))
            made = quality.made_under if quality else {}
            fingerprints = json.dumps([made.get("keys", {}).get(key) for key in LINKED_UNDER])
            keys = keys or fingerprints
            if fingerprints != keys or any(made.get(what) != version for what, version in own.items()):
                foreign.append(f"{path.stem}/{source}")
    if foreign:
        raise CannotBeLinked(
            f"cohort {cohort}: {named(foreign)}"
            " hold tokens of other keys, pseudonyms or another normaliser than the rest: take them in again; where the"
            " file is no longer in landing, ask for it again"
        )


def _write(table: pa.Table, path: Path) -> None:
    pyarrow.parquet.write_table(table, path, compression="zstd")
