"""Link one cohort's pseudonymised extracts and derive the tables that noise is added over."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from assets import deliveries
from assets.children import build_confidential_tables
from assets.home import Home, promote
from assets.in_use import while_in_use
from assets.linkage_report import rates_by_group, render, weighted_figures
from assets.plain_words import check_readable
from assets.processing_log import What, record
from assets.sent import note_sent, note_taking_part
from assets.turns import in_turn
from ndl_export.tables import FAMILIES
from privacy import normalise, pseudonyms
from privacy.keys import LINKED_UNDER
from privacy.linkage import backends
from privacy.linkage.backends import DUCKDB
from privacy.linkage.doubts import Doubts
from privacy.linkage.link import Watcher, link
from privacy.linkage.report import Report
from privacy.services import SERVICES
from sources.contracts import CONTRACTS


class NothingToLink(Exception):
    """No extract of the cohort has been taken in."""


class CannotBeLinked(Exception):
    """Extracts whose tokens were made in different ways; the message names them and what to do."""


@while_in_use
@in_turn
def link_cohort(home: Home, cohort: str, councils: Sequence[str], backend: str = DUCKDB) -> None:
    """Write `links.parquet` and the linkage report of a cohort; child ids of an earlier linkage are kept.

    `backend` names where candidate pairs are weighed. Raises `NothingToLink`, `CannotBeLinked` and
    `BackendUnavailable`.
    """
    weigh = backends.backend(backend)
    extracts = {source: extracts_of(home, source, cohort, councils) for source in SERVICES}
    if not any(extracts.values()):
        raise NothingToLink(f"no linked source of cohort {cohort} has been taken in")
    _check_comparable(home, cohort, extracts)
    record(home, What.LINKAGE, cohort=cohort)
    earlier = home.links(cohort)
    for path in [*(path for paths in extracts.values() for path in paths), *([earlier] if earlier.exists() else [])]:
        check_readable(home, path)
    previous = pyarrow.parquet.read_table(earlier) if earlier.exists() else None
    report, doubts = Report(), Doubts()
    deliveries_linked = {EXTRACTS_LINKED: json.dumps(_macs(extracts))}
    watchers: list[Watcher] = [*report.watchers, doubts]
    result = link({source: paths for source, paths in extracts.items() if paths}, previous, watchers, weigh)
    with home.staging() as staging:
        _write(result.links, staging / "links.parquet")
        _write(doubts.children(result.links).replace_schema_metadata(deliveries_linked), staging / "doubts.parquet")
        _write_report(staging, cohort, extracts, report.facts(result))
        home.doubts(cohort).unlink(missing_ok=True)
        promote(staging / "links.parquet", home.links(cohort))
        promote(staging / "doubts.parquet", home.doubts(cohort))
        for kind in ("json", "html"):
            promote(staging / f"linkage.{kind}", home.linkage_report(cohort).with_suffix(f".{kind}"))


def _write_report(staging: Path, cohort: str, extracts: dict[str, list[Path]], facts: dict[str, Any]) -> None:
    """Write `linkage.json` and `linkage.html` into `staging`, which holds the links."""
    children = staging / "children.parquet"
    build_confidential_tables(
        staging / "links.parquet", {source: [] for source in CONTRACTS} | extracts, {"pupil": children}
    )
    report = {"cohort": cohort, **facts, "groups": rates_by_group(children), "weighted": weighted_figures(children)}
    (staging / "linkage.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    (staging / "linkage.html").write_text(render(report), encoding="utf-8")


@while_in_use
@in_turn
def derive_confidential_tables(home: Home, cohort: str, councils: Sequence[str]) -> None:
    """Write the confidential table of every family of a cohort, and then which councils are in them, by source."""
    extracts = {source: extracts_of(home, source, cohort, councils) for source in CONTRACTS}
    for path in [home.links(cohort), *(path for paths in extracts.values() for path in paths)]:
        check_readable(home, path)
    with home.staging() as staging:
        staged = {family: staging / f"{family}.parquet" for family in FAMILIES}
        build_confidential_tables(home.links(cohort), extracts, staged)
        home.sent(cohort).unlink(missing_ok=True)
        for family, path in staged.items():
            promote(path, home.confidential(family, cohort))
    note_taking_part(home, cohort, councils)
    note_sent(home, cohort, {source: [path.stem for path in paths] for source, paths in extracts.items()})


def extracts_of(home: Home, source: str, cohort: str, councils: Sequence[str]) -> list[Path]:
    """Pseudonymised extracts that are in, by council."""
    paths = (home.pseudonymised(source, cohort, council) for council in sorted(councils))
    return [path for path in paths if path.exists()]


def linked_extracts(home: Home, cohort: str) -> dict[str, str]:
    """MAC of the delivery of each extract (`council/source`) that the links of a cohort are of; none without links."""
    path = home.doubts(cohort)
    metadata = pyarrow.parquet.read_schema(path).metadata if path.exists() else None
    return dict(json.loads(metadata[EXTRACTS_LINKED.encode()])) if metadata else {}


def _macs(extracts: Mapping[str, Sequence[Path]]) -> dict[str, str]:
    return {f"{path.stem}/{source}": delivered(path) for source, paths in extracts.items() for path in paths}


def delivered(pseudonymised: Path) -> str:
    """MAC of the delivery that a pseudonymised extract was made from; empty where it says none."""
    metadata = pyarrow.parquet.read_metadata(pseudonymised).metadata or {}
    return bytes(metadata.get(deliveries.MAC_KEY.encode(), b"")).decode()


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
            f"cohort {cohort}: {', '.join(foreign[:_NAMED])}{' and others' if len(foreign) > _NAMED else ''}"
            " hold tokens of other keys, pseudonyms or another normaliser than the rest: take them in again; where the"
            " file is no longer in landing, ask for it again"
        )


_NAMED = 5
EXTRACTS_LINKED = "extracts_linked"
"""Name, in the metadata of a cohort's doubts, of the MACs of the deliveries that were linked (JSON)."""


def _write(table: pa.Table, path: Path) -> None:
    pyarrow.parquet.write_table(table, path, compression="zstd")
