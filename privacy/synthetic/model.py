"""Defines what synthetic rows are drawn from, fits a graphical model to it, and draws the rows.

Rows should agree with what is published. Each marginal therefore gets the corrections that publication applies to its
figures. If the totals over all places were not measured themselves, they are added as published: a noisy count may be
negative and a number of rows may not, so without them many small cells would add up to too much.

A pair of categories is impossible if an identity of the plan says so. The two sides of an identity are equal for every
possible table, including a table of one row, so a row that counts on one side counts on the other. `AllOf` describes
attributes that follow from others. To express this in pairs, a problem has an additional attribute: the first of the
parts that does not hold. It determines each whole, and each part up to the one it names. It is drawn and then dropped.

With a nesting, each group is a separate problem, as in `privacy.estimation.estimates`.

The model has the greatest entropy among the distributions whose marginals fit best: attributes that were not measured
together are independent given those that were (McKenna, Sheldon and Miklau 2019, "Graphical-model based estimation and
inference for differential privacy"). The library is `mbi`, by the same authors; it is an optional extra.
"""

import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.metadata import version
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privacy.estimation.estimates import Estimates, build_estimates
from privacy.estimation.intervals import Moments
from privacy.release.mechanism import Measurement
from privacy.release.plan import Plan
from privacy.release.workload import Array, Attribute, Cube, Identity, MeasuredFamily, Selector

FIRST = "first that does not hold"
_NONE = "every one holds"

Names = tuple[str, ...]
Codes = Mapping[str, NDArray[np.int64]]
"""Synthetic rows: attribute -> index of its category in the domain, one per row."""


@dataclass(frozen=True)
class Whole:
    """An attribute that is `yes` exactly in the rows in which the first `of_first` parts hold."""

    name: str
    yes: str
    of_first: int


@dataclass(frozen=True)
class AllOf:
    """Wholes that follow from which of `parts` have the value `holds`."""

    parts: Names
    holds: str
    wholes: tuple[Whole, ...]


@dataclass(frozen=True, eq=False)
class Noisy:
    """A marginal, its noisy counts and the scale of the noise; for totals, `of` is the marginal they are totals of."""

    attributes: Names
    counts: Array
    sigma: float
    of: Names = ()


@dataclass(frozen=True, eq=False)
class SynthesisProblem:
    """Rows to draw: their number, attributes, noisy marginals, and by pair of attributes where it is impossible."""

    rows: int
    attributes: tuple[Attribute, ...]
    marginals: tuple[Noisy, ...]
    impossible: Mapping[tuple[str, str], NDArray[np.bool_]]

    def get_attribute(self, name: str) -> Attribute:
        return next(each for each in self.attributes if each.name == name)

    def exclude(self, held_out: Collection[Names]) -> "SynthesisProblem":
        """Return the problem without some marginals and their totals."""
        return replace(
            self,
            marginals=tuple(each for each in self.marginals if not {each.attributes, each.of} & set(held_out)),
        )


def iter_problems(
    plan: Plan, measurement: Measurement, published: Moments, place: str, left_out: Collection[str], all_of: AllOf
) -> Iterator[SynthesisProblem]:
    """Yield the problems of a measurement: one per group of a nesting, otherwise one.

    Rows should agree with `published` figures and have totals over `place`; none has a `left_out` attribute.
    """
    estimates, nesting = build_estimates(plan, measurement), plan.family.nesting
    kept = [names for names in plan.sigmas if not set(names) & set(left_out)]
    noisy = {
        names: measurement.noisy[names] + _compute_correction(plan.family, names, estimates, published)
        for names in kept
    }
    if nesting is None:
        sigmas = {names: plan.sigmas[names] for names in kept}
        found = _build_problem(plan.family, _estimate_row_count(estimates, Cube({})), sigmas, noisy, place, all_of)
        yield replace(found, marginals=(*found.marginals, *_iter_totals(plan.family, kept, place, published)))
        return
    inner, outer = plan.family.get_attribute(nesting.inner), plan.family.get_attribute(nesting.outer)
    for group, part in plan.parts.items():
        taken = {
            inner.name: [inner.categories.index(member) for member in nesting.members[group]],
            outer.name: [outer.categories.index(group)],
        }
        inside = {}
        for names, counts in noisy.items():
            for axis, name in enumerate(names):
                counts = counts.take(taken[name], axis) if name in taken else counts
            seen = tuple(name for name in names if name != outer.name)
            inside[seen] = counts.reshape(part.family.get_shape(seen))
        rows = _estimate_row_count(
            estimates, Cube({}, where={inner.name: Selector.for_categories(inner, *nesting.members[group])})
        )
        yield _build_problem(part.family, rows, {names: part.sigmas[names] for names in inside}, inside, place, all_of)


