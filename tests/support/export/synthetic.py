"""Synthetic children of a made-up release, created without the library that draws them."""

import hashlib
import json
from pathlib import Path

import pyarrow as pa

from ndl_export.files.signing import SUMS_FILE
from ndl_export.synthetic.children import ComparedFigure, HeldOut, IntervalAgreement, SyntheticChildren

NOTICE = "Synthetic data: no figure is about a real child."
CATEGORIES = {"council": ("leeds", "sefton"), "gld": ("Yes", "No")}


def make_synthetic_children(bundle: Path, seed: int = 7) -> SyntheticChildren:
    """Return three rows, which no model drew, for the bundle in a folder."""
    return SyntheticChildren(
        release=json.loads((bundle / "datapackage.json").read_bytes()),
        release_sums=hashlib.sha256((bundle / SUMS_FILE).read_bytes()).hexdigest(),
        cohort="202425",
        seed=seed,
        rows=pa.table({"council": ["leeds", "leeds", "sefton"], "gld": ["Yes", "No", "No"]}),
        categories=CATEGORIES,
        libraries={"mbi": "2.0.0"},
        left_out=("linkage_agreement",),
        not_fitted=(("council", "gld"),),
        contradictions=0,
        agreements=(
            IntervalAgreement("gld_headline", "gld_children_percent", "Title", "Label", 411, 407, 0.21, 1.04, 1.17),
        ),
        held_out=(HeldOut(("council", "sex", "gld"), 27, 0.62, 3.13, 0.64),),
        goals=(
            ComparedFigure(
                "Average number of early learning goals at the expected level", "", 13.74, 13.71, 13.78, 13.75, 1
            ),
            ComparedFigure("Children at the expected level in 17 goals", "%", 62.9, 62.5, 63.3, 41.2, 1),
        ),
        changed=31,
        outside=("gld_headline, gld_children_percent, E06000006, Eligible, Female",),
    )
