"""Synthetic map of postcodes: the council, small area and deprivation decile of each.

It is the same for every seed, cohort and scale. Postcodes of the pilot councils are in their real districts; those of
other councils are in areas whose letters the Royal Mail does not use. Units, small areas (LSOA) and deciles are
invented everywhere: deprived areas are more common in councils with more children eligible for free school meals.
"""

import zlib
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv

from privacy.doors.shipped import read_yaml
from sources.reference.places import PILOT
from sources.synthetic import margins
from sources.synthetic.drawing import Bools, Ints, Texts, pick

_DISTRICTS = read_yaml(Path(__file__).with_name("pilot_districts.yaml"))
ROYAL_MAIL_AREAS = frozenset((Path(__file__).parent / "royal_mail_areas.txt").read_text(encoding="ascii").split())
"""Two-letter postcode areas in use, which invented ones avoid."""
# The last two letters of a postcode are never C, I, K, M, O or V.
_UNIT_LETTERS = "ABDEFGHJLNPQRSTUWXYZ"
_UNITS_A_DISTRICT = 9 * len(_UNIT_LETTERS) ** 2  # sectors 1 to 9 and two letters
_POSTCODES_A_CHILD = 1.2
_POSTCODES_AN_LSOA = 40
_SHARE_NOT_IN_DIRECTORY = 0.005
_POSITION = (np.arange(1, 11) - 5.5) / 4.5  # of deciles 1 to 10, scaled from -1 to 1
_FSM_TILT = np.array([0.4, 1.5, 0.0])
"""Log ratio of children in the most deprived to a middle decile: FSM unknown, eligible, not eligible."""


@dataclass(frozen=True)
class Geography:
    """Postcodes sorted by council and decile; `council` indexes the margins' councils; deciles are 1 to 10."""

    postcode: Texts
    lsoa: Texts
    council: Ints
    decile: Ints
    listed: Bools
    first: Ints
    """Index of the first postcode of (council, decile), shape (councils, 11); the last column is the council's end."""

    def draw(self, rng: np.random.Generator, council: Ints, fsm: Ints) -> Ints:
        """Draw a home postcode (index) for children of these councils and FSM codes (as in `TOPICS`)."""
        size = np.diff(self.first, axis=1)
        tilt = np.exp(-_FSM_TILT[:, None] * _POSITION)
        table = size[:, None, :] * tilt[None, :, :]
        decile = pick(rng, table[council, fsm])
        return self.first[council, decile] + np.floor(rng.random(len(council)) * size[council, decile]).astype(np.int64)

    def get_quintile(self, postcode: Ints) -> Ints:
        """Return the IMD quintile, 1 (most deprived) to 5, of postcodes by index; 0 if not in the directory."""
        return np.where(self.listed[postcode], (self.decile[postcode] + 1) // 2, 0)

    def write_directory(self, path: Path) -> None:
        """Write the postcode look-up of the landing folder: `postcode, lsoa21cd, imd_decile`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        order = np.argsort(self.postcode[self.listed], kind="stable")
        columns = {"postcode": self.postcode, "lsoa21cd": self.lsoa, "imd_decile": self.decile}
        table = pa.table({name: pa.array(values[self.listed][order]) for name, values in columns.items()})
        options = pyarrow.csv.WriteOptions(quoting_style="none", quoting_header="none")
        pyarrow.csv.write_csv(table, path, options)


def build_geography(england: bool) -> Geography:
    """Build the map of the pilot councils or of all England; the pilot councils are the same in both."""
    # At full size, so that the map is the same at every scale.
    full = margins.build_margins(england, 1.0)
    fsm_share = full.counts[margins.FSM][:, 1] / full.children
    parts = [
        _build_council_postcodes(place.council, int(size), float(share), index)
        for index, (place, size, share) in enumerate(zip(full.councils, full.children, fsm_share, strict=True))
    ]
    postcode, lsoa, decile, listed = (np.concatenate(part) for part in zip(*parts, strict=True))
    council = np.repeat(np.arange(len(parts)), [len(part[0]) for part in parts])
    edges = np.searchsorted(council * 100 + decile, np.arange(len(parts))[:, None] * 100 + np.arange(1, 12))
    return Geography(postcode, lsoa, council, decile, listed, edges)


def _build_council_postcodes(council: str, size: int, fsm_share: float, index: int) -> tuple[Texts, Texts, Ints, Bools]:
    """Build one council's postcodes, LSOA codes, deciles and whether each is in the directory, sorted by decile."""
    # Seeded by name alone, so that a pilot council has the same postcodes in the pilot and in England.
    rng = np.random.default_rng(zlib.crc32(council.encode()))
    wanted = int(size * _POSTCODES_A_CHILD) + 60
    districts = _DISTRICTS.get(council) or _invent_districts(index, wanted)
    space = len(districts) * _UNITS_A_DISTRICT
    unit = np.sort(rng.choice(space, min(wanted, space), replace=False))
    area = np.arange(len(unit)) // _POSTCODES_AN_LSOA
    weights = np.exp(-(12 * (fsm_share - 0.17) + 0.1) * _POSITION)
    decile = pick(rng, np.tile(weights, (int(area[-1]) + 1, 1)))[area] + 1
    order = np.argsort(decile, kind="stable")
    unit, area, decile = unit[order], area[order], decile[order]
    lsoa = np.strings.add("E019", np.strings.zfill((index * 600 + area).astype("U5"), 5))
    return _format_postcodes(np.array(districts), unit), lsoa, decile, rng.random(len(unit)) >= _SHARE_NOT_IN_DIRECTORY


def _format_postcodes(districts: Texts, unit: Ints) -> Texts:
    """Return the postcodes of unit numbers: district, sector 1 to 9, two letters."""
    letters = np.array(list(_UNIT_LETTERS))
    base = len(letters)
    district, rest = np.divmod(unit, _UNITS_A_DISTRICT)
    sector, pair = np.divmod(rest, base**2)
    inward = np.strings.add(np.strings.add((sector + 1).astype("U1"), letters[pair // base]), letters[pair % base])
    return np.strings.add(np.strings.add(districts[district], " "), inward)


def _invent_districts(index: int, postcodes: int) -> list[str]:
    """Return enough districts of one area whose letters no real postcode has."""
    # Postcodes never have Q, V or X in the first place, nor I, J or Z in the second; I is left out of the first too.
    firsts, seconds = "ABCDEFGHJKLMNOPRSTUWYZ", "ABCDEFGHKLMNOPQRSTUVWXY"
    areas = [first + second for first, second in product(firsts, seconds) if first + second not in ROYAL_MAIL_AREAS]
    count = postcodes // 2500 + 1
    return [f"{areas[index - len(PILOT)]}{number}" for number in range(1, count + 1)]
