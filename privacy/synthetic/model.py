"""Fits a graphical model to the noisy marginals, and draws rows from it.

The model has the greatest entropy among the distributions whose marginals fit best: attributes that were not measured
together are independent given those that were (McKenna, Sheldon and Miklau 2019, "Graphical-model based estimation and
inference for differential privacy"). The library is `mbi`, by the same authors; it is an optional extra.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.metadata import version
from types import ModuleType
from typing import Any

import numpy as np

from privacy.synthetic.problem import FIRST, Codes, Names, Noisy, Problem

STEPS, SETTLED = 10_000, 1e-3
"""Most steps of mirror descent, and the relative fall of the loss over 50 steps below which it ends."""
LARGEST_MIB = 128.0
"""Largest size of the model's tables. Above it, the marginals with the most cells are not fitted."""


class MissingLibrary(Exception):
    """Raised if the extra with the library is not installed; the message says how to install it."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """The drawn rows, and the marginals that were too large to be fitted."""

    rows: Codes
    not_fitted: tuple[Names, ...]


def draw(problem: Problem, seed: int) -> Drawn:
    """Draw as many rows as the problem has; the same seed and library versions give the same rows.

    Raises MissingLibrary if `mbi` is not installed.
    """
    mbi = _import_library()
    if not problem.rows:
        # A region may be estimated to have no child.
        nobody = np.zeros(0, dtype=np.int64)
        return Drawn({each.name: nobody for each in problem.attributes if each.name != FIRST}, ())
    # Numbers instead of names, because the library orders sets of attributes, and the order of strings in a set changes
    # from run to run.
    place = {each.name: number for number, each in enumerate(problem.attributes)}
    domain = mbi.Domain(list(place.values()), [each.size for each in problem.attributes])
    constraints = [
        mbi.Constraint(domain.project((place[one], place[other])), invalid=np.argwhere(impossible))
        for (one, other), impossible in problem.impossible.items()
    ]
    pairs = [(place[one], place[other]) for one, other in problem.impossible]

    def clique(marginal: Noisy) -> tuple[int, ...]:
        return tuple(place[name] for name in marginal.attributes)

    fitted = list(problem.marginals)
    while mbi.junction_tree.hypothetical_model_size(domain, [*map(clique, fitted), *pairs]) > LARGEST_MIB:
        fitted.remove(max(fitted, key=lambda each: each.counts.size))
    measured = [mbi.LinearMeasurement(each.counts.ravel(), clique(each), each.sigma) for each in fitted]
    # The total is that of the release; without it the library would estimate its own from the noisy marginals.
    model = mbi.estimation.MirrorDescent().estimate(
        domain, measured, known_total=float(problem.rows), iters=STEPS, tol=SETTLED, constraints=constraints
    )
    # The library draws along the model's own cliques, which do not contain the constrained pairs.
    model = replace(model, potentials=model.potentials.expand([*model.cliques, *pairs]))
    with _seed_numpy(seed):
        drawn: Any = model.synthetic_data(rows=problem.rows).to_dict()
    rows = {name: np.asarray(drawn[number], dtype=np.int64) for name, number in place.items() if name != FIRST}
    import_module("jax").clear_caches()  # shapes differ between problems, so cached code is never reused
    return Drawn(rows, tuple(each.attributes for each in problem.marginals if each not in fitted))


def list_library_versions() -> dict[str, str]:
    """Return the versions of the libraries that the rows depend on, by name."""
    return {name: version(name) for name in ("mbi", "jax", "numpy", "pyarrow")}


def _import_library() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about precision, which is set below, and about a cache
        try:
            import jax
            import mbi
        except ImportError:
            raise MissingLibrary(
                "the library for synthetic children is not installed: uv sync --inexact --extra synthetic"
            ) from None
    jax.config.update("jax_enable_x64", True)
    library: ModuleType = mbi
    return library


@contextmanager
def _seed_numpy(seed: int) -> Iterator[None]:
    """Seed numpy's global generator, which the library draws from, and restore it afterwards."""
    before = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(before)
