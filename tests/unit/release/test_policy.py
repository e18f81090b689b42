"""The policy file is the only place where a budget or a threshold is set, and a file that errs is refused."""

import pytest
import yaml

from privacy.release.policy import DEFAULT_PATH, PolicyError, load_policy


def test_a_family_or_a_kind_of_cell_without_a_share_is_an_error():
    policy = load_policy()
    assert policy.get_rho("pupil") == policy.accounts["child"].split["pupil"]
    with pytest.raises(PolicyError, match="gives family 'others' no budget"):
        policy.get_rho("others")
    with pytest.raises(PolicyError, match="gives cells of kind 'others' no weight"):
        policy.get_weight("others")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p.update(version=2), "policy version 1;"),
        (lambda p: p.update(cap=1), "'cap' is not a key here"),
        (lambda p: p.pop("delta"), "delta: is missing"),
        (lambda p: p.update(delta=1.5), "delta: must be less than 1"),
        (lambda p: p.update(delta="small"), "delta: must be a number"),
        (lambda p: p.update(delta=float("nan")), "delta: must be a"),
        (lambda p: p["accounts"]["child"].update(cap_rho=0), "child: cap_rho: rho must be positive"),
        (
            lambda p: p["accounts"]["child"].update(cap_rho=0.2),
            r"child: .* spend rho 0\.215, more than the cap of 0\.2",
        ),
        (lambda p: p.update(accounts={}), "names no family"),
        (lambda p: p.update(accounts=0.1), "accounts: must be a mapping"),
        (lambda p: p["accounts"]["child"].update(split=0.1), "accounts.child.split: must be a mapping"),
        (lambda p: p["accounts"]["child"]["split"].update(pupil=True), "split.pupil: must be a number"),
        (lambda p: p["accounts"]["response"]["split"].update(health=0.01), "in the split of two units"),
        (lambda p: p["minimum_accuracy"]["pupil"].update(share_of_rates=1.2), "pupil.share_of_rates"),
        (lambda p: p["minimum_accuracy"].pop("health"), "name the families of the split"),
        (lambda p: p["weights"].update(goals=0), "weights.goals: must be greater than 0"),
        (lambda p: p.update(weights=[]), "weights: must be a mapping"),
        (lambda p: p.update(regions_share=1), "regions_share: must be less than 1"),
        (lambda p: p["reliability"].pop("withheld_half_width"), "reliability.withheld_half_width: is missing"),
        (lambda p: p["reliability"].update(withheld_half_width=1), "withheld before it is flagged"),
    ],
)
def test_a_policy_that_errs_is_refused(tmp_path, change, message):
    content = yaml.safe_load(DEFAULT_PATH.read_text())
    change(content)
    path = tmp_path / "policy.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(PolicyError, match=message):
        load_policy(path)
