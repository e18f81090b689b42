"""Measurement files are canonical, private, written completely, and accepted only if everything agrees."""

import json
import stat

import numpy as np
import pytest

from privacy.release import session
from privacy.release.canonical import compute_sha256, encode_canonical_json
from privacy.release.mechanism import OpenDPNoise, compute_charge, measure
from privacy.release.session import StoredMeasurement, StoreError
from tests.support.release.examples import make_small_plan

KEY = ("202425", "2026.11.0", "small")


@pytest.fixture
def written(tmp_path):
    plan = make_small_plan()
    counts = {a: np.full(plan.family.get_shape(a), 3, dtype=np.int64) for a in plan.sigmas}
    measurement = measure(plan, counts, OpenDPNoise(compute_charge(plan)))
    sha256 = session.keep_drawn(tmp_path, StoredMeasurement(*KEY, "a" * 64, "b" * 64, measurement))
    session.promote_drawn(tmp_path, *KEY, "b" * 64)
    return tmp_path, measurement, sha256


def test_what_is_written_is_read(written):
    root, measurement, sha256 = written
    path = root / "measurements" / "cohort=202425" / "release=2026.11.0" / "small.json"
    stored = session.read_measurement(root, *KEY, plan=make_small_plan(), sha256=sha256)
    assert sha256 == compute_sha256(path.read_bytes())
    assert (stored.input_mac, stored.ledger_entry) == ("a" * 64, "b" * 64)
    assert stored.measurement.rho == measurement.rho
    assert all((stored.measurement.noisy[a] == noisy).all() for a, noisy in measurement.noisy.items())
    assert path.read_bytes().rstrip(b" ") == encode_canonical_json(json.loads(path.read_bytes()))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["small.json"]


def test_nothing_is_ever_replaced(written):
    root, measurement, _ = written
    kept = session.build_measurement_path(root, *KEY).read_bytes()
    session.keep_drawn(root, StoredMeasurement(*KEY, "a" * 64, "c" * 64, measurement))
    session.promote_drawn(root, *KEY, "c" * 64)
    assert session.build_measurement_path(root, *KEY).read_bytes() == kept


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b.update(noise_source="none (test)"), "noise from 'none \\(test\\)'"),
        (lambda b: b.update(plan_sha256="0" * 64), "another plan"),
        (lambda b: b.update(release="2026.11.1"), "another family, release or cohort"),
        (lambda b: b["marginals"].pop(), "does not fit its plan"),
        (lambda b: b["marginals"][0].update(noisy=[1, 2]), "not a measurement file"),
        (lambda b: b.pop("rho"), "not a measurement file"),
    ],
)
def test_a_file_that_does_not_agree_is_refused(written, change, message):
    """Its hash is computed again, as someone who knows the format would."""
    root, _, _ = written
    path = session.build_measurement_path(root, *KEY)
    body = json.loads(path.read_bytes())["measurement"]
    change(body)
    rewritten = {"measurement": body, "sha256": compute_sha256(encode_canonical_json(body))}
    path.write_bytes(encode_canonical_json(rewritten))
    with pytest.raises(StoreError, match=message):
        session.read_measurement(root, *KEY, plan=make_small_plan())


def test_an_altered_or_missing_file_is_refused(written):
    root, _, _ = written
    path = session.build_measurement_path(root, *KEY)
    with pytest.raises(StoreError, match="ledger recorded"):
        session.read_measurement(root, *KEY, plan=make_small_plan(), sha256="0" * 64)
    altered = path.read_bytes().replace(b'"input_mac":"a', b'"input_mac":"c')
    for content, message in ((altered, "was altered"), (b"[", "not a measurement file")):
        path.write_bytes(content)
        with pytest.raises(StoreError, match=message):
            session.read_measurement(root, *KEY, plan=make_small_plan())
    path.unlink()
    with pytest.raises(StoreError, match="not in the store"):
        session.read_measurement(root, *KEY, plan=make_small_plan())


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden"])
def test_a_name_that_would_leave_its_folder_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="may hold only"):
        session.build_measurement_path(tmp_path, "202425", name, "small")
