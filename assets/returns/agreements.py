"""Sharing agreements as files: one YAML file per council, with every mistake in it reported at once.

`draft` returns a starting file with a comment on each line; docs/returns.md explains all of it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from privacy.doors import settings_file as settings
from privacy.returns.agreement import Agreement, Disclosure
from privacy.services import Fact
from sources.reference.places import load_places, resolve

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
    return settings.read_settings(path, _AgreementFile, InvalidAgreement, context=path.name)


def draft(council: str) -> str:
    """Return a starting file for a council; it is not valid until the TODOs are filled in."""
    text = _DRAFT.read_text(encoding="utf-8")
    return text.replace("COUNCIL", council).replace("FACTS", ", ".join(FACT_NAMES))


_AUTHORITIES = settings.build_choice_validator(lambda: tuple(load_places()), "the name of an English authority")
_Authority = Annotated[str, _AUTHORITIES]


class _Disclosure(Disclosure):
    to_council: Annotated[_Authority | None, Field(alias="in")] = None


class _AgreementFile(Agreement):
    """An agreement between English authorities, in a file named after its council."""

    tells: Sequence[_Disclosure]
    accepts_from: Annotated[frozenset[_Authority], settings.AsList] = frozenset()

    @field_validator("council")
    @classmethod
    def _is_of_the_file(cls, name: str, info: ValidationInfo) -> str:
        # Agreements are found by file name, so a copied file must not pass for another council's.
        council = resolve(name).council
        if info.context != f"{council}.yaml":
            raise ValueError(f"is {council!r} and the file is {info.context}; call it {council}.yaml")
        return council
