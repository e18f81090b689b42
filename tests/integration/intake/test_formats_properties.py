"""Whatever stands in a file: a sound one reads back as it was written, any bytes stop in words."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, assume, given
from hypothesis import strategies as st

from tests.support.daily import examples
from tests.support.intake.desk import EYFSP_HEADER
from tests.support.intake.files import Landing, as_csv, as_xlsx, children, with_shared_strings

pytestmark = pytest.mark.slow

ANY = st.text(
    alphabet=st.characters(codec="utf-8", exclude_characters="\0\ufeff", exclude_categories=["Cs"]), max_size=6
)
WESTERN = st.text(alphabet=st.characters(codec="windows-1252", exclude_characters="\0"), max_size=6)
_UTF8_BY_CHANCE = re.compile(rb"[\xc2-\xf4][\x80-\xbf]")
"""Letters that nobody writes side by side in Windows-1252, and that are one letter of UTF-8."""
_PROTECTED = re.compile(r'="[^"\r\n]+"')
_OTHER_LINE_END = {"\n": "\r", "\r": "\n"}
"""What the csv module leaves unquoted, though it ends a line as well."""
AWKWARD = st.text(alphabet="\",;|\t\n'=aé€ ", max_size=8)
SLOW = examples(150, list(HealthCheck))


def _landing() -> Landing:
    return Landing(Path(tempfile.mkdtemp()))


def _trimmed(text: str) -> str:
    return str(pc.utf8_trim_whitespace(pa.scalar(text)).as_py())


def _as_read(value: str) -> str:
    return _trimmed(value.replace("\r\n", "\n").replace("\r", "\n"))


@SLOW
@given(data=st.data())
def test_a_text_file_reads_back_as_it_was_written(data: st.DataObject) -> None:
    encoding = data.draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "windows-1252"]))
    values = AWKWARD | (WESTERN if encoding == "windows-1252" else ANY)
    names = data.draw(st.lists(values, min_size=1, max_size=12))
    form = {
        "delimiter": data.draw(st.sampled_from(",;|\t^~")),
        "quoting": data.draw(st.sampled_from([0, 1])),
        "lineterminator": data.draw(st.sampled_from(["\n", "\r\n", "\r"])),
    }
    unquoted = _OTHER_LINE_END.get(form["lineterminator"], "none such")
    assume(
        not any(unquoted in name or _PROTECTED.fullmatch(name) or _PROTECTED.fullmatch(name[::-1]) for name in names)
    )
    landing = _landing()
    content = as_csv(children(*({"surname": name, "forename": name[::-1]} for name in names)), encoding, **form)
    assume(encoding != "windows-1252" or not _UTF8_BY_CHANCE.search(content))
    landing.put(content)
    read = landing.read()
    assert read.set_aside == {}
    assert [(row["surname"], row["forename"]) for row in read.rows.values()] == [
        (_as_read(name), _as_read(name[::-1])) for name in names
    ]
    assert list(read.rows) == list(range(1, len(names) + 1))


@SLOW
@given(names=st.lists(AWKWARD | ANY, min_size=1, max_size=8), shared=st.booleans())
def test_a_workbook_reads_back_as_it_was_written(names: list[str], shared: bool) -> None:
    assume(all(name.isprintable() or name.strip("\n\t").isprintable() for name in names))
    assume(not any(name.startswith("=") or "_x" in name for name in names))
    landing = _landing()
    content = as_xlsx(children(*({"surname": name} for name in names)))
    landing.put(with_shared_strings(content) if shared else content, ".xlsx")
    read = landing.read()
    assert [row["surname"] for row in read.rows.values()] == [_trimmed(name) for name in names]
    assert list(read.rows) == list(range(1, len(names) + 1))


@SLOW
@given(lines=st.lists(st.text(alphabet='",a\n\r ', max_size=30), max_size=6))
def test_every_line_of_a_file_with_broken_marks_is_accounted_for(lines: list[str]) -> None:
    """A row that is whole and stands after the broken ones is never lost with them."""
    whole = as_csv(children({})[1:]).decode()
    landing = _landing()
    landing.put(",".join(EYFSP_HEADER) + "\n" + whole + "".join(line + "\n" for line in lines) + whole * 3)
    read = landing.read()
    assert read.rows[1]["surname"] == "Thornton"
    assert [row["surname"] for row in read.rows.values()].count("Thornton") == 4
