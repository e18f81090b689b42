"""The privacy policy, `privacy/policy.yaml`, as a checked value: budgets, shares, thresholds decided beforehand, and
who signs a release off."""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from decimal import ROUND_FLOOR, Decimal
from enum import StrEnum
from functools import lru_cache
from operator import itemgetter
from pathlib import Path
from typing import Any

import yaml
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from privacy.doors.environment import settings
from privacy.doors.typed import is_line
from privacy.release.canonical import canonical_json, sha256_hex

DEFAULT_PATH = Path(__file__).parent.parent / "policy.yaml"
VERSION = 1
NANO = Decimal("1e-9")


class PolicyError(ValueError):
    """A policy file that cannot be followed."""


@dataclass(frozen=True)
class Reliability:
    """Public thresholds. Half-widths are in points per hundred of the range a ratio can have.

    A ratio is flagged `u` where its half-width is above `unreliable_half_width`, and withheld where it is above
    `withheld_half_width` or the noisy denominator is under `denominator_standard_errors` standard errors.
    """

    unreliable_half_width: float = 5.0
    withheld_half_width: float = 15.0
    denominator_standard_errors: float = 3.0

    def for_figures(self, everywhere: bool) -> Reliability:
        """Return the thresholds of figures that a release is about (`everywhere`); all others are withheld where those
        would be flagged."""
        return self if everywhere else replace(self, withheld_half_width=self.unreliable_half_width)


@dataclass(frozen=True)
class MinimumAccuracy:
    """Of all rates that are published, `share_of_rates` must have a 95% half-width of at most `half_width_points`, as
    expected before any budget is spent."""

    half_width_points: float
    share_of_rates: float


class Stage(StrEnum):
    """The points at which a release waits for people."""

    MEASUREMENT = "measurement"
    PUBLICATION = "publication"


@dataclass(frozen=True)
class Person:
    """Somebody who may sign: `key` is an Ed25519 public key, base64 of its DER, `until` the last day on which it
    counts."""

    name: str
    role: str
    key: str
    public: bool
    until: dt.date | None = None

    def may_sign(self, day: str) -> bool:
        """Return whether a signature counts on that day, ISO 8601."""
        return self.until is None or day <= self.until.isoformat()


@dataclass(frozen=True)
class SignOff:
    """How many different people a release needs at each point, and who they may be."""

    persons: Mapping[str, int]
    people: tuple[Person, ...]

    def __post_init__(self) -> None:
        names = [" ".join(person.name.casefold().split()) for person in self.people]
        if len(set(names)) < len(names) or len({person.key for person in self.people}) < len(names):
            raise PolicyError("sign_off.people: list each person once, with one key that nobody else has")
        most = max(self.persons.values())
        if self.people and len(self.people) < most:
            raise PolicyError(f"sign_off: {most} persons must sign, and only {len(self.people)} may")

    def who_has(self, key: str) -> Person | None:
        """Return the person whose public key this is."""
        return next((person for person in self.people if person.key == key), None)

    def content(self) -> dict[str, Any]:
        """Return the same as the policy file has it under `sign_off`, JSON-ready; `parse` reads it back."""
        people = [asdict(person) | {"until": str(person.until or "")} for person in self.people]
        return {"people": sorted(people, key=itemgetter("key")), "persons": dict(self.persons)}

    @classmethod
    def parse(cls, content: Any) -> SignOff:
        """Read what `content` gave. Raises PolicyError."""
        _check_keys("sign_off", content, {"persons", "people"})
        try:
            people = [
                {**person, "until": dt.date.fromisoformat(person["until"]) if person["until"] else None}
                for person in content["people"]
            ]
        except (TypeError, KeyError, ValueError):
            raise PolicyError("sign_off.people is not as the ledger records people") from None
        return _sign_off({**content, "people": people})


@dataclass(frozen=True)
class Account:
    """Budget in rho (zCDP) of one unit: per cohort (`cap_rho`), and per family of one release (`split`)."""

    cap_rho: float
    split: Mapping[str, float]


