"""Sharing agreements for tests, written to files as a council would."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from privacy.doors.age import create_identity
from privacy.returns.agreement import NOT_RECORDED
from privacy.services import Fact

SERVICES = ("education", "settings", "health")
EVERY_FACT = {
    teller: [fact.value for fact in Fact if teller not in NOT_RECORDED.get(fact, ((), ""))[0]] for teller in SERVICES
}
FROM, UNTIL = "2020-01-01", "2099-12-31"
AT_ONCE = f"new_children: {{after_days: 0, without_number: [{', '.join(EVERY_FACT['health'])}]}}\n"
"""Terms under which every row may be disclosed as soon as it is ingested."""


class Recipients:
    """Keys of the councils' services, each created once."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._public = folder, dict[str, str]()

    def get_key(self, council: str, service: str) -> Path:
        self.read_public(council, service)
        return self.folder / f"{council}-{service}.key"

    def read_public(self, council: str, service: str) -> str:
        name = f"{council}-{service}"
        if name not in self._public:
            self._public[name] = create_identity(self.folder / f"{name}.key")
        return self._public[name]


def format_terms(teller: str, receiver: str, facts: Sequence[str], to_council: str | None = None) -> str:
    where = f", in: {to_council}" if to_council else ""
    return f"  - {{from: {teller}, to: {receiver}{where}, facts: [{', '.join(facts)}]}}\n"


def format_all_terms(facts: Mapping[str, Sequence[str]] = EVERY_FACT) -> str:
    """Return terms by which every service discloses `facts` (by disclosing service) to the others of its council."""
    return "".join(format_terms(a, b, facts[a]) for a in SERVICES for b in SERVICES if a != b)


def write(
    folder: Path,
    council: str,
    keys: Recipients,
    tells: str | None = None,
    *,
    status: str = "active",
    starts: str = FROM,
    expires: str = UNTIL,
    accepts_from: Sequence[str] = (),
    services: Sequence[str] = SERVICES,
    new_children: str = AT_ONCE,
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    recipients = "".join(
        f"  {service}:\n    name: {service} team of {council}\n    key: {keys.read_public(council, service)}\n"
        f"    contact: {{role: {service} on duty, telephone: 0113 496 0000, mail: {service}@{council}.example}}\n"
        for service in services
    )
    path = folder / f"{council}.yaml"
    path.write_text(
        f"council: {council}\nreference: ISA-{council}-1\npurpose: help before school\nlegal_basis: a duty to share\n"
        f"impact_assessment: DPIA-7\nstatus: {status}\nstarts: {starts}\nexpires: {expires}\n"
        f"recipients:\n{recipients}tells:\n{format_all_terms() if tells is None else tells}"
        + (f"accepts_from: [{', '.join(accepts_from)}]\n" if accepts_from else "")
        + new_children
    )
    return path
