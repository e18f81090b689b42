"""The negative control: its limits hold the truth, and say something."""

from collections.abc import Callable

import pytest
from hypothesis import given, strategies as st
from scipy.stats import binom

from privacy.keys import KeyRing
from privacy.linkage.link import link
from privacy.linkage.report import Control, NegativeControl, compute_upper_limit
from tests.support.linkage import populations

pytestmark = pytest.mark.slow

CHILDREN = 2_500


@pytest.mark.parametrize("kind", populations.KINDS, ids=lambda kind: kind.__name__)
def test_the_limits_hold_the_true_number_of_false_links(
    kind: Callable[[int, int], populations.Frames], keys: KeyRing
) -> None:
    frames = kind(CHILDREN, 1)
    control = NegativeControl()
    result = link(populations.tokenise_frames(frames, keys), watchers=[control])
    one_to_one = {step["step"]: step["linked_one_to_one"] for step in result.steps}
    steps = {found.step: found for found in control.controls if found.step in populations.RIGHT_SOURCE}
    assert set(steps) == set(populations.RIGHT_SOURCE)
    for step, found in steps.items():
        false, linked = populations.count_false_links(frames, result.links, populations.RIGHT_SOURCE[step])
        assert found.links == one_to_one[step] <= linked
        assert false <= found.compute_close_limit()
        assert false <= found.compute_cautious_limit()
        if kind is populations.draw_plain:
            assert found.compute_close_limit() < 0.01 * found.links
        if kind is populations.draw_all_at_once and step == "health to children":
            assert false > 20
            assert found.compute_close_limit() < 5 * false


def test_watching_changes_no_link(frames: populations.Frames, keys: KeyRing) -> None:
    tokens = populations.tokenise_frames(frames, keys)
    columns = ["source", "council", "row_key", "match_rule", "match_probability"]
    assert link(tokens, watchers=[NegativeControl()]).links.select(columns).equals(link(tokens).links.select(columns))


@given(trials=st.integers(1, 5_000), share=st.floats(0, 1), confidence=st.sampled_from([0.9, 0.95, 0.975]))
def test_the_upper_limit_is_clopper_and_pearsons(trials: int, share: float, confidence: float) -> None:
    """The chance under which so few events or fewer would be seen with the risk that is left."""
    events = int(share * trials)
    limit = compute_upper_limit(events, trials, confidence)
    if events == trials:
        assert limit == 1
    else:
        assert binom.cdf(events, trials, limit) == pytest.approx(1 - confidence, abs=1e-6)


def test_the_limits_by_hand() -> None:
    """No event in 1,000: 1 - 0.05 ** (1 / 1000) for one chance, 0.025 for each of two; a tenth of the children away."""
    found = Control(
        "step", subjects=1_000, linked_to_somebody_else=0, outdoing_a_partner=0, right_units=1_200, links=1_000
    )
    one, two = 1 - 0.05 ** (1 / 1_000), 1 - 0.025 ** (1 / 1_000)
    assert found.compute_cautious_limit() == pytest.approx(1_200 * one / 0.9)
    chance = two / 0.9
    assert found.compute_close_limit() == pytest.approx((chance * 200 + chance * 1_000) / (1 - chance))
    assert found.report()["share_of_links_at_most"] == pytest.approx(found.compute_close_limit() / 1_000)
    one = Control("step", subjects=1, linked_to_somebody_else=0, outdoing_a_partner=0, right_units=3, links=1)
    assert one.report()["false_links_at_most"] == 1
