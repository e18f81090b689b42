"""The privacy policy, `privacy/policy.yaml`: budgets, shares, thresholds fixed in advance, and who signs off."""

import base64
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from decimal import ROUND_FLOOR, Decimal
from enum import StrEnum
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from privacy.doors.environment import get_settings
from privacy.doors.settings_file import Day, InvalidSettings, build_fault_validator, read_settings
from privacy.doors.typed import is_line
from privacy.release.canonical import hash_json

DEFAULT_PATH = Path(__file__).parent.parent / "policy.yaml"
VERSION = 1
NANO = Decimal("1e-9")


_LONGEST_TEXT = 100
_NO_OTHER_KEYS = ConfigDict(extra="forbid", allow_inf_nan=False)
_Number: TypeAlias = Annotated[float, Field(ge=0)]
_Positive: TypeAlias = Annotated[float, Field(gt=0)]


class PolicyError(ValueError):
    """A policy that cannot be followed."""


@dataclass(frozen=True)
class Reliability:
    """Public thresholds. Half-widths, within the possible range, are in hundredths of that range.

    A ratio is flagged `u` if its half-width is above `unreliable_half_width`, and withheld if it is above
    `withheld_half_width` or the noisy denominator is under `denominator_standard_errors` standard errors. No figure
    about linked children is shown if `withheld_missed_links` of the links to a service are missed.
    """

    unreliable_half_width: float
    withheld_half_width: float
    denominator_standard_errors: float
    withheld_missed_links: Annotated[float, Field(gt=0, le=1)] = 1.0
    __pydantic_config__ = _NO_OTHER_KEYS


class Stage(StrEnum):
    """The points at which a release waits for people to sign."""

    MEASUREMENT = "measurement"
    PUBLICATION = "publication"


def parse_public_key(text: str) -> Ed25519PublicKey:
    """Return the public key written in the policy as `text`. Raises ValueError."""
    try:
        key = serialization.load_der_public_key(base64.b64decode(text, validate=True))
    except UnsupportedAlgorithm:
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("not an Ed25519 public key")
    return key


def format_public_key(key: Ed25519PublicKey) -> str:
    """Return a public key as the policy writes it: base64 of its DER, the body of a PEM file."""
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(der).decode("ascii")


def _normalise_approver_key(text: str) -> str:
    try:
        # Normalised, so that a key written in two ways is still one key.
        return format_public_key(parse_public_key(text))
    except ValueError:
        raise ValueError("must be as `readiness keys approver` prints it") from None


def _find_line_fault(text: str) -> str | None:
    sound = is_line(text) and len(text) <= _LONGEST_TEXT
    return None if sound else f"must be one line of at most {_LONGEST_TEXT} characters"


def _check_both_stages(persons: Mapping[str, int]) -> Mapping[str, int]:
    if set(persons) != set(Stage):
        raise ValueError(f"must have the keys {' and '.join(Stage)}, and no others")
    return persons


@dataclass(frozen=True)
class MinimumAccuracy:
    """The least share of published rates whose 95% half-width must be expected to be at most `half_width_points`."""

    half_width_points: _Number
    share_of_rates: Annotated[float, Field(gt=0, le=1)]
    __pydantic_config__ = _NO_OTHER_KEYS


@dataclass(frozen=True)
class Person:
    """A person who may sign; `key` is Ed25519, base64 of its DER, and `until` the last day on which it counts."""

    name: Annotated[str, build_fault_validator(_find_line_fault)]
    role: Annotated[str, build_fault_validator(_find_line_fault)]
    key: Annotated[str, AfterValidator(_normalise_approver_key)]
    public: bool
    until: Annotated[Day | None, BeforeValidator(lambda day: day or None)] = None
    __pydantic_config__ = _NO_OTHER_KEYS

    def may_sign(self, day: str) -> bool:
        """Return whether a signature counts on that day, ISO 8601."""
        return self.until is None or day <= self.until.isoformat()


@dataclass(frozen=True)
class SignOff:
    """How many different people a release needs at each stage, and who they may be."""

    persons: Annotated[Mapping[str, Annotated[int, Field(ge=1, le=2)]], AfterValidator(_check_both_stages)]
    people: tuple[Person, ...]
    __pydantic_config__ = _NO_OTHER_KEYS

    def __post_init__(self) -> None:
        # Two spellings of one name, or one key twice, would let a person count twice.
        names = [" ".join(person.name.casefold().split()) for person in self.people]
        if len(set(names)) < len(names) or len({person.key for person in self.people}) < len(names):
            raise PolicyError("sign_off.people: list each person once, with one key that nobody else has")
        most = max(self.persons.values())
        if self.people and len(self.people) < most:
            raise PolicyError(f"sign_off: {most} persons must sign, and only {len(self.people)} may")

    def build_document(self) -> dict[str, Any]:
        """Return the `sign_off` section of the policy file, JSON-ready; `parse` reads it back."""
        # In the order of the keys, so that another order in the policy is no change of people.
        people = [asdict(person) | {"until": str(person.until or "")} for person in self.people]
        return {"people": sorted(people, key=itemgetter("key")), "persons": dict(self.persons)}

    @classmethod
    def parse(cls, content: Any) -> "SignOff":
        """Read what `build_document` returned. Raises PolicyError."""
        try:
            return TypeAdapter(SignOff).validate_python(content)
        except ValidationError:
            raise PolicyError("sign_off is not as the ledger records people") from None


