"""Everything that the returns of one cohort are drawn from."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sources.councils.council_file import CONTRACT_DIALECT, Dialect, council_file
from sources.reference.cohorts import Cohort
from sources.synthetic.attainment import Attainment, draw_attainment
from sources.synthetic.drawing import Bools, Floats, Ints, Streams
from sources.synthetic.geography import Geography, geography
from sources.synthetic.margins import SEX, Margins, margins
from sources.synthetic.people import People, draw_people
from sources.synthetic.recording import Identity, Slips, record

_JOINED_SHARE = 0.05
"""Share of pupils who moved in from outside after the early years, unknown to the early services of these councils."""


@dataclass(frozen=True)
class World:
    """The true children of a cohort, their attainment, and the dialects of the services."""

    cohort: Cohort
    streams: Streams
    margins: Margins
    geography: Geography
    people: People
    attainment: Attainment
    contract_names: bool

    @cached_property
    def joined_late(self) -> Bools:
        """Children unknown to the early services."""
        return self.people.pupil & (self.streams("joined late").random(len(self.people)) < _JOINED_SHARE)

    @cached_property
    def quintile(self) -> Ints:
        """IMD quintile of each child's home at the time of the Profile; 0 if unknown."""
        return self.geography.quintile(self.people.postcode)

    def dialect(self, council: str, source: str) -> Dialect:
        return CONTRACT_DIALECT if self.contract_names else council_file(council).dialect(source)

    def on_file(
        self, rng: np.random.Generator, source: str, council: Ints, person: Ints, postcode: Ints, slips: Slips
    ) -> Identity:
        """Return children with these home postcodes (indices) as recorded by these councils' systems."""
        people = self.people
        true = Identity(
            people.surname[person],
            people.forename[person],
            people.categories[SEX][person],
            people.born[person],
            self.geography.postcode[postcode],
        )
        encodings = [self.dialect(place.council, source).encoding for place in self.margins.councils]
        holds_unicode = np.array([encoding.lower().startswith("utf") for encoding in encodings])
        return record(rng, true, slips, holds_unicode[council])

    def by_council(self, what: str, low: float, high: float) -> Floats:
        """Return a rate between two bounds for each council, the same for every seed."""
        keys = [zlib.crc32(f"{what} {place.council}".encode()) for place in self.margins.councils]
        return np.array([low + (high - low) * (key % 1000) / 999 for key in keys])


def draw_world(cohort: Cohort, seed: int, england: bool, scale: float, contract_names: bool) -> World:
    """Draw a cohort."""
    streams = Streams(seed, cohort)
    figures, places = margins(england, scale), geography(england)
    people = draw_people(streams, cohort, figures, places)
    attainment = draw_attainment(streams, people, figures, places.quintile(people.postcode))
    return World(cohort, streams, figures, places, people, attainment, contract_names)
