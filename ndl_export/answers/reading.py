"""Splits a sentence into numbers, names and phrases.

Names come from the vocabulary, phrases from `phrases.yaml`; if several begin at the same word, the longest is read.
`sentences.py` turns the parts into claims.
"""

import re
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from ndl_export.answers.vocabulary import Vocabulary, rewrite, split_tokens
from privacy.doors.shipped import read_yaml

_NUMBERS: dict[str, dict[str, int]] = read_yaml(Path(__file__).parent / "numbers.yaml")
_UNITS, _TENS, _PARTS, _ORDINALS = (_NUMBERS[kind] for kind in ("units", "tens", "parts", "ordinals"))
_YEARS = re.compile(r"\b(?:20)(\d\d)\s*(?:/|-|–|to)\s*(?:20)?(\d\d)\b")
_INTERVAL = re.compile(
    r"[(,]?\s*(?:with\s+)?(?:a\s+)?95\s*(?:%|per cent)\s*(?:confidence )?interval:?\s*(?:of\s+|from\s+)?"
    r"(\d+(?:\.\d+)?)\s*%?\s*(?:to|-|–|and)\s*(\d+(?:\.\d+)?)\s*%?\s*\)?",
    re.IGNORECASE,
)
_BREAK = re.compile(r"([,;:.!?()–—]|\s-\s)")
_WORDS = ("unread", "filler", "reporting")
_RESTRICTING = frozenset(
    "of among amongst in for with without where whose when within at from by while who which".split()
)
TOGETHER = "All councils together"
"""Name in the database of the area of all councils that take part."""
_ARTICLES = ("the", "a", "an")


@dataclass(frozen=True)
class Item:
    """A part of a sentence: its kind, what it stands for, and the tokens that it covers."""

    kind: str
    value: Any
    first: int
    end: int


@dataclass(frozen=True)
class Number:
    """A number as written; `unit` comes from the words after it."""

    value: float
    decimals: int
    unit: str
    is_fraction: bool = False
    least: float | None = None


@dataclass
class Reading:
    """A sentence split into items; `unread` are words not understood, `breaks` positions after a comma or stop."""

    tokens: list[str]
    breaks: frozenset[int]
    stops: frozenset[int]
    items: list[Item] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    interval: tuple[float, float] | None = None

    @property
    def is_survey(self) -> bool:
        """Whether the sentence is about parents' answers, so that `said` or `found` may be part of the claim."""
        meanings = (meaning for item in self.list_kind("term") for meaning in item.value)
        return any("response" in str(each.value) or "Question" in str(each.value) for each in meanings)

    def list_kind(self, *kinds: str) -> list[Item]:
        """Return the items of some kinds, in order."""
        return [item for item in self.items if item.kind in kinds]


@cache
def _load_phrases() -> dict[tuple[str, ...], str]:
    stated = read_yaml(Path(__file__).parent / "phrases.yaml")
    found: dict[tuple[str, ...], str] = {}
    for kind, phrases in stated.items():
        for phrase in phrases:
            found.setdefault(tuple(split_tokens(phrase)), kind)
    return found


def get_phrase_kind(words: str) -> str | None:
    """Return the kind of phrase that the words as a whole are, or None."""
    return _load_phrases().get(tuple(split_tokens(rewrite(words))))


def read_sentence(vocabulary: Vocabulary, text: str) -> Reading:
    """Split a sentence into items, the longest name, number or phrase first."""
    interval = _INTERVAL.search(text)
    if interval:
        text = text[: interval.start()] + " " + text[interval.end() :]
    text, years = _mark_years(rewrite(text))
    reading = Reading(*_split_with_breaks(text))
    if interval:
        reading.interval = float(interval[1]), float(interval[2])
    at, others = 0, list[Item]()
    while at < len(reading.tokens):
        item = _read_item(vocabulary, reading.tokens, at, years)
        (others if item.kind in _WORDS else reading.items).append(item)
        at = item.end
    reading.unread = [item.value for item in others if not _is_understood(reading, others, item)]
    return reading


def _is_understood(reading: Reading, others: list[Item], word: Item) -> bool:
    """Return whether a word outside the claims of a sentence can be ignored.

    Function words can. Reporting words can if they come before what is claimed (`new figures show`), and so can any
    word in a clause that only says who reported it (`as the minister said`). Nothing else can in a clause that begins
    with a word such as `among` or `where`, because it may say whom the claim is about.
    """
    if word.kind == "filler":
        return True
    ends = sorted({*reading.breaks, *(item.end for item in others if item.value == "that"), len(reading.tokens)})
    end = next(each for each in ends if each > word.first)
    begin = max((each for each in ends if each <= word.first), default=0)
    claimed = [item.first for item in reading.items if begin <= item.first < end]
    opening = next((item for item in others if item.first == begin), word)
    if reading.tokens[begin] in _RESTRICTING and opening.kind != "reporting":
        return False
    if word.kind == "reporting":
        return not claimed or word.first < min(claimed) or reading.is_survey
    return not claimed and any(item.kind == "reporting" and begin <= item.first < end for item in others)


def _mark_years(text: str) -> tuple[str, dict[str, str]]:
    """Replace academic years by one word each; return the text, and the cohorts by word."""
    years: dict[str, str] = {}

    def mark(match: re.Match[str]) -> str:
        if (int(match[1]) + 1) % 100 != int(match[2]):
            return match[0]
        word = f"cohort{'abcdefgh'[len(years) % 8]}"
        years[word] = f"20{match[1]}{match[2]}"
        return f" {word} "

    return _YEARS.sub(mark, text), years


