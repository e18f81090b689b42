"""The lines of the ledger's chain of signatures: what each kind holds, and how a line is read.

Anybody who can write to the ledger can append a line, so a line is read by a strict schema, and one that does not fit
is ignored. A line that fits proves nothing by itself: `privacy.release.approval` judges signatures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib import resources
from typing import Annotated, Any, ClassVar, Literal, Self, TypeAlias

import jinja2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter

from privacy.release.canonical import compute_sha256, encode_canonical_json, hash_json
from privacy.release.policy import SignOff, format_public_key, parse_public_key

Request: TypeAlias = Mapping[str, Any]
"""The content of a signature, JSON-ready: `stage`, `release`, and what would be done."""

CHANGE_OF_PEOPLE = "people"
"""The stage of a request that changes who may sign."""
WITHDRAWAL = "withdrawal"
"""The stage of a request that tells readers that a release is withdrawn, and why."""
TEXT_PAGES = (CHANGE_OF_PEOPLE, WITHDRAWAL)
"""Stages whose page is a few lines of text, made from the request alone."""
_STRICT = ConfigDict(extra="forbid", strict=True)


class _RequestedCohort(BaseModel, extra="allow", strict=True):
    plans: dict[str, Any] = {}
    inputs: dict[str, Any] = {}


class _Request(BaseModel, extra="allow", strict=True):
    stage: Literal["measurement", "publication", "withdrawal", "people"]
    release: str
    reason: str | None = None
    cohorts: dict[str, _RequestedCohort] = {}


def _check_request(request: Request) -> Request:
    parsed = _Request.model_validate(request)
    if parsed.stage == WITHDRAWAL and parsed.reason is None:
        raise ValueError("a withdrawal has a reason")
    encode_canonical_json(request)  # refuses numbers that have no canonical form
    return request


@dataclass(frozen=True)
class Signature:
    """Signed content, with the public `key` and the signature (hexadecimal)."""

    purpose: ClassVar[bytes]
    """Prefix of every message, so that a signature of another kind by the same key cannot be mistaken for this one."""
    key: str
    signature: str
    __pydantic_config__ = _STRICT

    @property
    def message(self) -> bytes:
        """The bytes that are signed, the same for every signer."""
        content = asdict(self)
        return self.purpose + encode_canonical_json(
            {name: content[name] for name in content.keys() - {"kind", "key", "signature"}}
        )

    @property
    def is_genuine(self) -> bool:
        """True if the signature was made by the key."""
        try:
            parse_public_key(self.key).verify(bytes.fromhex(self.signature), self.message)
        except (ValueError, TypeError, InvalidSignature):
            return False
        return True

    def sign_with(self, key: Ed25519PrivateKey) -> Self:
        """Return the content, signed with a private key."""
        return replace(self, key=format_public_key(key.public_key()), signature=key.sign(self.message).hex())


@dataclass(frozen=True)
class Approval(Signature):
    """One person's signature on a request for `cohort`; `sheet_sha256` is the hash of the page that was read."""

    request: Annotated[Request, AfterValidator(_check_request)]
    cohort: str
    sheet_sha256: str
    kind: Literal["approval"] = field(default="approval", kw_only=True)

    purpose: ClassVar[bytes] = b"readiness sign-off 1\n"


@dataclass(frozen=True)
class Allowed(Signature):
    """What the pipeline allowed: the lines of the approvals that counted, and the page as it was then.

    Signed with the key that signs releases, because only the pipeline knows what the page was at the time.
    """

    approvals: Sequence[str]
    request_sha256: str
    sheet_sha256: str
    kind: Literal["allowed"] = field(default="allowed", kw_only=True)

    purpose: ClassVar[bytes] = b"readiness allowed 1\n"


@dataclass(frozen=True)
class Acceptance(Signature):
    """One person's signature on holds of this ledger's home; `sheet_sha256` is the hash of the list as read."""

    ledger: str
    holds: Sequence[Mapping[str, str]]
    reason: str
    sheet_sha256: str
    kind: Literal["acceptance"] = field(default="acceptance", kw_only=True)

    purpose: ClassVar[bytes] = b"readiness acceptance 1\n"


@dataclass(frozen=True)
class ReleaseKey(Signature):
    """The key that signs releases, declared to this `ledger` under its own signature, which nobody can forge."""

    ledger: str
    kind: Literal["release key"] = field(default="release key", kw_only=True)

    purpose: ClassVar[bytes] = b"readiness release key 1\n"


@dataclass(frozen=True)
class RecordedPeople(SignOff):
    """Who may sign, as the policy named them."""

    kind: Literal["people"] = field(default="people", kw_only=True)


@dataclass(frozen=True)
class DemonstrationKey:
    """The public key that signs in a demonstration."""

    key: str
    kind: Literal["demonstration"] = field(default="demonstration", kw_only=True)
    __pydantic_config__ = _STRICT


@dataclass(frozen=True)
class RealExtract:
    """An extract that `readiness synth` did not write."""

    extract: str
    kind: Literal["not synthetic"] = field(default="not synthetic", kw_only=True)
    __pydantic_config__ = _STRICT


@dataclass(frozen=True)
class Beginning:
    """The first line of a ledger, whose hash identifies it."""

    random: str
    kind: Literal["ledger"] = field(default="ledger", kw_only=True)
    __pydantic_config__ = _STRICT


Line: TypeAlias = (
    Approval | Allowed | Acceptance | ReleaseKey | RecordedPeople | DemonstrationKey | RealExtract | Beginning
)
_LINE: TypeAdapter[Line] = TypeAdapter(Annotated[Line, Field(discriminator="kind")])


def parse_line(content: str) -> Line | None:
    """Return a line, or None if its content is of no known kind or not as that kind has it."""
    try:
        return _LINE.validate_json(content)
    except ValueError:
        return None


def render_text_page(request: Request) -> str:
    """Return the page that people read before they sign a request of `TEXT_PAGES`."""
    template = jinja2.Template(
        resources.files("privacy.release").joinpath(f"{request['stage']}.txt").read_text(encoding="utf-8"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return template.render(request=request, request_sha256=hash_json(request))


def hash_text_page(request: Request) -> str:
    """Return the SHA-256 of the page about a request of `TEXT_PAGES`."""
    return compute_sha256(render_text_page(request).encode())
