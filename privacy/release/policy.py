"""The privacy policy, `privacy/policy.yaml`, as a checked value: caps, shares, and thresholds decided beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from decimal import ROUND_FLOOR, Decimal
from pathlib import Path
from typing import Any

import yaml

from privacy.release.intervals import Reliability

DEFAULT_PATH = Path(__file__).parent.parent / "policy.yaml"
VERSION = 1
NANO = Decimal("1e-9")


class PolicyError(ValueError):
    """A policy file that cannot be followed."""


@dataclass(frozen=True)
class MinimumAccuracy:
    """Of the rates with a public denominator of `denominator_at_least`, `share_of_rates` must have a 95% half-width
    of at most `half_width_points`, as expected before any budget is spent."""

    denominator_at_least: float
    half_width_points: float
    share_of_rates: float


@dataclass(frozen=True)
class Policy:
    """Budget in rho (zCDP) per cohort (`cap_rho`) and per family of one release (`split`), and public thresholds."""

    cap_rho: float
    delta: float
    split: Mapping[str, float]
    minimum_accuracy: MinimumAccuracy
    reliability: Reliability

    def __post_init__(self) -> None:
        if not 0 < self.delta < 1:
            raise PolicyError(f"delta must lie between 0 and 1, not {self.delta}")
        if not self.split:
            raise PolicyError("the split names no family")
        for what, rho in (("cap_rho", self.cap_rho), *self.split.items()):
            if not rho > 0:
                raise PolicyError(f"{what}: rho must be positive, not {rho}")
        spent = sum(Decimal(repr(rho)) for rho in self.split.values())
        if spent > Decimal(repr(self.cap_rho)):
            raise PolicyError(f"one release would spend rho {spent}, more than the cap of {self.cap_rho}")
        if not 0 < self.minimum_accuracy.share_of_rates <= 1:
            raise PolicyError("minimum_accuracy.share_of_rates must lie between 0 and 1")
        if self.reliability.withheld_half_width < self.reliability.unreliable_half_width:
            raise PolicyError("reliability: a rate cannot be withheld before it is flagged")

    def scaled(self, share: float) -> Policy:
        """The policy of a release that spends a share of the split, over 0 and at most 1; whole nano-rho, rounded down.

        Raises PolicyError for another share, or one so small that a family would have nothing.
        """
        if not 0 < share <= 1:
            raise PolicyError(f"a release spends a share of the policy's split, over 0 and at most 1, not {share:g}")
        exact = {family: Decimal(repr(rho)) * Decimal(repr(share)) for family, rho in self.split.items()}
        return replace(self, split={family: float(rho.quantize(NANO, ROUND_FLOOR)) for family, rho in exact.items()})

    def rho(self, family: str) -> float:
        """Budget of a family in one release. Raises PolicyError where the policy gives it none."""
        try:
            return self.split[family]
        except KeyError:
            raise PolicyError(f"the privacy policy gives family {family!r} no budget") from None


def load_policy(path: Path = DEFAULT_PATH) -> Policy:
    """Read and check a policy file. Raises PolicyError naming what is missing, unknown or out of range."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    expected = {"version", *(field.name for field in fields(Policy))}
    _check_keys("policy", content, expected)
    if content["version"] != VERSION:
        raise PolicyError(f"this software reads policy version {VERSION}, not {content['version']!r}")
    if not isinstance(content["split"], dict):
        raise PolicyError("split must map families to rho")
    return Policy(
        cap_rho=_number("cap_rho", content["cap_rho"]),
        delta=_number("delta", content["delta"]),
        split={family: _number(f"split.{family}", rho) for family, rho in content["split"].items()},
        minimum_accuracy=MinimumAccuracy(**_numbers("minimum_accuracy", content, MinimumAccuracy)),
        reliability=Reliability(**_numbers("reliability", content, Reliability)),
    )


def _numbers(section: str, content: dict[str, Any], kind: type[Any]) -> dict[str, float]:
    _check_keys(section, content[section], {field.name for field in fields(kind)})
    return {name: _number(f"{section}.{name}", value) for name, value in content[section].items()}


def _check_keys(section: str, content: Any, expected: set[str]) -> None:
    if not isinstance(content, dict):
        raise PolicyError(f"{section} must be a mapping")
    if wrong := sorted(expected ^ set(content)):
        raise PolicyError(f"{section}: missing or unknown {', '.join(map(repr, wrong))}")


def _number(what: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
        raise PolicyError(f"{what} must be a number that is not negative, not {value!r}")
    return float(value)
