"""Link one cohort's pseudonymised extracts and derive the tables that noise is added over."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from assets.home.at_work import in_turn, while_in_use
from assets.home.errors import check_readable
from assets.home.older_homes import check_apart
from assets.home.paths import Home
from assets.home.processing_log import Processing, record
from assets.intake import deliveries
from assets.linkage import tokens
from assets.linkage.children import build_confidential_tables
from assets.linkage.inputs import Extract, LinkageRecord, delivered, extracts_in, extracts_of, named, write_record
from assets.linkage.report import coarse, rates_by_group, render, weighted_figures
from assets.linkage.standing import (
    not_as_linked,
    noted_in,
    published_children,
    record_now,
    said_of_links,
    stand_as,
    tables_stand,
)
from ndl_export.tables import FAMILIES
from privacy import normalise, pseudonyms
from privacy.doors.files import promote
from privacy.keys import LINKED_UNDER, KeyRing
from privacy.linkage import backends
from privacy.linkage.backends import DUCKDB
from privacy.linkage.link import Watcher, link
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
@in_turn
def link_cohort(home: Home, cohort: str, councils: Sequence[str], keys: KeyRing, backend: str = DUCKDB) -> None:
    """Write `links.parquet` and the linkage report of a cohort; child ids of an earlier linkage are kept. Where they
    stand, of the same extracts and by the same program, nothing is done, and the processing log has no line.

    `keys` open the tokens; `backend` names where candidate pairs are weighed, which changes no link. Raises
    `NothingToLink`, `CannotBeLinked`, `BackendUnavailable`, and what `tokens.readers` does.
    """
    weigh = backends.backend(backend)
    extracts = {source: extracts_of(home, source, cohort, councils) for source in SERVICES}
    if not any(extracts.values()):
        raise NothingToLink(f"no linked source of cohort {cohort} has been taken in")
    for path in (path for paths in extracts.values() for path in paths):
        check_readable(home, path)
    check_apart(home, cohort, (path for paths in extracts.values() for path in paths))
    _check_comparable(home, cohort, extracts)
    now = extracts_in(home, cohort, councils, SERVICES)
    made_from = said_of_links(now, councils)
    if stand_as(home, cohort, made_from):
        return
    record(home, Processing.LINKAGE, cohort=cohort)
    report, doubts = Report(), Doubts()
    watchers: list[Watcher] = [*report.watchers, doubts]
    previous = _earlier_links(home, cohort, now)
    children = published_children(councils)
    result = link(tokens.readers(home, keys, cohort, extracts), previous, watchers, weigh, children)
    with home.staging() as staging:
        _write(result.links.replace_schema_metadata(made_from), staging / "links.parquet")
        _write(doubts.children(result.links), staging / "doubts.parquet")
        _write_report(staging, cohort, extracts, report.facts(result))
        home.doubts(cohort).unlink(missing_ok=True)
        promote(staging / "links.parquet", home.links(cohort))
        promote(staging / "doubts.parquet", home.doubts(cohort))
        for kind in ("json", "html"):
            promote(staging / f"linkage.{kind}", home.linkage_report(cohort).with_suffix(f".{kind}"))


def _earlier_links(home: Home, cohort: str, now: Mapping[str, Extract]) -> pa.Table | None:
    """The links whose child ids are kept: those of rows that still have the same key, which a correction moves.

    Raises `Damaged`.
    """
    if not home.links(cohort).exists():
        return None
    check_readable(home, home.links(cohort))
    links = pyarrow.parquet.read_table(home.links(cohort))
    if ROW_KEY not in links.column_names:
        return None
    before = delivered(noted_in(home.links(cohort)))
    moved = pa.array([name for name, mac in before.items() if delivered(now).get(name) != mac], pa.string())
    extract = pc.binary_join_element_wise(links["council"], links["source"], "/")
    return links.filter(pc.invert(pc.is_in(extract, value_set=moved)))


def _write_report(staging: Path, cohort: str, extracts: dict[str, list[Path]], facts: dict[str, Any]) -> None:
    """Write `linkage.json` and `linkage.html` into `staging`, which holds the links."""
    children = staging / "children.parquet"
    build_confidential_tables(
        staging / "links.parquet", {source: [] for source in CONTRACTS} | extracts, {"pupil": children}
    )
    report = coarse(
        {"cohort": cohort, **facts, "groups": rates_by_group(children), "weighted": weighted_figures(children)}
    )
    (staging / "linkage.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    (staging / "linkage.html").write_text(render(report), encoding="utf-8")


@while_in_use
@in_turn
def derive_confidential_tables(
    home: Home, cohort: str, councils: Sequence[str], keys: KeyRing, backend: str = DUCKDB
) -> list[str]:
    """Write the confidential table of every family of a cohort, and then of what extracts they are.

    Where the extracts that are in are not those that were linked, because one came in meanwhile, or they were linked
    with other parameters, the cohort is linked again first; returns the names of such extracts. Tables that are there,
    of the same extracts and links and by the same program, stay as they are. Raises what `link_cohort` does.
    """
    extracts = {source: extracts_of(home, source, cohort, councils) for source in CONTRACTS}
    for path in (path for paths in extracts.values() for path in paths):
        check_readable(home, path)
    check_apart(home, cohort, (path for paths in extracts.values() for path in paths))
    came = not_as_linked(home, cohort, councils)
    link_cohort(home, cohort, councils, keys, backend)
    if tables_stand(home, cohort, councils):
        return came
    with home.staging() as staging:
        staged = {family: staging / f"{family}.parquet" for family in FAMILIES}
        build_confidential_tables(home.links(cohort), extracts, staged)
        write_record(home, cohort, LinkageRecord(sorted(councils)))
        for family, path in staged.items():
            promote(path, home.confidential(family, cohort))
    write_record(home, cohort, record_now(home, cohort, councils))
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
