"""Declarations that contradict themselves are refused, with a message that names what is wrong."""

import pytest

from privacy.release.workload import (
    Attribute,
    Batch,
    Cube,
    Family,
    Identity,
    LinearCombination,
    Marginal,
    Selector,
    Term,
    WorkloadError,
)

SEX = Attribute("sex", ("F", "M"))
GLD = Attribute("gld", ("no", "yes"))
FSM = Attribute("fsm", ("no", "yes", "unknown"))


def family(*marginals: tuple[str, ...], identities: tuple[Identity, ...] = ()) -> Family:
    return Family("f", "one child", (SEX, GLD, FSM), tuple(Marginal(m) for m in marginals), identities)


def same(over: tuple[str, ...], left: dict, right: dict) -> Identity:
    return Identity(Batch(over, (Term(left),)), Batch(over, (Term(right),)), "the same fact")


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda: Attribute("sex", ()), "needs a category"),
        (lambda: Attribute("sex", ("F", "F")), "'F' is listed twice"),
        (lambda: Marginal(("sex", "sex")), "'sex' is listed twice"),
        (lambda: Marginal(("sex",), weight=0), "weight must be positive"),
        (lambda: Term({"sex": ()}), "empty choice"),
        (lambda: Term({"sex": "F"}), "tuple of categories"),
        (lambda: Term({"sex": {"F": float("nan")}}), "finite"),
        (lambda: Batch(("sex",), (Term({"sex": ("F",)}),)), "also weighs 'sex'"),
        (lambda: Identity(Batch(("sex",), (Term({}),)), Batch((), (Term({}),)), "x"), "different attributes"),
        (lambda: family(("sex", "age")), "no attribute 'age'"),
        (lambda: family(("sex", "gld"), ("gld", "sex")), "is listed twice"),
        (lambda: family(), "needs attributes and marginals"),
        (lambda: family(("sex",), identities=(same((), {"sex": ("X",)}, {"sex": ("F",)}),)), "no category 'X'"),
        (lambda: family(("sex",), identities=(same(("gld",), {"sex": ("F",)}, {}),)), "needs the marginal"),
        (
            lambda: family(
                ("sex", "gld"), identities=(same(("gld",), {"sex": ("F",)}, {}), same(("sex",), {"gld": ("no",)}, {}))
            ),
            "only one of the two",
        ),
        (lambda: Selector.of(SEX, {"x": ("X",)}), "no category 'X'"),
        (lambda: Selector.of(SEX, {}), "at least one row"),
        (lambda: Selector.each(SEX) + Selector.only(SEX, "F"), "'F' is listed twice"),
        (lambda: Cube({"gld": Selector.each(SEX)}), "selector on 'sex'"),
        (lambda: Cube({"sex": Selector.each(SEX)}, {"sex": Selector.only(SEX, "F")}), "both an axis and a restriction"),
        (lambda: Cube({}, {"sex": Selector.each(SEX)}), "single row"),
        (lambda: LinearCombination(((1.0, Cube({"sex": Selector.each(SEX)})), (1.0, Cube({})))), "different shapes"),
    ],
)
def test_a_contradiction_is_refused(declare, message):
    with pytest.raises(WorkloadError, match=message):
        declare()
