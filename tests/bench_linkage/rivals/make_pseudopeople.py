"""Files of pseudopeople's sample population, which comes inside the package, with its default noise and one seed.

python make_pseudopeople.py FOLDER
"""

import sys
from pathlib import Path

import pseudopeople

SEED = 0

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    pseudopeople.generate_decennial_census(year=2020, seed=SEED).to_parquet(folder / "pp_a.parquet")
    pseudopeople.generate_decennial_census(year=2030, seed=SEED).to_parquet(folder / "pp_c.parquet")
    pseudopeople.generate_taxes_w2_and_1099(year=2020, seed=SEED).to_parquet(folder / "pp_b.parquet")
