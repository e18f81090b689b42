"""The truth beside the extracts: who each row is about, and the published figures of the true children."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from sources.reference.places import COUNTRY, LIVERPOOL_CITY_REGION, PILOT, place
from sources.synthetic.attainment import EXPECTED
from sources.synthetic.drawing import Bools, Ints
from sources.synthetic.margins import ETHNICITY, FSM, LANGUAGE, SEN, SEX, TERM, TOPICS
from sources.synthetic.recording import Rows
from sources.synthetic.world import World

QUINTILES = (
    "Unknown",
    "Quintile 1 (most deprived)",
    "Quintile 2",
    "Quintile 3",
    "Quintile 4",
    "Quintile 5 (least deprived)",
)
_ALL_SEN = "All SEN provision"
_REGIONAL_FROM = 21
"""Regions and England are published with more than twenty councils."""


class _Area(NamedTuple):
    level: str
    code: str
    name: str
    pupils: Bools


def write_truth(folder: Path, world: World, sources: Mapping[str, Rows]) -> None:
    """Write `truth.parquet` and `truth_tables.parquet` into `folder`, keeping other cohorts' rows.

    - truth: one row per row written of each source about children: source, council, cohort, source_row (1-based data
      row of the file), person_id, is_twin.
    - truth_tables: children_count, gld_children_count and elgs_expected_total of the children with a Profile, each
      once, in the council of the pupil's own school, by area, breakdown topic, breakdown and sex.
    """
    links = pa.concat_tables(_links(world, source, rows) for source, rows in sources.items() if rows.person is not None)
    _write_cohort(folder / "truth.parquet", links, world.cohort.code)
    figures = pa.concat_tables(_figures(world, area) for area in _areas(world))
    _write_cohort(folder / "truth_tables.parquet", figures, world.cohort.code)


def _links(world: World, source: str, rows: Rows) -> pa.Table:
    assert rows.person is not None
    size = len(rows.council)
    councils = pa.array([entry.council for entry in world.margins.councils])
    return pa.table(
        {
            "source": pa.repeat(source, size),
            "council": councils.take(pa.array(rows.council)),
            "cohort": pa.repeat(world.cohort.code, size),
            "source_row": np.arange(size) - np.searchsorted(rows.council, rows.council) + 1,
            "person_id": world.cohort.first_year * 10_000_000 + rows.person,
            "is_twin": world.people.twin[rows.person],
        }
    )


def _areas(world: World) -> Iterator[_Area]:
    """The areas that figures are published for."""
    people, councils = world.people, world.margins.councils
    own = people.council[people.pupil]

    def within(chosen: list[bool]) -> Bools:
        return np.array(chosen)[own]

    for index, entry in enumerate(councils):
        yield _Area("Local authority", entry.new_la_code, entry.la_name, own == index)
    devolved = [entry.english_devolved_area_code == LIVERPOOL_CITY_REGION for entry in councils]
    name = place("liverpool").english_devolved_area_name
    yield _Area("English devolved area", LIVERPOOL_CITY_REGION, name, within(devolved))
    yield _Area("Pilot councils", "", "Pilot councils", within([entry.council in PILOT for entry in councils]))
    if len(councils) >= _REGIONAL_FROM:
        for code, region in sorted({(entry.region_code, entry.region_name) for entry in councils}):
            yield _Area("Regional", code, region, within([entry.region_code == code for entry in councils]))
        yield _Area("National", *COUNTRY, within([True for _ in councils]))


def _figures(world: World, area: _Area) -> pa.Table:
    """Every topic x breakdown x sex of one area."""
    pupils = world.people.pupil
    sex = world.people.categories[SEX][pupils]
    gld = world.attainment.gld[pupils]
    elgs = (world.attainment.goals == EXPECTED).sum(axis=1)
    rows = []
    for topic, breakdown, group in _breakdowns(world):
        for label, chosen in (("Total", None), *((text, code) for code, text in enumerate(TOPICS[SEX]))):
            inside = area.pupils & group & (True if chosen is None else sex == chosen)
            rows.append(
                {
                    "cohort": world.cohort.code,
                    "geographic_level": area.level,
                    "area_code": area.code,
                    "area_name": area.name,
                    "breakdown_topic": topic,
                    "breakdown": breakdown,
                    "sex": label,
                    "children_count": int(inside.sum()),
                    "gld_children_count": int((inside & gld).sum()),
                    "elgs_expected_total": int(elgs[inside].sum()),
                }
            )
    return pa.Table.from_pylist(rows)


def _breakdowns(world: World) -> Iterator[tuple[str, str, Bools]]:
    pupils = world.people.pupil
    yield "Total", "Total", np.ones(int(pupils.sum()), dtype=bool)
    for topic in (FSM, ETHNICITY, SEN, LANGUAGE, TERM):
        group: Ints = world.people.categories[topic][pupils]
        for index, label in enumerate(TOPICS[topic]):
            yield topic, label, group == index
        if topic == SEN:
            yield topic, _ALL_SEN, np.isin(group, [1, 2])
    for index, label in enumerate(QUINTILES):
        yield "IMD quintile", label, world.quintile[pupils] == index


def _write_cohort(path: Path, table: pa.Table, cohort: str) -> None:
    """Replace a cohort's rows of a Parquet file."""
    if path.exists():
        earlier = pyarrow.parquet.read_table(path)
        others = earlier.filter(pc.not_equal(earlier["cohort"], cohort))
        table = pa.concat_tables([others.cast(table.schema), table]) if others.num_rows else table
    pyarrow.parquet.write_table(table, path, compression="zstd")
