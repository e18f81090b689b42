"""Declarations that contradict themselves are refused, with a message that names what is wrong."""

import pytest

from privacy.release.workload import Attribute, Batch, Family, Identity, Marginal, Selector, Term, WorkloadError

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
        (lambda: Selector.for_groups(SEX, {"x": ("X",)}), "no category 'X'"),
    ],
)
def test_a_contradiction_is_refused(declare, message):
    with pytest.raises(WorkloadError, match=message):
        declare()