def _split_with_breaks(text: str) -> tuple[list[str], frozenset[int], frozenset[int]]:
    """Return the tokens, and the positions after any punctuation and after a stop."""
    tokens: list[str] = []
    breaks: list[int] = []
    stops: list[int] = []
    # A point or comma within a number is not a break, nor is the point of "St.".
    text = re.sub(r"\b(st|vs|approx)\.", r"\1 ", text, flags=re.IGNORECASE)
    text = re.sub(r"(?<=\d)[,.](?=\d)", lambda match: "\x00" if match[0] == "." else "", text)
    for part, mark in zip(*[iter([*_BREAK.split(text), ""])] * 2, strict=True):
        tokens += split_tokens(part.replace("\x00", "."))
        (breaks if mark in (",", "(", ")") else stops).append(len(tokens))
    return tokens, frozenset((*breaks, *stops)), frozenset(stops)


def _read_item(vocabulary: Vocabulary, tokens: list[str], at: int, years: dict[str, str]) -> Item:
    if tokens[at] in years:
        return Item("cohort", years[tokens[at]], at, at + 1)
    number = _read_range(tokens, at) or _read_number(tokens, at)
    end, meanings = vocabulary.find_term(tokens, at)
    phrase = _find_phrase(tokens, at)
    # A number, unless a name that begins with it is longer: "two-year review", "12 month review".
    if number and number.end >= max(end, phrase.end):
        return number
    if tokens[at] in _ORDINALS and end <= at + 1:
        return Item("ordinal", _ORDINALS[tokens[at]], at, at + 1)
    if end >= phrase.end:
        return Item("term", meanings, at, end)
    # "The least" is a phrase, but "the least deprived areas" is a name after an article.
    is_article = tokens[at] in _ARTICLES and vocabulary.find_term(tokens, at + 1)[0] > phrase.end
    return Item("filler", tokens[at], at, at + 1) if is_article else phrase


def _find_phrase(tokens: list[str], at: int) -> Item:
    phrases = _load_phrases()
    for end in range(min(len(tokens), at + 7), at, -1):
        kind = phrases.get(tuple(tokens[at:end]))
        if kind:
            return Item(kind, " ".join(tokens[at:end]), at, end)
    return Item("unread", tokens[at], at, at + 1)


def _read_number(tokens: list[str], at: int) -> Item | None:
    """Read a number and its unit at a token: digits, words, a fraction, or a share such as `three in five`."""
    share = _read_share(tokens, at)
    if share:
        value, end = share
        return Item("number", Number(value, 1, "%", is_fraction=True), at, end)
    counted = _read_count(tokens, at)
    if counted is None:
        return None
    value, decimals, end = counted
    if value.is_integer() and 2000 <= value <= 2099 and tokens[at].isdecimal():
        return Item("cohort", f"{value - 1:.0f}{value % 100:02.0f}", at, end)
    phrase = _find_phrase(tokens, end) if end < len(tokens) else Item("", "", end, end)
    unit = {"points": "points", "percent": "%", "goals": "goals"}.get(phrase.kind, "")
    if unit == "" and not tokens[at][0].isdigit() and value < 20:
        # "Three", "one": more often a word than a figure.
        return None
    return Item("number", Number(value, decimals, unit), at, phrase.end if unit else end)


def _read_range(tokens: list[str], at: int) -> Item | None:
    """Read `between 60 and 70 per cent`."""
    if tokens[at] not in ("between", "from"):
        return None
    low = _read_number(tokens, at + 1) if at + 1 < len(tokens) else None
    if low is None or low.kind != "number" or tokens[low.end : low.end + 1] not in (["and"], ["to"]):
        return None
    high = _read_number(tokens, low.end + 1) if low.end + 1 < len(tokens) else None
    if high is None or high.kind != "number" or (tokens[at] == "from" and tokens[low.end] == "to"):
        return None
    return Item("number", replace(high.value, least=low.value.value), at, high.end)


def _read_count(tokens: list[str], at: int) -> tuple[float, int, int] | None:
    """Return the value of digits or number words, its decimals, and the token after it."""
    token = tokens[at]
    if re.fullmatch(r"\d+(?:\.\d+)?", token):
        return float(token), len(token.partition(".")[2]), at + 1
    if token in _TENS:
        if at + 1 < len(tokens) and 0 < _UNITS.get(tokens[at + 1], 0) < 10:
            return float(_TENS[token] + _UNITS[tokens[at + 1]]), 0, at + 2
        return float(_TENS[token]), 0, at + 1
    if token in _UNITS:
        return float(_UNITS[token]), 0, at + 1
    return None


def _read_share(tokens: list[str], at: int) -> tuple[float, int] | None:
    """Return the percentage of `two thirds`, `half` or `three in five`, and the token after it."""
    rest = tokens[at:]
    if rest[0] == "half" and rest[1:2] != ["as"]:
        return 50.0, at + 1
    count = 1 if rest[0] in ("a", "one") else _UNITS.get(rest[0]) or (int(rest[0]) if rest[0].isdecimal() else None)
    if count and len(rest) > 1 and rest[1] in _PARTS and count < _PARTS[rest[1]]:
        # "A third of" is a share, "third highest" a place.
        return 100 * count / _PARTS[rest[1]], at + 2
    if count and rest[0] != "a" and len(rest) > 2:
        between = 2 if rest[1] == "in" else 3 if rest[1:3] == ["out", "of"] else None
        if between and len(rest) > between:
            whole = rest[between]
            of = _UNITS.get(whole) or _TENS.get(whole) or (int(whole) if whole.isdecimal() else None)
            if of and count < of <= 100:
                return 100 * count / of, at + between + 1
    return None
