"""Public reference data: places, cohorts, code lists, cut-offs and published figures, each with its source.

- `places.csv`: the 153 upper-tier local authorities of England in 2024/25, with the Department for Education's and the
  Office for National Statistics' codes and names (DfE, Explore Education Statistics geography look-ups).
- `tiles.csv`: position of each authority on a map of equal hexagons, in half columns from the left and rows from the
  top. From `uk-upper-tier-local-authorities.hexjson` of Open Innovations (github.com/odileeds/hexmaps, as of 30
  October 2020; MIT licence, in `tiles_licence.txt`), with Cumbria and Northamptonshire divided as in 2023 and 2021.
- `ethnicity.csv`: main ethnicity codes of the DfE common basic data set, and the groups of the 2021 census.
- `goals.csv`: the early learning goals and their areas of learning (DfE, EYFS statutory framework).
- `asq3_cut_offs.csv`: SNOMED CT codes, age and cut-off of each ASQ-3 domain (NHS England, CSDS and the ASQ-3 technical
  note); a score below the cut-off is "below", any other is "at or above".
- `published_eyfsp_202425.csv`: figures of "Early years foundation stage profile results, 2024/25" (DfE) for England and
  the pilot councils; `how_read` says whether a figure was copied or summed.
- `published_gld.csv`: percentages at a good level of development in England and the pilot councils by free school
  meals, ethnic group and SEN, 2021/22 to 2024/25 (DfE, Local Authority Interactive Tool); for 2021/22 also by sex,
  first language, term of birth and any SEN ("Early years foundation stage profile results, 2021/22"). Years are
  academic years.
- `published_asq3.csv`: the two-year review in official statistics (OHID), by financial year: the share of reviews that
  used ASQ-3, for England and the pilot councils, 2019/20 to 2023/24 (from the Local Authority Interactive Tool, which
  names a financial year by the year it ends in); and the share of England's children at or above the expected level,
  2021/22, 2022/23 (published on 7 November 2023) and 2024/25 (4 November 2025). Councils' shares are not included:
  Fingertips has them, indicators C08a (all five domains, 93436) to C08f.
- `gld_targets.csv`: targets for a good level of development, national and local, each with its source; local targets
  have the code of their area.
- `published_expected_level.csv`: shares of children at the expected level, by area of learning, for England and the
  pilot councils, 2021/22 to 2024/25 (DfE, Local Authority Interactive Tool).
- `plausible_shares.csv`: plausible ranges, with sources, for shares that are not published for a council or England;
  used to plan releases.
- `published_children_202122.csv`: numbers of children in the pilot councils by sex, ethnic group, first language and
  term of birth, from "Early years foundation stage profile results, 2021/22" (DfE).

All are under the Open Government Licence v3.0, except the tiles (MIT licence) and the ASQ-3 cut-offs (facts from a
published instrument).
"""

import csv
from pathlib import Path

FOLDER = Path(__file__).parent


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file as dictionaries by heading."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
