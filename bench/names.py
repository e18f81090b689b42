"""Names as common as in the public lists behind the pipeline's bands, for populations made without any file."""

import numpy as np
import pandas as pd

from bench.linkage.estimate import BANDS, invent_names
from privacy.linkage import model
from privacy.normalise import RAREST_BAND, load_name_bands

_LISTS = {"first_name": ("forename", "given_name", 4_000), "surname": ("surname", "surname", 40_000)}
"""For each column: the comparison, the list, and how many invented names are rare."""


def draw_public_names(count: int = 60_000, seed: int = 1) -> pd.DataFrame:
    """Return first_name and surname of this many people: a band by its share of children, then any name in it."""
    rng = np.random.default_rng([11, seed])
    drawn = {}
    for column, (comparison, source, rare) in _LISTS.items():
        listed = load_name_bands(source)
        names = {band: [name for name, of in listed.items() if of == band] for band in model.BANDS[comparison]}
        names[RAREST_BAND] = [name for name in invent_names(rng, rare) if name not in listed]
        shares = [share for share, _ in BANDS[comparison]]
        band = rng.choice(len(shares), count, p=np.array(shares) / sum(shares))
        made = np.empty(count, object)
        for number, own in enumerate(names.values()):
            made[band == number] = rng.choice(np.array(own, object), int((band == number).sum()))
        drawn[column] = [name.capitalize() for name in made]
    return pd.DataFrame(drawn)
