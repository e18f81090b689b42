"""Records the people who may sign in this home, from the first intake on, and copies them to the ledger.

Intake may run without a ledger, in its own code location. Two facts must survive until a release begins, and each is
written once to a file in the restricted zone: the people named in the policy at the first intake, and the first extract
that `readiness synth` did not write.
"""

import json
from pathlib import Path
from typing import Any

from assets.home.paths import Home
from privacy.doors import clock, files
from privacy.keys import KeyRing
from privacy.release.policy import SignOff, format_public_key
from privacy.release.signature_log import SignatureLog, refuse_simulated_date


def record_intake(home: Home, keys: KeyRing, not_synthetic: str = "") -> None:
    """Store the policy's people and the first real extract, once; if `keys` can sign, record them in the ledger too."""
    people = home.load_policy().sign_off
    is_new = people.people and _keep(home.first_people, people.build_document())
    if ((not_synthetic and _keep(home.first_real_extract, not_synthetic)) or is_new) and keys.can_sign:
        open_signature_log(home, keys)


def open_signature_log(home: Home, keys: KeyRing | None = None) -> SignatureLog:
    """Return the ledger's log of signatures.

    Signers, the first real extract and, if `keys` can sign, public keys are recorded in it first.
    """
    first = _read_kept(home.first_people)
    # people of the first intake come before those of the policy, because they must sign any change to the policy
    log = SignatureLog(home.open_ledger(), *([SignOff.parse(first)] if first else []), home.load_policy().sign_off)
    if extract := _read_kept(home.first_real_extract):
        log.record_real_extract(extract)
    if keys is not None and keys.can_sign:
        own = keys.demonstration_key
        log.record_keys(keys.signing_key, format_public_key(own.public_key()) if own else "")
    return log


def is_demonstration(home: Home) -> bool:
    """Return whether nobody is named as a signer, by the policy, the first intake or the ledger, and all is synthetic.

    Nothing is written: an installation without a ledger is judged by what it has taken in.
    """
    if home.load_policy().sign_off.people or home.first_people.exists() or home.first_real_extract.exists():
        return False
    return not home.has_ledger or home.read_sign_offs().recorded.may_be_demonstration


def check_clock(home: Home) -> None:
    """Raise `DateIsSimulated` if the date is simulated and the home is not a demonstration's."""
    if clock.is_simulated() and not is_demonstration(home):
        refuse_simulated_date()


def _keep(path: Path, content: Any) -> bool:
    """Write a file unless it exists, and return whether it was written."""
    if path.exists():
        return False
    files.write_json(path, content)
    return True


def _read_kept(path: Path) -> Any:
    return json.loads(path.read_bytes()) if path.exists() else None
