from pathlib import Path

import pytest

from assets.release import fix_release
from privacy.keys import KeyRing
from tests.support.once import make_once
from tests.support.release.people import ANNA, BRAM, name_people


@pytest.fixture(scope="session")
def key_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key set with the key of a demonstration, which must not help where people are named."""
    made = make_once(tmp_path_factory, "set", lambda folder: KeyRing.create(folder / "keys", demonstration=True))
    return made / "keys"


@pytest.fixture(scope="session")
def keys(key_folder: Path) -> KeyRing:
    return KeyRing.load(key_folder)


@pytest.fixture
def people_sign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """People are named; the homes here have confidential tables, and no extracts that they were made from."""
    name_people(tmp_path, monkeypatch, [ANNA, BRAM])
    monkeypatch.setattr(fix_release, "_check_current_extracts", lambda *_: None)