def _compute_correction(family: MeasuredFamily, names: Names, estimates: Estimates, published: Moments) -> Array:
    """Return the corrections that publication applies to the cells of a marginal."""
    selectors, nesting = {}, family.nesting
    for name in names:
        attribute = family.get_attribute(name)
        if nesting is not None and name == nesting.outer:
            # Published figures of a region are sums over its councils.
            attribute = family.get_attribute(nesting.inner)
            groups = {group: nesting.members[group] for group in family.get_attribute(name).categories}
            selectors[attribute.name] = Selector.for_groups(attribute, groups)
        else:
            selectors[name] = Selector.for_each(attribute)
    cells = Cube(selectors)
    return published.compute_values(cells) - estimates.compute_values(cells)


def _iter_totals(family: MeasuredFamily, measured: Sequence[Names], place: str, published: Moments) -> Iterator[Noisy]:
    """Yield the totals over all places of marginals with other attributes, unless those totals were measured."""
    for names in measured:
        others = tuple(name for name in names if name != place)
        if len(others) < len(names) and len(others) > 1 and others not in measured:
            cells = Cube({name: Selector.for_each(family.get_attribute(name)) for name in others})
            # The model takes one scale for a whole marginal: the root of the mean variance.
            yield Noisy(
                others, published.compute_values(cells), float(np.sqrt(published.compute_variance(cells).mean())), names
            )


def _estimate_row_count(estimates: Estimates, rows: Cube) -> int:
    """Return the release's estimate as a number of rows."""
    return max(0, round(float(estimates.compute_values(rows).item())))


def _build_problem(
    family: MeasuredFamily,
    rows: int,
    sigmas: Mapping[Names, float],
    noisy: Mapping[Names, Array],
    place: str,
    all_of: AllOf,
) -> SynthesisProblem:
    with_place = {tuple(name for name in names if name != place): names for names in sigmas if place in names}
    # The marginal without attributes is left out, because the number of rows is given.
    marginals = tuple(
        Noisy(names, noisy[names], sigma, with_place.get(names, ())) for names, sigma in sigmas.items() if names
    )
    measured = {name for marginal in marginals for name in marginal.attributes}
    attributes = [each for each in family.attributes if each.name in measured]
    impossible: dict[tuple[str, str], NDArray[np.bool_]] = {}
    for identity in family.identities:
        if (found := _find_impossible_pairs(family, identity)) and set(found[0]) <= measured:
            # Several identities may rule out pairs of the same two attributes.
            impossible[found[0]] = impossible.get(found[0], False) | found[1]
    if {*all_of.parts, *(whole.name for whole in all_of.wholes)} <= measured:
        attributes.append(Attribute(FIRST, (_NONE, *all_of.parts)))
        impossible |= _find_all_of_pairs(family, all_of)
    return SynthesisProblem(rows, tuple(attributes), marginals, impossible)


def _find_impossible_pairs(
    family: MeasuredFamily, identity: Identity
) -> tuple[tuple[str, str], NDArray[np.bool_]] | None:
    """Return pairs of categories that break an identity; None unless each side weighs a different one."""
    sides: dict[str, Any] = {}
    for side in (identity.left, identity.right):
        if len(side.terms) != 1 or len(side.terms[0].vectors) != 1:
            return None
        (term,) = side.terms
        ((name, vector),) = term.vectors.items()
        sides[name] = term.coefficient * np.array(family.get_attribute(name).get_weights(vector))
    if len(sides) != 2:
        return None
    first, second = family.sort_names(sides)
    return (first, second), sides[first][:, None] != sides[second][None, :]