@dataclass(frozen=True)
class Policy:
    """Budget by unit, what one row of a table stands for, and public thresholds.

    `weights` say how much a cell of each kind counts in the plan; `regions_share` is the share of a family's budget for
    regions, where they are measured; `review_rho` the budget of a clerical review of links.
    """

    accounts: Mapping[str, Account]
    delta: float
    weights: Mapping[str, float]
    regions_share: float
    review_rho: float
    minimum_accuracy: Mapping[str, MinimumAccuracy]
    reliability: Reliability
    sign_off: SignOff

    def __post_init__(self) -> None:
        if not 0 < self.delta < 1:
            raise PolicyError(f"delta must lie between 0 and 1, not {self.delta}")
        if not self.split:
            raise PolicyError("the split names no family")
        if len(self.split) < sum(len(account.split) for account in self.accounts.values()):
            raise PolicyError("a family is in the split of two units")
        for unit, account in self.accounts.items():
            for what, rho in (("cap_rho", account.cap_rho), *account.split.items()):
                if not rho > 0:
                    raise PolicyError(f"{unit}: {what}: rho must be positive, not {rho}")
            spent = sum(Decimal(repr(rho)) for rho in account.split.values())
            if spent > Decimal(repr(account.cap_rho)):
                raise PolicyError(
                    f"{unit}: one release would spend rho {spent}, more than the cap of {account.cap_rho}"
                )
        for kind, weight in self.weights.items():
            if not weight > 0:
                raise PolicyError(f"weights.{kind} must be positive, not {weight}")
        if not self.review_rho > 0:
            raise PolicyError(f"review_rho must be positive, not {self.review_rho}")
        if not 0 < self.regions_share < 1:
            raise PolicyError(f"regions_share must lie between 0 and 1, not {self.regions_share}")
        if set(self.minimum_accuracy) != set(self.split):
            raise PolicyError("minimum_accuracy must name the families of the split, and no other")
        for family, minimum in self.minimum_accuracy.items():
            if not 0 < minimum.share_of_rates <= 1:
                raise PolicyError(f"minimum_accuracy.{family}.share_of_rates must lie between 0 and 1")
        if self.reliability.withheld_half_width < self.reliability.unreliable_half_width:
            raise PolicyError("reliability: a rate cannot be withheld before it is flagged")

    def __hash__(self) -> int:
        return hash(self.sha256)

    @property
    def sha256(self) -> str:
        """SHA-256 of what the policy says of budget and accuracy; who signs is no part of it."""
        content = asdict(self)
        del content["sign_off"]
        return sha256_hex(canonical_json(content))

    @property
    def split(self) -> dict[str, float]:
        """Budget of every family in one release, whatever its unit."""
        return {family: rho for account in self.accounts.values() for family, rho in account.split.items()}

    def scaled(self, share: float) -> Policy:
        """Return the policy of a release that spends a share of the split, over 0 and at most 1; whole nano-rho,
        rounded down.

        Raises PolicyError for another share, or one so small that a family would have nothing.
        """
        if not 0 < share <= 1:
            raise PolicyError(f"a release spends a share of the policy's split, over 0 and at most 1, not {share:g}")

        def scaled(rho: float) -> float:
            return float((Decimal(repr(rho)) * Decimal(repr(share))).quantize(NANO, ROUND_FLOOR))

        accounts = {
            unit: replace(account, split={family: scaled(rho) for family, rho in account.split.items()})
            for unit, account in self.accounts.items()
        }
        return replace(self, accounts=accounts)

    def rho(self, family: str) -> float:
        """Return the budget of a family in one release. Raises PolicyError where the policy gives it none."""
        try:
            return self.split[family]
        except KeyError:
            raise PolicyError(f"the privacy policy gives family {family!r} no budget") from None

    def unit_of(self, family: str) -> str:
        """Return the unit whose account a family is charged to. Raises PolicyError where the policy gives it no
        budget."""
        self.rho(family)
        return next(unit for unit, account in self.accounts.items() if family in account.split)

    def weight(self, kind: str) -> float:
        """Return the weight of a kind of cell in the plan. Raises PolicyError where the policy gives it none."""
        try:
            return self.weights[kind]
        except KeyError:
            raise PolicyError(f"the privacy policy gives cells of kind {kind!r} no weight") from None


