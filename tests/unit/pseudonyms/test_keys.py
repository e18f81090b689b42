"""Keys: what is refused, and that nothing of a key ever shows."""

import os
import pickle
import shutil
import stat
from pathlib import Path

import pytest

from privacy import keys
from privacy.keys import KeyProblem, KeyRing


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    KeyRing.create(tmp_path / "keys")
    return tmp_path / "keys"


def test_a_created_set_loads_is_private_and_is_never_replaced(directory: Path) -> None:
    ring = KeyRing.load(directory)
    assert set(ring.fingerprints) == {*keys.PIPELINE_KEYS, *keys.PAIRS}
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in directory.iterdir()} == {0o600}
    assert len(ring.signing_key.sign(b"x")) == 64
    with pytest.raises(KeyProblem, match=r"already holds linkage\.key"):
        KeyRing.create(directory)


def test_a_sender_needs_no_linker_key(tmp_path: Path) -> None:
    ring = KeyRing.create(tmp_path / "keys", at_sender=True)
    assert set(ring.fingerprints) == set(keys.SENDER_KEYS)
    assert not ring.has_key("linker")
    with pytest.raises(KeyProblem, match=r"linker\.key"):
        ring.derive_subkey("linker", "any")
    with pytest.raises(KeyProblem, match="missing"):
        KeyRing.load(tmp_path / "keys")
    with pytest.raises(KeyProblem, match=r"intake\.pub\.pem is missing; ask whoever runs the pipeline"):
        KeyRing.load(tmp_path / "keys", keys.SENDER)
    with pytest.raises(KeyProblem, match=r"row\.key is missing"):
        ring.rotate(tmp_path / "next")
    assert not (tmp_path / "next").exists()


def test_each_holder_has_what_it_needs_and_no_more(directory: Path) -> None:
    for file in ("tokens.pem", "signing.pem"):
        (directory / file).rename(directory.parent / file)
    intake = KeyRing.load(directory, keys.INTAKE)
    assert intake.get_private_key("intake")
    assert intake.get_public_key("tokens")
    with pytest.raises(KeyProblem, match=r"tokens\.pem is needed here"):
        intake.get_private_key("tokens")
    linkage = directory.parent / "linkage"
    linkage.mkdir(mode=0o700)
    (directory.parent / "tokens.pem").rename(linkage / "tokens.pem")
    assert KeyRing.load(linkage, keys.LINKAGE).get_private_key("tokens").public_key() == intake.get_public_key("tokens")


def test_the_key_of_a_demonstration_is_one_in_its_own_set_alone(directory: Path, tmp_path: Path) -> None:
    own = tmp_path / "demonstration"
    assert KeyRing.create(own, demonstration=True).demonstration_key
    assert KeyRing.load(own).demonstration_key
    assert KeyRing.load(own).rotate(tmp_path / "next").demonstration_key
    assert KeyRing.load(directory).demonstration_key is None
    shutil.copy(own / keys.DEMONSTRATION_FILE, directory)
    assert KeyRing.load(directory).demonstration_key is None
    shutil.copy(own / keys.SIGNING_FILE, directory)
    assert KeyRing.load(directory).demonstration_key is None


NOT_RANDOM = (
    *(b"\0" * 32, b"changeme-changeme-changeme-changeme!", bytes(range(32)), b"deadbeef" * 8),
    *(bytes(range(0, 160, 10)) * 2, b"The quick brown fox jumps over the lazy dog"),
)
NO_PEM = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
MISSING = "is missing; if keys were lost, restore their backup first"


@pytest.mark.parametrize(
    ("name", "content", "mode", "message"),
    [
        *(("linkage.key", content, 0o600, "not random") for content in NOT_RANDOM),
        ("upn.key", bytes.fromhex("9f31c07be25d4488aa17"), 0o600, "shorter than 32 bytes"),
        ("signing.pem", NO_PEM, 0o600, "not an Ed25519 private key"),
        *(("epoch", content, 0o600, "number of an epoch") for content in (b"", b"0", b"-1", b"two", b"1.5", b"\xff")),
        *(("nhs.key", None, mode, r"chmod 600 .*nhs\.key") for mode in (0o640, 0o604, 0o644, 0o660)),
        *((f"{key}.key", b"", 0, MISSING) for key in keys.PIPELINE_KEYS),
        *((name, b"", 0, MISSING) for name in ("signing.pem", "tokens.pem", "intake.pub.pem")),
    ],
)
def test_keys_that_are_refused_are_not_shown(
    directory: Path, name: str, content: bytes | None, mode: int, message: str
) -> None:
    path = directory / name
    if content is not None:
        path.write_bytes(content)
    path.chmod(mode) if mode else path.unlink()
    with pytest.raises(KeyProblem, match=message) as problem:
        KeyRing.load(directory)
    assert name in str(problem.value)
    assert len(content or b"") < 20 or (content or b"").decode("latin1") not in str(problem.value)


def test_raw_and_hexadecimal_files_hold_the_same_key(directory: Path) -> None:
    before = KeyRing.load(directory).fingerprints
    path = directory / "linkage.key"
    path.write_bytes(bytes.fromhex(path.read_text().strip()))
    assert KeyRing.load(directory).fingerprints == before


def test_subkeys_differ_by_key_and_purpose(directory: Path) -> None:
    ring = KeyRing.load(directory)
    made = {ring.derive_subkey(key, purpose) for key in keys.PIPELINE_KEYS for purpose in ("a", "b")}
    assert len(made) == 2 * len(keys.PIPELINE_KEYS)
    assert ring.derive_subkey("upn", "a") == KeyRing.load(directory).derive_subkey("upn", "a")


def test_a_ring_shows_nothing(directory: Path) -> None:
    ring = KeyRing.load(directory)
    shown = repr(ring) + str(ring)
    for key in keys.PIPELINE_KEYS:
        assert (directory / f"{key}.key").read_text().strip() not in shown
        assert ring.derive_subkey(key, "a").hex() not in shown
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(ring)


def test_rotation_makes_the_next_epoch_and_keeps_keys_that_are_not_about_people(directory: Path) -> None:
    old = KeyRing.load(directory)
    new = old.rotate(directory.parent / "next")
    assert (old.epoch, new.epoch, new.rotate(directory.parent / "third").epoch) == (1, 2, 3)
    same = {name for name in keys.PIPELINE_KEYS if old.fingerprints[name] == new.fingerprints[name]}
    assert same == set(keys.PIPELINE_KEYS) - set(keys.LINKED_UNDER) == {"input-mac", "row"}
    assert old.signing_key.sign(b"x") == new.signing_key.sign(b"x")
    assert KeyRing.load(directory).fingerprints == old.fingerprints
    with pytest.raises(KeyProblem, match="never replaced in place"):
        new.rotate(directory)


@pytest.mark.parametrize(
    ("mode", "owner", "user", "exposed"),
    [
        (0o600, 1000, 1000, False),
        (0o640, 1000, 1000, True),
        (0o440, 0, 1000, False),
        (0o640, 0, 0, True),
        (0o444, 0, 1000, True),
        (0o660, 0, 1000, True),
    ],
)
def test_a_mounted_secret_of_roots_may_be_readable_by_its_group(
    monkeypatch: pytest.MonkeyPatch, mode: int, owner: int, user: int, exposed: bool
) -> None:
    monkeypatch.setattr(keys.os, "geteuid", lambda: user)
    status = os.stat_result((0o100000 | mode, 0, 0, 1, owner, 0, 64, 0, 0, 0))
    assert keys._is_exposed(status) is exposed