def _find_all_of_pairs(family: MeasuredFamily, all_of: AllOf) -> dict[tuple[str, str], NDArray[np.bool_]]:
    """Return the impossible pairs of `FIRST` with each whole and each part."""
    first = np.arange(len(all_of.parts) + 1)  # 0 if every part holds, otherwise the number of the part, from 1
    found = {}
    for whole in all_of.wholes:
        yes = np.array([category == whole.yes for category in family.get_attribute(whole.name).categories])
        found[whole.name, FIRST] = yes[:, None] != ((first == 0) | (first > whole.of_first))[None, :]
    for place, part in enumerate(all_of.parts, start=1):
        holds = np.array([category == all_of.holds for category in family.get_attribute(part).categories])
        must, must_not = (first == 0) | (first > place), first == place
        found[part, FIRST] = (~holds[:, None] & must[None, :]) | (holds[:, None] & must_not[None, :])
    return found


def count_contradictions(problem: SynthesisProblem, rows: Codes, all_of: AllOf) -> int:
    """Count rows that have an impossible pair of categories or break `all_of`."""
    wrong = np.zeros(len(next(iter(rows.values()))), dtype=np.bool_)
    for (one, other), impossible in problem.impossible.items():
        if FIRST not in (one, other):
            wrong |= impossible[rows[one], rows[other]]
    if any(each.name == FIRST for each in problem.attributes):

        def is_in(name: str, category: str) -> NDArray[np.bool_]:
            return np.asarray(rows[name] == problem.get_attribute(name).categories.index(category))

        for whole in all_of.wholes:
            every = np.all([is_in(part, all_of.holds) for part in all_of.parts[: whole.of_first]], axis=0)
            wrong |= is_in(whole.name, whole.yes) != every
    return int(wrong.sum())


def select_widest(problem: SynthesisProblem, having: str) -> Sequence[Names]:
    """Return every second of the largest marginals with this attribute, in the order of the plan."""
    own = [each.attributes for each in problem.marginals if having in each.attributes]
    return [names for names in own if len(names) == max(map(len, own))][::2]


STEPS, SETTLED = 10_000, 1e-3
"""Most steps of mirror descent, and the relative fall of the loss over 50 steps below which it ends."""
LARGEST_MIB = 128.0
"""Largest size of the model's tables. Above it, the marginals with the most cells are not fitted."""


class MissingLibrary(Exception):
    """The extra with the library is not installed; the message says how to install it."""


def draw(problem: SynthesisProblem, seed: int) -> tuple[Codes, tuple[Names, ...]]:
    """Draw rows, the same for the same seed and library versions; return them and the marginals too large to fit."""
    mbi = _import_library()
    if not problem.rows:
        # A region may be estimated to have no child.
        nobody = np.zeros(0, dtype=np.int64)
        return {each.name: nobody for each in problem.attributes if each.name != FIRST}, ()
    # Numbers instead of names, because the library orders sets of attributes, and the order of strings in a set changes
    # from run to run.
    place = {each.name: number for number, each in enumerate(problem.attributes)}
    domain = mbi.Domain(list(place.values()), [each.size for each in problem.attributes])
    constraints = [
        mbi.Constraint(domain.project((place[one], place[other])), invalid=np.argwhere(impossible))
        for (one, other), impossible in problem.impossible.items()
    ]
    pairs = [(place[one], place[other]) for one, other in problem.impossible]

    def get_clique(marginal: Noisy) -> tuple[int, ...]:
        return tuple(place[name] for name in marginal.attributes)

    fitted = list(problem.marginals)
    while mbi.junction_tree.hypothetical_model_size(domain, [*map(get_clique, fitted), *pairs]) > LARGEST_MIB:
        fitted.remove(max(fitted, key=lambda each: each.counts.size))
    measured = [mbi.LinearMeasurement(each.counts.ravel(), get_clique(each), each.sigma) for each in fitted]
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
    return rows, tuple(each.attributes for each in problem.marginals if each not in fitted)


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