@dataclass(frozen=True)
class Account:
    """Budget in rho (zCDP) of one unit: per cohort (`cap_rho`), and per family of one release (`split`)."""

    cap_rho: _Number
    split: Mapping[str, _Number]
    __pydantic_config__ = _NO_OTHER_KEYS


@dataclass(frozen=True)
class Policy:
    """Budgets by unit (what one row of a table is about), and public thresholds.

    `weights` are the weights in the plan of each kind of cell; `regions_share` is the share of a family's budget spent
    on regions, if they are measured; `review_rho` is the budget of a clerical review of links.
    """

    accounts: Mapping[str, Account]
    delta: Annotated[float, Field(gt=0, lt=1)]
    weights: Mapping[str, _Positive]
    regions_share: Annotated[float, Field(gt=0, lt=1)]
    review_rho: _Positive
    minimum_accuracy: Mapping[str, MinimumAccuracy]
    reliability: Reliability
    sign_off: SignOff
    __pydantic_config__ = _NO_OTHER_KEYS

    def __post_init__(self) -> None:
        if not self.split:
            raise PolicyError("the split names no family")
        if len(self.split) < sum(len(account.split) for account in self.accounts.values()):
            raise PolicyError("a family is in the split of two units")
        for unit, account in self.accounts.items():
            for what, rho in (("cap_rho", account.cap_rho), *account.split.items()):
                if not rho > 0:
                    raise PolicyError(f"{unit}: {what}: rho must be positive, not {rho}")
            # Floats may add up to a little more than the same decimals, and so to more than the cap.
            spent = sum(Decimal(repr(rho)) for rho in account.split.values())
            if spent > Decimal(repr(account.cap_rho)):
                raise PolicyError(
                    f"{unit}: one release would spend rho {spent}, more than the cap of {account.cap_rho}"
                )
        if set(self.minimum_accuracy) != set(self.split):
            raise PolicyError("minimum_accuracy must name the families of the split, and no other")
        if self.reliability.withheld_half_width < self.reliability.unreliable_half_width:
            raise PolicyError("reliability: a rate cannot be withheld before it is flagged")

    def __hash__(self) -> int:
        return hash(self.sha256)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the policy's rules on budget and accuracy, leaving out who signs."""
        content = asdict(self)
        # A change of people is signed separately, and leaves signatures on a release valid.
        del content["sign_off"]
        return hash_json(content)

    @property
    def split(self) -> dict[str, float]:
        """Budget of every family in one release, across units."""
        return {family: rho for account in self.accounts.values() for family, rho in account.split.items()}

    def scale(self, share: float) -> "Policy":
        """Return the policy of a release that spends a share of the split, in whole nano-rho, rounded down."""
        if not 0 < share <= 1:
            raise PolicyError(f"a release spends a share of the policy's split, over 0 and at most 1, not {share:g}")

        def scale_rho(rho: float) -> float:
            # Down, so that shares that add up to 1 never spend more than the whole.
            return float((Decimal(repr(rho)) * Decimal(repr(share))).quantize(NANO, ROUND_FLOOR))

        accounts = {
            unit: replace(account, split={family: scale_rho(rho) for family, rho in account.split.items()})
            for unit, account in self.accounts.items()
        }
        return replace(self, accounts=accounts)

    def get_rho(self, family: str) -> float:
        """Return the budget of a family in one release. Raises PolicyError if the policy gives it none."""
        if family not in self.split:
            raise PolicyError(f"the privacy policy gives family {family!r} no budget")
        return self.split[family]

    def get_unit(self, family: str) -> str:
        """Return the unit whose account a family is charged to. Raises PolicyError if the policy gives it no budget."""
        self.get_rho(family)
        return next(unit for unit, account in self.accounts.items() if family in account.split)

    def get_weight(self, kind: str) -> float:
        """Return the weight of a kind of cell in the plan. Raises PolicyError if the policy gives it none."""
        if kind not in self.weights:
            raise PolicyError(f"the privacy policy gives cells of kind {kind!r} no weight")
        return self.weights[kind]


def load_policy(path: Path | None = None) -> Policy:
    """Read a policy file, by default the installation's or the project's. Raises PolicyError with every problem."""
    try:
        return read_settings(path or get_settings().policy or DEFAULT_PATH, _PolicyFile, InvalidSettings)
    except InvalidSettings as invalid:
        raise PolicyError(str(invalid)) from None


def _check_version(content: Any) -> Any:
    if not isinstance(content, dict) or content.get("version") != str(VERSION):
        raise ValueError(f"this software reads policy version {VERSION}; the file must say so under 'version'")
    return {key: value for key, value in content.items() if key != "version"}


_PolicyFile: Any = Annotated[Policy, BeforeValidator(_check_version)]
