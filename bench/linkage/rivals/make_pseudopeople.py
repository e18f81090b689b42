"""Files of pseudopeople's sample population, which comes inside the package, with its default noise and one seed each.

python make_pseudopeople.py FOLDER
"""

import sys
from pathlib import Path

import pseudopeople

SEED = 0
HELD_OUT = {2020: 701, 2030: 702, 2040: 703}
"""Seed of each year's census; chosen anew after a change of the model, so that it has not seen their errors."""
HELD_OUT_FORMS = (2030, 704)

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    census, forms = pseudopeople.generate_decennial_census, pseudopeople.generate_taxes_w2_and_1099
    census(year=2020, seed=SEED).to_parquet(folder / "pp_a.parquet")
    census(year=2030, seed=SEED).to_parquet(folder / "pp_c.parquet")
    forms(year=2020, seed=SEED).to_parquet(folder / "pp_b.parquet")
    held_out = folder / "holdout"
    held_out.mkdir(exist_ok=True)
    for year, seed in HELD_OUT.items():
        census(year=year, seed=seed).to_parquet(held_out / f"census{year}_s{seed}.parquet")
    year, seed = HELD_OUT_FORMS
    forms(year=year, seed=seed).to_parquet(held_out / f"w2_{year}_s{seed}.parquet")
