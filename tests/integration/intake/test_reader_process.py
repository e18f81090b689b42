"""A file that crashes its reader, or asks too much of it, costs its own extract and nothing else."""

import base64
import io
import json
import os
import re
import signal
from collections.abc import Callable
from contextlib import suppress
from threading import Thread

import pyarrow as pa
import pyarrow.parquet
import pyarrow.parquet.encryption as modular
import pytest

from sources.errors import ExtractStopped
from sources.extract import reader_process
from sources.extract.landing import find
from sources.extract.reader_process import Reader, Serve
from tests.support.intake import served
from tests.support.intake.corpus import COHORT, build_many, build_table, format_text
from tests.support.intake.desk import Desk
from tests.support.waiting import wait_until

_SECONDS = 30
"""Within which what should happen does, on a machine with much else to do."""


class _OpenKeys(modular.KmsClient):
    def __init__(self, _: object) -> None:
        super().__init__()

    def wrap_key(self, key: bytes, _: str) -> bytes:
        return base64.b64encode(key)


def _with_an_encrypted_column() -> bytes:
    """Parquet whose footer anybody can read, and one column nobody."""
    header, *rows = build_table(build_many("eyfsp"))
    columns = {name: [row[at] for row in rows] for at, name in enumerate(header)}
    how = modular.EncryptionConfiguration("key", column_keys={"key": ["surname"]}, plaintext_footer=True)
    keys = modular.CryptoFactory(_OpenKeys).file_encryption_properties(modular.KmsConnectionConfig(), how)
    file = io.BytesIO()
    pyarrow.parquet.write_table(pa.table(columns), file, encryption_properties=keys)
    return file.getvalue()


def _that_repeats_a_long_value() -> bytes:
    """Parquet of some kilobytes that stands for 8 GiB."""
    header, row, *_ = build_table(build_many("eyfsp"))
    long = pa.DictionaryArray.from_arrays(pa.array([0] * 8192, pa.int32()), pa.array(["Q" * (1 << 20)]))
    columns = {name: pa.array([value] * 8192) for name, value in zip(header, row, strict=True)} | {"surname": long}
    file = io.BytesIO()
    pyarrow.parquet.write_table(pa.table(columns), file, compression="zstd")
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (_with_an_encrypted_column, "the Parquet file is encrypted"),
        (_that_repeats_a_long_value, "the file could not be read.*: memory limit of 2 GiB"),
    ],
)
def test_a_file_that_ends_its_reader_costs_its_own_extract_alone(
    desk: Desk, content: Callable[[], bytes], why: str
) -> None:
    desk.land(content(), suffix=".parquet")
    for council in ("halton", "wirral"):
        desk.land(format_text(build_many("eyfsp")), council=council)
    found = [find(desk.landing, council, "eyfsp", COHORT) for council in ("halton", "leeds", "wirral")]
    first, stopped, last = desk.intake.ingest_all(each for each in found if each)
    assert isinstance(stopped, ExtractStopped)
    assert re.match(rf"leeds/eyfsp/{COHORT}\.parquet: {why}", str(stopped))
    assert [getattr(each, "rows_kept", None) for each in (first, last)] == [24, 24]


@pytest.mark.parametrize(
    ("serve", "why"),
    [
        (served.hold_memory, "memory limit of 0.0625 GiB"),
        (served.take_time, "limit of 1 seconds of processor time"),
        (served.crash, "the reader crashed"),
        (served.send_rows_past_their_end, "the reader crashed"),
        (served.say_nothing, "no progress in 2 seconds"),
    ],
)
def test_why_a_reader_was_stopped_is_told(monkeypatch: pytest.MonkeyPatch, serve: Serve, why: str) -> None:
    monkeypatch.setattr(reader_process, "MEMORY_BYTES", 64 << 20)
    monkeypatch.setattr(reader_process, "CPU_SECONDS", 1 if serve is served.take_time else 20)
    silent = 2 / 20 if serve is served.say_nothing else 20
    monkeypatch.setattr(reader_process, "SILENT_PER_CPU_SECOND", silent)
    with pytest.raises(ExtractStopped, match=f"^a file: the file could not be read.*stopped: {why}"):
        list(Reader("a file", 0, serve))


def test_an_error_of_a_reader_is_told_without_what_it_says() -> None:
    with pytest.raises(ExtractStopped, match=r"^a file: .*ValueError at served\.py") as stopped:
        list(Reader("a file", 0, served.fail))
    assert "Qwyjibo" not in str(stopped.value)


def test_a_reader_leaves_no_core_file_and_no_process_also_if_nobody_waits_for_it() -> None:
    reader = Reader("a file", 0, served.show_limits)
    process, core = json.loads(reader.receive_bytes())
    assert core == 0
    assert list(reader) == []
    wait_until(lambda: not _runs(process))
    reader = Reader("a file", 0, served.say_nothing)
    process = int(reader.receive_bytes())
    assert _runs(process)
    reader.close()
    wait_until(lambda: not _runs(process))


def test_a_template_that_was_killed_is_started_again() -> None:
    assert Reader("a file", 0, served.show_limits).receive_bytes()
    _, template = reader_process._start_template()
    os.kill(template.pid, signal.SIGKILL)
    template.wait()
    assert Reader("a file", 0, served.show_limits).receive_bytes()


def test_a_reader_is_noticed_at_its_end_while_others_run_and_the_template_was_killed() -> None:
    """The other reader had a copy of what tells that end: the first was waited for as long as the other ran."""
    first, other = (Reader("a file", 0, served.say_nothing) for _ in range(2))
    process, of_other = int(first.receive_bytes()), int(other.receive_bytes())
    _, template = reader_process._start_template()
    os.kill(template.pid, signal.SIGKILL)
    template.wait()
    os.kill(process, signal.SIGKILL)
    ended = []

    def ask() -> None:
        with pytest.raises(ExtractStopped, match="the reader crashed"):
            first.receive_bytes()
        ended.append(True)

    asking = Thread(target=ask, daemon=True)
    asking.start()
    asking.join(_SECONDS)
    os.kill(of_other, signal.SIGKILL)  # nobody else does, without the template
    assert ended


def test_a_reader_has_nothing_of_the_template_or_of_another_reader() -> None:
    first = Reader("a file", 0, served.say_nothing)
    first.receive_bytes()
    second = Reader("a file", 0, served.list_open)
    assert len(json.loads(second.receive_bytes())) == len(("its end of the pipe", "what closes with it"))
    first.close()


def _runs(process: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(process, 0)
        return True
    return False
