"""Sharing agreements as files: one YAML file per council, with every mistake in it reported at once.

`draft` returns a starting file with a comment on each line; docs/returns.md explains all of it.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from privacy.doors import settings_file as settings
from privacy.doors.age import is_recipient
from privacy.returns.agreement import (
    NOT_RECORDED,
    OTHERS_NEED,
    Agreement,
    Disclosure,
    Fact,
    First,
    NewChildren,
    Recipient,
    Status,
)
from privacy.services import SERVICE_NAMES
from sources.reference.places import load_places, resolve

_LONGEST_DAYS, _MOST_DELIVERIES = 366, 12
_NONE = "none"
"""Written in place of facts to disclose nothing."""
_DRAFT = Path(__file__).with_name("agreement_draft.yaml")
FACT_NAMES = tuple(fact.value for fact in Fact)


class InvalidAgreement(settings.InvalidSettings):
    """Raised if an agreement file cannot be used."""


def load_all(folder: Path) -> dict[str, Agreement]:
    """Return the agreements in a folder, by council.

    Raises `InvalidAgreement` if any cannot be used, or if two services have the same key: each could read the other's
    returns.
    """
    if not folder.is_dir():
        raise InvalidAgreement([settings.Problem(str(folder), 1, 1, "is no folder of sharing agreements")])
    found: dict[str, Agreement] = {}
    problems: list[settings.Problem] = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in (".yaml", ".yml"):
            try:
                found[path.stem] = load(path)
            except InvalidAgreement as invalid:
                problems += invalid.problems
    holders: dict[str, str] = {}
    for council, agreement in found.items():
        for service, recipient in agreement.recipients.items():
            # Within one file the same is checked when it is read; this compares councils.
            holder = holders.setdefault(recipient.key, f"{council}/{service}")
            if holder != f"{council}/{service}":
                sentence = f"recipients.{service}.key: is the key of {holder} too; each service has a key of its own"
                problems.append(settings.Problem(f"{council}.yaml", 1, 1, sentence))
    if problems:
        raise InvalidAgreement(problems)
    return found


def load(path: Path) -> Agreement:
    """Read and check one agreement. Raises `InvalidAgreement` with every mistake in it."""
    return settings.read_settings(path, _File, InvalidAgreement, context=path.name).build_agreement()


def draft(council: str) -> str:
    """Return a starting file for a council; it is not valid until the TODOs are filled in."""
    text = _DRAFT.read_text(encoding="utf-8")
    return text.replace("COUNCIL", council).replace("FACTS", ", ".join(FACT_NAMES))


def _refuse_todo(text: Any) -> Any:
    if isinstance(text, str) and text.strip().startswith("TODO"):
        raise ValueError("is still to be filled in")
    return text


def _explain_key_fault(key: str) -> str | None:
    private = " and a private key belongs in no agreement" if key.upper().startswith("AGE-SECRET") else ""
    return None if is_recipient(key) else f"is no age public key: it starts with age1{private}"


def _explain_need(facts: frozenset[Fact]) -> str | None:
    if facts and OTHERS_NEED not in facts:
        return f"{', '.join(sorted(facts))} needs {OTHERS_NEED.value}; add it"
    return None


def _parse_none(content: Any) -> Any:
    if isinstance(content, list) and _NONE in content:
        if len(content) > 1:
            raise ValueError(f"{_NONE} cannot be combined with other facts")
        return []
    return content


_Written = Annotated[settings.Text, BeforeValidator(_refuse_todo)]
_Service = Annotated[str, settings.build_choice_validator(SERVICE_NAMES, "a service")]
_AUTHORITIES = settings.build_choice_validator(lambda: tuple(load_places()), "the name of an English authority")
_Authority = Annotated[str, _AUTHORITIES]
_IS_WHOLE = settings.build_fault_validator(_explain_need)
_Facts = Annotated[frozenset[Fact], _IS_WHOLE, settings.AsList]
_FactsOrNone = Annotated[frozenset[Fact], _IS_WHOLE, BeforeValidator(_parse_none), settings.AsList]


class _Recipient(settings.Settings):
    name: _Written
    key: Annotated[str, settings.build_fault_validator(_explain_key_fault), BeforeValidator(_refuse_todo)]


class _Disclosure(settings.Settings):
    teller: Annotated[_Service, Field(alias="from")]
    receiver: Annotated[_Service, Field(alias="to")]
    to_council: Annotated[_Authority | None, Field(alias="in")] = None
    facts: _Facts

    @model_validator(mode="after")
    def _is_recorded(self) -> Self:
        with settings.Faults() as faults:
            for fact, (services, lacking) in NOT_RECORDED.items():
                if fact in self.facts and self.teller in services:
                    rule = f"the extracts of {self.teller} record no {lacking}; leave {fact.value} out"
                    faults.add(("facts",), rule)
        return self


class _NewChildren(settings.Settings):
    after_days: Annotated[int, Field(ge=0, le=_LONGEST_DAYS)] = NewChildren.after_days
    after_deliveries: Annotated[int, Field(ge=1, le=_MOST_DELIVERIES)] = NewChildren.after_deliveries
    first_delivery: First = NewChildren.first_delivery
    until_then: _FactsOrNone = NewChildren.until_then
    without_number: _FactsOrNone = NewChildren.without_number

    @field_validator("until_then")
    @classmethod
    def _is_least(cls, facts: frozenset[Fact]) -> frozenset[Fact]:
        if not facts <= {Fact.KNOWN_TO}:
            raise ValueError(f"must be {_NONE} or {Fact.KNOWN_TO.value}")
        return facts


class _File(settings.Settings):
    """The keys of the file, as `Agreement` explains them."""

    council: settings.Text
    reference: _Written
    purpose: _Written
    legal_basis: _Written
    impact_assessment: _Written
    status: Status
    starts: Annotated[settings.Day, BeforeValidator(_refuse_todo)]
    expires: Annotated[settings.Day, BeforeValidator(_refuse_todo)]
    recipients: Annotated[Mapping[_Service, _Recipient], Field(min_length=1)]
    tells: Sequence[_Disclosure]
    accepts_from: Annotated[frozenset[_Authority], settings.AsList] = frozenset()
    new_children: _NewChildren = _NewChildren()

    def build_agreement(self) -> Agreement:
        tells = (Disclosure(**dict(each) | {"to_council": each.to_council or self.council}) for each in self.tells)
        converted = {
            "recipients": {service: Recipient(**dict(each)) for service, each in self.recipients.items()},
            "tells": tuple(tells),
            "new_children": NewChildren(**dict(self.new_children)),
        }
        return Agreement(**dict(self) | converted)

    @field_validator("council")
    @classmethod
    def _is_of_the_file(cls, name: str, info: ValidationInfo) -> str:
        # Agreements are found by file name, so a copied file must not pass for another council's.
        council = resolve(name).council
        if info.context != f"{council}.yaml":
            raise ValueError(f"is {council!r} and the file is {info.context}; call it {council}.yaml")
        return council

    @field_validator("expires")
    @classmethod
    def _is_not_before_start(cls, expires: dt.date, info: ValidationInfo) -> dt.date:
        starts = info.data.get("starts")
        if starts and expires < starts:
            raise ValueError(f"{expires} is before starts ({starts})")
        return expires

    @field_validator("recipients")
    @classmethod
    def _check_own_keys(cls, recipients: Mapping[str, _Recipient]) -> Mapping[str, _Recipient]:
        keys = [recipient.key for recipient in recipients.values()]
        with settings.Faults() as faults:
            for number, service in enumerate(recipients):
                if keys[number] in keys[:number]:
                    faults.add((service, "key"), "is another service's too; each service has a key of its own")
        return recipients

    @field_validator("tells")
    @classmethod
    def _check_flows(cls, tells: Sequence[_Disclosure], info: ValidationInfo) -> Sequence[_Disclosure]:
        council, seen = info.data.get("council"), set[tuple[str, str, str | None]]()
        with settings.Faults() as faults:
            for number, each in enumerate(tells):
                flow = each.teller, each.receiver, each.to_council or council
                if flow == (each.teller, each.teller, council):
                    sentence = f"{each.teller} of {council} tells itself; a service knows its own rows"
                    faults.add((number,), sentence)
                if flow in seen:
                    faults.add((number,), f"says again what {each.teller} tells; keep one")
                seen.add(flow)
        return tells

    @field_validator("accepts_from")
    @classmethod
    def _are_others(cls, councils: frozenset[str], info: ValidationInfo) -> frozenset[str]:
        if (own := info.data.get("council")) in councils:
            raise ValueError(f"{own} is the agreement's own council")
        return councils
