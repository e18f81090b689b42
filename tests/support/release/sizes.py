"""Group sizes as published in a release of the demonstration, and what such a release makes known."""

import json
from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from assets.release.planning import Sizes, plan_family
from assets.release.requests.planning import Known
from ndl_export.facts.noisy_counts import NoisyCounts
from ndl_export.tables import FAMILIES
from privacy.release.plan import Plan
from privacy.release.policy import load_policy
from privacy.release.workload import Cube, Selector
from sources.reference.places import PILOT
from sources.reference.published_figures import estimate_council_size

_PUBLISHED: dict[str, Any] = json.loads(Path(__file__).with_name("demonstration_sizes.json").read_bytes())
"""Rows and shares by family, for the pilot councils in order."""


@cache
def build_sizes(councils: tuple[str, ...], family: str) -> Sizes:
    """Return the sizes of groups; councils outside the demonstration's pilot have the pilot's shares."""
    pilot, published = _PUBLISHED["councils"], _PUBLISHED[family]
    rows = np.array(published["rows"], dtype=np.float64)
    per_child = rows.sum() / sum(map(estimate_council_size, pilot))
    places = [pilot.index(council) if council in pilot else -1 for council in councils]
    found = [
        rows[at] if at >= 0 else per_child * estimate_council_size(c) for c, at in zip(councils, places, strict=True)
    ]
    shares = {name: np.array([*of, np.average(of, axis=0, weights=rows)]) for name, of in published["shares"].items()}
    return Sizes(np.array(found), {name: of_places[places] for name, of_places in shares.items()})


def build_known(councils: Sequence[str] = PILOT, on_request: Sequence[Plan] = ()) -> Known:
    """Return what is known from a release of these councils under the policy."""
    own = tuple(sorted(councils))
    base = {family: plan_family(family, own, load_policy()) for family in FAMILIES}
    return Known("202425", base, tuple(on_request), partial(build_sizes, own), load_policy())


def build_noisy_counts(base: Mapping[str, Plan]) -> dict[str, NoisyCounts]:
    """Return counts of these sizes by family, as if attributes were independent."""
    found = {}
    for family, plan in base.items():
        attribute = plan.family.get_attribute
        sizes = build_sizes(attribute("council").categories, family)
        counts = {
            names: np.rint(
                sizes.compute_values(Cube({name: Selector.for_each(attribute(name)) for name in names}))
            ).astype(np.int64)
            for names in plan.sigmas
        }
        found[family] = NoisyCounts(plan.encode_json(), counts)
    return found
