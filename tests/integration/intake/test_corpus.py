"""Broken and odd extracts of every source and format: each row is kept or set aside, or the file stopped in words."""

import contextlib
import hashlib
import io
import logging
import os
import re
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from assets.home.paths import Home
from assets.intake.deliveries import ExtractQuality
from assets.intake.ingest import Intake
from privacy.doors import sealed
from privacy.keys import KeyRing
from sources.contracts import CONTRACTS
from sources.errors import ExtractStopped
from sources.extract.landing import find
from sources.reference.places import PILOT, load_places
from tests.support.intake import corpus_files, corpus_values
from tests.support.intake.corpus import COHORT, PLANTED, Case, format_text, surround
from tests.support.intake.numbered import read_numbered, read_numbered_quarantine

pytestmark = pytest.mark.slow
"""Some 120 cases, each taken in twice."""

CASES = [*corpus_values.iter_cases(), *corpus_files.iter_cases()]
_COUNCILS = [council for council in load_places() if council not in PILOT]
"""None of them has a council file."""
Outcome = ExtractQuality | ExtractStopped


@dataclass
class Seen:
    """A case in the landing folder and the home of its round, and what came of it, twice."""

    case: Case
    council: str
    landing: Path
    home: Home
    keys: KeyRing
    before: dict[str, str] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)
    after: list[dict[str, str]] = field(default_factory=list)

    @property
    def written(self) -> list[Path]:
        """Every file below home that is this case's."""
        own = [*self.home.root.rglob(f"{self.council}/**/*"), *self.home.root.rglob(f"{self.council}.*")]
        return [path for path in own if path.is_file()]

    def hash_files(self) -> dict[str, str]:
        """Hash of each file of the extract that is in place: rows, quarantine and quality result."""
        store = self.home.get_extract(self.case.source, COHORT, self.council)
        paths = (store.pseudonymised, store.tokens, store.quarantine, store.quality)
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths if path.exists()}

    def quarantined(self, *, kept: bool) -> dict[int, set[str]]:
        found: dict[int, set[str]] = {}
        lines = read_numbered_quarantine(self.home, self.keys, self.case.source, self.council)
        for line in lines.to_pylist():
            if line["row_kept"] == kept:
                found.setdefault(line["source_row"], set()).add(line["rule"])
        return found

    def kept(self) -> tuple[int, ...]:
        return tuple(read_numbered(self.home, self.keys, self.case.source, self.council)["source_row"].to_pylist())


@pytest.fixture(scope="module")
def taken(keys: KeyRing, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Seen], str]:
    """All cases by name, and everything that was printed or logged meanwhile."""
    with pytest.MonkeyPatch.context() as patch, _printed() as printed:
        patch.setattr("sources.extract.open.APART", False)  # so that its readers have the bound that follows
        patch.setattr("sources.extract.readers.content.FREE_BYTES", 1 << 20)
        seen = {
            one.case.name: one
            for source in CONTRACTS
            for one in _take([case for case in CASES if case.source == source], tmp_path_factory.mktemp(source), keys)
        }
    assert len(seen) == len(CASES), "the names of cases differ"
    return seen, "".join(printed)


def _take(cases: Sequence[Case], folder: Path, keys: KeyRing) -> list[Seen]:
    landing, home = folder / "landing", Home(folder / "home")
    (landing / "reference").mkdir(parents=True)
    directory = "postcode,lsoa21cd,imd_decile\nZE3 9JW,S01012403,4\nLS1 4AP,E01000001,1\n"
    (landing / "reference" / "postcode_directory.csv").write_text(directory)
    intake = Intake(landing, home, keys)
    seen = [Seen(case, council, landing, home, keys) for case, council in zip(cases, _COUNCILS, strict=False)]
    _take_good_ones_before(intake, [one for one in seen if one.case.stops])
    for one in seen:
        one.before = one.hash_files()
        one.case.put(landing / one.council / one.case.source)
    for _ in range(2):
        for one, outcome in zip(seen, _outcomes(intake, seen), strict=True):
            one.outcomes.append(outcome)
            one.after.append(one.hash_files())
    return seen


def _take_good_ones_before(intake: Intake, seen: Sequence[Seen]) -> None:
    """Take a good extract of each, which stays in place when the next is stopped."""
    paths = [one.landing / one.council / one.case.source / f"{COHORT}.csv" for one in seen]
    for path, one in zip(paths, seen, strict=True):
        path.parent.mkdir(parents=True)
        path.write_bytes(format_text(surround(one.case.source)))
    assert all(isinstance(outcome, ExtractQuality) for outcome in _outcomes(intake, seen))
    for path in paths:
        path.unlink()


