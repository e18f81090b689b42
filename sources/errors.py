"""The error raised for an extract that cannot be accepted, and rules about the form of a file.

A reader sets aside the rows that break such a rule, or stops the whole extract. Rules about values are in the source
contracts.
"""

import traceback
from dataclasses import dataclass
from pathlib import Path

from privacy.doors.shipped import read_yaml
from sources.contracts.model import Rule, Severity

FILE_RULES = {
    id: Rule(id, sentence, severity=Severity(severity))
    for severity, rules in read_yaml(Path(__file__).with_suffix(".yaml")).items()
    for id, sentence in rules.items()
}
"""Rules about files by id, in the order of `errors.yaml`."""


@dataclass(frozen=True)
class HeadingsMissing:
    """Missing headings, each with the heading that may be its new name (or ""), and the file's unused headings. Only
    the sender may see these."""

    missing: tuple[tuple[str, str], ...]
    unused: tuple[str, ...]


class ExtractStopped(Exception):
    """The extract is not accepted. The message names the file's location, the rule and what to change.

    The message repeats nothing that the sender wrote: columns, sheets and archive members are numbered. `for_sender`
    is the same message with the sender's own headings; it and `headings` stay in the restricted zone. None of them
    contains a value.
    """

    def __init__(self, message: str, for_sender: str = "", headings: HeadingsMissing | None = None) -> None:
        super().__init__(message)
        self.for_sender = for_sender or message
        self.headings = headings


def wrap_error(name: str, error: Exception) -> ExtractStopped:
    """Return `error` as an `ExtractStopped`; messages call the extract `name`.

    For any other error, only its type and location are given: its message may quote a value.
    """
    if isinstance(error, ExtractStopped):
        return error
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(frame.filename).name}:{frame.lineno}"
    return ExtractStopped(f"{name}: the file could not be read ({type(error).__name__} at {place}); please report this")


def build_error(name: str, rule: Rule | str, detail: str = "", for_sender: str = "") -> ExtractStopped:
    """Return the error that stops an extract.

    `name` is the file's name in messages, `rule` a rule or the id of one in `FILE_RULES`. `detail` says what to look
    for, by number; `for_sender` says the same with the sender's own headings. Neither contains a value.
    """
    sentence = FILE_RULES[rule].sentence if isinstance(rule, str) else rule.sentence
    sentence = sentence if sentence[:2].isupper() else sentence[0].lower() + sentence[1:]
    plain, own = (f": {what}" if what else "" for what in (detail, for_sender or detail))
    message = f"{name}: {sentence.removesuffix('.')}"
    return ExtractStopped(message + plain, message + own)
