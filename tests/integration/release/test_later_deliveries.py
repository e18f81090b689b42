"""What arrives after a release was charged is for the next one: a charged release is finished and repeated as it was.

If only some families were drawn, the others are drawn from the same deliveries or not at all.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from assets.home.paths import Home
from assets.linkage.inputs import Extract, LinkageRecord, write_record
from assets.release import decision_sheet, fix_release, measure, requests_to_sign
from assets.release.fix_release import ReleaseOptions, describe_later_deliveries
from assets.release.release import CohortRelease, Release
from ndl_export.facts.bundle_reader import read_contents
from privacy.keys import KeyRing
from privacy.release.approval import WaitsForApproval
from privacy.release.ledger import ReleaseConflict
from sources.contracts import CONTRACTS
from tests.support.release.homes import COHORT, VERSION, build_quality, list_charges, make_home, note_taken
from tests.support.release.people import ANNA, BRAM, sign_page

COUNCILS, WITH_NEWCOMER = ["halton", "leeds"], ["halton", "leeds", "sefton"]


def _deliver(home: Home, mac: str, councils: Sequence[str] = COUNCILS) -> None:
    """Deliver and link extracts with this MAC; all but the first have half of the rows."""
    store = home.get_cohort(COHORT)
    extracts = {f"{council}/eyfsp": Extract(mac * 64, mac * 64) for council in COUNCILS}
    write_record(store, LinkageRecord(councils, dict.fromkeys(CONTRACTS, COUNCILS), extracts))
    for council in COUNCILS:
        rules = ("rows-fewer",) if mac != "1" else ()
        note_taken(home, build_quality(council, "eyfsp", 1000, mac * 64, *rules))
    if mac != "1":
        for path in store.linked.glob("*children.parquet"):
            rows = pq.read_table(path)
            pq.write_table(rows.slice(0, len(rows) // 2), path)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setattr(fix_release, "_check_current_extracts", lambda *_: None)
    home = make_home(tmp_path / "home", 200, COUNCILS)
    _deliver(home, "1")
    return home


def _measure(home: Home, keys: KeyRing, councils: Sequence[str] = COUNCILS) -> dict[tuple[str, str], Any]:
    return measure.measure_release(CohortRelease(home.get_cohort(COHORT), VERSION), keys, councils, ReleaseOptions())


@pytest.mark.usefixtures("people_sign")
def test_a_charged_release_is_signed_and_published_after_a_correction_and_a_new_council(
    home: Home, keys: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its page stays the same, so that its signatures count; a night later nothing is charged and nothing fails."""
    store, options = home.get_cohort(COHORT), ["approve", "--cohort", COHORT, "--release", VERSION]
    sign_page(home, options, ANNA)
    drawn, charged = _measure(home, keys), list_charges(home)
    with pytest.raises(WaitsForApproval):
        measure.publish_bundle(CohortRelease(store, VERSION), keys)
    request = requests_to_sign.build_publication_request(Release(home, VERSION))
    page = decision_sheet.render_sheet(home, request)
    _deliver(home, "2", WITH_NEWCOMER)
    assert decision_sheet.render_sheet(home, request) == page
    again = _measure(home, keys, WITH_NEWCOMER)
    assert [each.noisy["council",].tolist() for each in again.values() if ("council",) in each.noisy] == [
        each.noisy["council",].tolist() for each in drawn.values() if ("council",) in each.noisy
    ]
    assert "1 of 1" in sign_page(home, [*options, "--publish"], BRAM).output
    held = read_contents(home.held / VERSION)
    bundle = measure.publish_bundle(CohortRelease(store, VERSION), keys)
    assert read_contents(bundle) == held
    assert list_charges(home) == charged
    measure.record_verified(Release(home, VERSION), keys)
    assert measure.is_release_current(CohortRelease(store, VERSION), keys, ReleaseOptions())
    monkeypatch.setattr(fix_release.inputs, "read_delivery_macs", lambda *_: {f"{c}/eyfsp": "2" * 64 for c in COUNCILS})
    assert describe_later_deliveries(CohortRelease(store, VERSION), WITH_NEWCOMER) == (
        "Release 2026.11.0 stays as it was measured. halton/eyfsp, leeds/eyfsp came in, changed or left since then, and"
        " the next release of cohort 202425 will use what is there now."
    )


def _interrupt_after_first(home: Home, monkeypatch: pytest.MonkeyPatch, keys: KeyRing) -> None:
    """Measure one family; the process dies before the next."""
    real = measure.measure_family

    def interrupted(*arguments: Any) -> Any:
        if list_charges(home):
            raise KeyboardInterrupt
        return real(*arguments)

    with monkeypatch.context() as killed:
        killed.setattr(measure, "measure_family", interrupted)
        with pytest.raises(KeyboardInterrupt):
            _measure(home, keys)


def test_a_release_that_is_half_drawn_goes_on_from_the_same_deliveries_or_not_at_all(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = KeyRing.create(tmp_path / "keys", demonstration=True)
    _interrupt_after_first(home, monkeypatch, keys)
    (half,) = charged = list_charges(home)
    kept = {path: path.read_bytes() for path in home.get_cohort(COHORT).linked.iterdir()}
    _deliver(home, "2", WITH_NEWCOMER)
    with pytest.raises(
        ReleaseConflict,
        match=r"half measured: pupil was drawn, and health, parents was not\. halton/eyfsp, leeds/eyfsp came in, .*"
        r" No more budget was spent\. Put the earlier files back into landing and run release 2026\.11\.0 again",
    ):
        _measure(home, keys, WITH_NEWCOMER)
    assert list_charges(home) == charged
    for path, content in kept.items():
        path.write_bytes(content)
    _deliver(home, "1")
    _measure(home, keys)
    assert list_charges(home) == [half, (COHORT, VERSION, "health"), (COHORT, VERSION, "parents")]
