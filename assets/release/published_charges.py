"""Charges that bundles and stored measurements state, which the budget ledger must have.

Published bundles anchor the budget ledger: a charge that a bundle states but the ledger lacks blocks further charges
and releases. A ledger that was lost, replaced or restored from an old copy would hand out budget that bundles have
already spent. So would a second home, with its own ledger, that publishes to the same place as the first.
"""

from collections.abc import Sequence
from functools import partial

from assets.home.paths import CohortStore, Home
from assets.home.processing_log import find_last_restore
from ndl_export.facts.bundle_reader import Anchor, UnreadableAnchor, fetch_anchors, read_anchors
from ndl_export.facts.release_facts import index_cohort_entries
from ndl_export.files.signing import compute_fingerprint, get_public_pem
from ndl_export.files.stores import open_store
from privacy.doors.environment import get_settings
from privacy.keys import KeyRing
from privacy.release.ledger import LedgerCorrupt, StatedCharge
from privacy.release.policy import Stage
from privacy.release.session import settle


def read_published_charges(
    home: Home, keys: KeyRing | None = None, excluding: str | None = None, place: str | None = None
) -> list[StatedCharge]:
    """Return the charges stated by published bundles, except version `excluding`.

    Bundles are read from the release directory and the `place` of publication, by default that of the settings. Without
    `keys`, it does not check who signed the bundles. Raises `LedgerCorrupt` if another
    installation did, `UnreadableAnchor`, and `StoreError` if the place of publication cannot be read.
    """
    place = place or get_settings().publish_to
    anchors = [*read_anchors(home.release, excluding), *(fetch_anchors(open_store(place)) if place else ())]
    if keys is not None:
        _check_signed(anchors, compute_fingerprint(get_public_pem(keys.signing_key)))
    return list_stated_charges(anchors)


def settle_charges(store: CohortStore, keys: KeyRing | None = None) -> None:
    """Finish what dead processes left (`privacy.release.session.settle`). Raises as it and `read_published_charges`."""
    published = partial(read_published_charges, store.home, keys)
    settle(store.home.open_ledger(), store.home.restricted, store.cohort, published)


def check_known(home: Home, anchors: Sequence[Anchor]) -> None:
    """Raise `LedgerCorrupt` unless the ledger has these charges and one key signed all bundles."""
    signed = [anchor.fingerprint for anchor in anchors if anchor.fingerprint]
    _check_signed(anchors, next(iter(signed), None))
    if not home.has_ledger:
        raise LedgerCorrupt(f"there is no ledger at {home.ledger}: restore it from a backup; nothing is published")
    home.open_ledger().check_known(list_stated_charges(anchors))


def explain_unconfirmed_ledger(home: Home, excluding: str | None = None) -> str:
    """Return why charges may be missing from the ledger; empty if nothing suggests it, or people have signed since."""
    ledger, restored = home.open_ledger(), find_last_restore(home)
    signed = [each.request for each in home.read_sign_offs().approvals if each.request["stage"] == Stage.MEASUREMENT]
    here = {"place": ledger.find_place(), "restored": restored.entry_hash if restored else ""}
    if any(here.items() <= request.items() and request["release"] != excluding for request in signed):
        return ""
    if restored:
        why = f"This home was restored on {restored.time[:10]} ({restored.note})."
    elif any(request.get("place") != here["place"] for request in signed):
        why = "This ledger is a copy, or was moved: earlier signatures were given for it at another place."
    else:
        return ""
    return (
        f"{why} Anything that was measured elsewhere since, and is in no bundle found here, is missing from the ledger:"
        " it would be drawn and paid for a second time. Sign only if you know that nothing was."
    )


def list_stated_charges(anchors: Sequence[Anchor]) -> list[StatedCharge]:
    """Return the charge of each family of each bundle. Raises `UnreadableAnchor`."""
    found = []
    for anchor in anchors:
        try:
            cohorts = index_cohort_entries(anchor.statement)
            for family in anchor.statement["families"]:
                own = cohorts[family["cohort"]]
                measured_in = family.get("measured_in", own["measured_in"])
                about = (family["family"], family["plan_sha256"], family["ledger_entry"])
                signed = tuple(approval["ledger_line"] for approval in own["approvals"])
                found.append(StatedCharge(anchor.place, family["cohort"], measured_in, *about, signed))
        except (KeyError, TypeError):
            raise UnreadableAnchor(
                f"{anchor.place}: its privacy statement does not say what it was charged; put back a copy of the bundle"
                " as it was published"
            ) from None
    return found


def _check_signed(anchors: Sequence[Anchor], key: str | None) -> None:
    for anchor in anchors:
        if anchor.fingerprint not in (None, key):
            raise LedgerCorrupt(
                f"{anchor.place} is signed with another key than this installation's: it comes from another home, whose"
                " ledger counts what it cost. Publish from there, or put the right signing key and ledger back; until"
                " then nothing is charged or published"
            )