def _outcomes(intake: Intake, seen: Sequence[Seen]) -> list[Outcome]:
    """What comes of each; an extract that cannot be one by its name or place is stopped before it is read."""
    outcomes: dict[str, Outcome] = {}
    landed = {}
    for one in seen:
        try:
            found = find(one.landing, one.council, one.case.source, COHORT)
        except ExtractStopped as stopped:
            outcomes[one.council] = stopped
        else:
            assert found, one.case.name
            landed[one.council] = found
    outcomes |= zip(landed, intake.ingest_all(landed.values()), strict=True)
    return [outcomes[one.council] for one in seen]


@contextlib.contextmanager
def _printed() -> Iterator[list[str]]:
    """What is written to the log, to standard output and to standard error, also by libraries that are not Python."""
    printed: list[str] = []
    log, text = logging.StreamHandler(io.StringIO()), io.StringIO()
    root = logging.getLogger()
    level, kept = root.level, [os.dup(1), os.dup(2)]
    root.addHandler(log)
    root.setLevel(logging.DEBUG)
    try:
        with tempfile.TemporaryFile() as file, contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            yield printed
            file.seek(0)
            printed += [text.getvalue(), log.stream.getvalue(), file.read().decode(errors="replace")]
    finally:
        root.removeHandler(log)
        root.setLevel(level)
        for number, descriptor in enumerate(kept, 1):
            os.dup2(descriptor, number)
            os.close(descriptor)


@pytest.mark.parametrize("name", [case.name for case in CASES])
def test_case(name: str, taken: tuple[dict[str, Seen], str]) -> None:
    seen = taken[0][name]
    case, (outcome, again) = seen.case, seen.outcomes
    if case.stops:
        _is_stopped(seen, outcome)
        assert str(again) == str(outcome)
    else:
        assert isinstance(outcome, ExtractQuality), outcome
        assert isinstance(again, ExtractQuality)
        assert seen.kept() == case.kept
        assert seen.quarantined(kept=False) == case.aside
        assert seen.quarantined(kept=True) == case.warned
        assert outcome.rows_read == outcome.rows_kept + outcome.rows_rejected
        assert (outcome.rows_kept, outcome.rows_rejected) == (len(case.kept), len(case.aside))
        assert again.unchanged
    assert seen.after[0] == seen.after[1]
    _no_value_left_landing(seen)


def _is_stopped(seen: Seen, outcome: Outcome) -> None:
    assert isinstance(outcome, ExtractStopped), (seen.kept(), seen.quarantined(kept=False))
    assert re.search(seen.case.stops, outcome.for_sender), outcome.for_sender
    for message in (str(outcome), outcome.for_sender):
        assert message.startswith(f"{seen.council}/{seen.case.source}")
        assert "please report" not in message
        assert len(message) < 1000
    assert outcome.__cause__ is None
    assert seen.before
    assert seen.after[0] == seen.before


def _no_value_left_landing(seen: Seen) -> None:
    for outcome in seen.outcomes:
        if isinstance(outcome, ExtractStopped):
            assert not _planted("".join(traceback.format_exception(outcome)))
            assert not _planted(str(outcome.__context__))
    assert seen.written or not seen.outcomes
    for path in seen.written:
        content = path.read_bytes()
        assert not _planted(content.decode("latin-1")), path
        assert not _planted(content.replace(b"\0", b"").decode("latin-1")), path
        if path.suffix == ".parquet":
            is_sealed = seen.home.root / "tokens" in path.parents
            file = sealed.open_sealed(path, seen.keys.get_private_key("tokens")) if is_sealed else pq.ParquetFile(path)
            # Among the digits of row keys and tokens, which are random, a date turns up in one run of a hundred.
            values = re.sub(r"\b\d{15,20}\b", "", str(file.read().to_pydict()))
            assert not _planted(values + str(file.metadata.metadata)), path


def _planted(text: str) -> str | None:
    found = PLANTED.search(text)
    return found and found[0]


def test_nothing_is_printed_or_left_over(taken: tuple[dict[str, Seen], str]) -> None:
    seen, printed = taken
    assert not _planted(printed)
    assert not [path for one in seen.values() for path in one.home.restricted.glob("staging-*")]