def load_policy(path: Path | None = None) -> Policy:
    """Read and check a policy file, by default the installation's own or else the project's. Raises PolicyError naming
    what is missing, unknown or out of range."""
    path = path or settings().policy or DEFAULT_PATH
    try:
        content = _content(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        raise PolicyError(f"{path} is not a readable YAML file") from None
    expected = {"version", *(field.name for field in fields(Policy))}
    _check_keys("policy", content, expected)
    if content["version"] != VERSION:
        raise PolicyError(f"this software reads policy version {VERSION}, not {content['version']!r}")
    for section, what in (
        ("accounts", "units to their budgets"),
        ("weights", "kinds of cells to weights"),
        ("minimum_accuracy", "families to limits"),
    ):
        if not isinstance(content[section], dict):
            raise PolicyError(f"{section} must map {what}")
    return Policy(
        accounts={unit: _account(f"accounts.{unit}", account) for unit, account in content["accounts"].items()},
        delta=_number("delta", content["delta"]),
        weights={kind: _number(f"weights.{kind}", weight) for kind, weight in content["weights"].items()},
        regions_share=_number("regions_share", content["regions_share"]),
        review_rho=_number("review_rho", content["review_rho"]),
        minimum_accuracy={
            family: MinimumAccuracy(**_numbers(f"minimum_accuracy.{family}", minimum, MinimumAccuracy))
            for family, minimum in content["minimum_accuracy"].items()
        },
        reliability=Reliability(**_numbers("reliability", content["reliability"], Reliability)),
        sign_off=_sign_off(content["sign_off"]),
    )


def _account(where: str, content: Any) -> Account:
    _check_keys(where, content, {field.name for field in fields(Account)})
    if not isinstance(content["split"], dict):
        raise PolicyError(f"{where}.split must map families to rho")
    split = {family: _number(f"{where}.split.{family}", rho) for family, rho in content["split"].items()}
    return Account(_number(f"{where}.cap_rho", content["cap_rho"]), split)


@lru_cache(maxsize=4)
def _content(text: str) -> Any:
    return yaml.safe_load(text)


_MOST_PERSONS = 2
_LONGEST_TEXT = 100


def _sign_off(content: Any) -> SignOff:
    _check_keys("sign_off", content, {"persons", "people"})
    _check_keys("sign_off.persons", content["persons"], set(Stage))
    for stage, number in content["persons"].items():
        if type(number) is not int or not 1 <= number <= _MOST_PERSONS:
            raise PolicyError(f"sign_off.persons.{stage} must be 1 or {_MOST_PERSONS}")
    if not isinstance(content["people"], list):
        raise PolicyError("sign_off.people must be a list")
    people = (_person(f"sign_off.people, entry {place}", entry) for place, entry in enumerate(content["people"], 1))
    return SignOff(dict(content["persons"]), tuple(people))


def _person(where: str, content: Any) -> Person:
    """Parse a person. Messages name the entry by its place: they may be logged, and a name must not be."""
    _check_keys(where, {"until": None, **content} if isinstance(content, dict) else content, _PERSON)
    for what in ("name", "role"):
        text = content[what]
        if not isinstance(text, str) or not is_line(text) or len(text) > _LONGEST_TEXT:
            raise PolicyError(f"{where}: {what} must be one line of at most {_LONGEST_TEXT} characters")
    until = content.get("until")
    if until is not None and type(until) is not dt.date:
        raise PolicyError(f"{where}: until must be a day such as 2027-08-31")
    if not isinstance(content["public"], bool):
        raise PolicyError(f"{where}: public must be true or false")
    return Person(content["name"], content["role"], _public_key(where, content["key"]), content["public"], until)


_PERSON = {field.name for field in fields(Person)}


def _public_key(where: str, text: Any) -> str:
    try:
        return public_text(public_key(str(text)))
    except ValueError:
        raise PolicyError(f"{where}: key must be as `readiness keys approver` prints it") from None


def public_key(text: str) -> Ed25519PublicKey:
    """Return the public key that the policy has as `text`. Raises ValueError."""
    try:
        key = serialization.load_der_public_key(base64.b64decode(text, validate=True))
    except UnsupportedAlgorithm:
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("not an Ed25519 public key")
    return key


def public_text(key: Ed25519PublicKey) -> str:
    """Return a public key as the policy has it: base64 of its DER, which is what PEM holds between its lines."""
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(der).decode("ascii")


def _numbers(section: str, content: Any, kind: type[Any]) -> dict[str, float]:
    _check_keys(section, content, {field.name for field in fields(kind)})
    return {name: _number(f"{section}.{name}", value) for name, value in content.items()}


def _check_keys(section: str, content: Any, expected: set[str]) -> None:
    if not isinstance(content, dict):
        raise PolicyError(f"{section} must be a mapping")
    if wrong := sorted(expected ^ set(content)):
        raise PolicyError(f"{section}: missing or unknown {', '.join(map(repr, wrong))}")


def _number(what: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
        raise PolicyError(f"{what} must be a number that is not negative, not {value!r}")
    return float(value)
