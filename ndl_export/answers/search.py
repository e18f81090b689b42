"""Searches the published statistics by plain words, with SQLite's full-text index."""

import sqlite3
from dataclasses import dataclass

from ndl_export.answers.vocabulary import Statistic, Vocabulary, split_tokens

_MOST = 50
_LEFT_OUT = frozenset(
    "a an and are at by did do does for from how in is many much of or the to was were what which with".split()
)


@dataclass(frozen=True)
class Found:
    """A statistic with its table's title, and the words that ask for it."""

    statistic: Statistic
    label: str
    title: str


class Index:
    """Every published statistic, by the words of its table, its measure and its categories."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._statistics = vocabulary.list_statistics()
        self._database = sqlite3.connect(":memory:", check_same_thread=False)
        # Porter's stemmer finds `goals` with `goal`.
        self._database.execute("CREATE VIRTUAL TABLE statistic USING fts5(exact, other, tokenize = 'porter')")
        rows = ((self._write_names(each), self._write_description(each)) for each in self._statistics)
        self._database.executemany("INSERT INTO statistic VALUES (?, ?)", rows)

    def search(self, words: str, limit: int = 10) -> list[Found]:
        """Return the statistics that fit best, those with all words in their names first."""
        tokens = [f'"{token}"' for token in split_tokens(words) if token not in _LEFT_OUT]
        if not tokens:
            return []
        limit = min(limit, _MOST)
        # Those with all words in their names, in order, the plainest first; else in descriptions; else those with most
        # of the words.
        every = " ".join(tokens)
        queries = ((f"exact : ({every})", "rowid"), (every, "rowid"), (" OR ".join(tokens), "rank"))
        found = next(filter(None, (self._match(query, order, limit) for query, order in queries)), [])
        return [self._describe(self._statistics[number - 1]) for number in found]

    def _match(self, query: str, order: str, limit: int) -> list[int]:
        rows = self._database.execute(
            f"SELECT rowid FROM statistic WHERE statistic MATCH ? ORDER BY {order} LIMIT ?", (query, limit)
        )
        return [number for (number,) in rows]

    def _describe(self, statistic: Statistic) -> Found:
        table = self._vocabulary.tables[statistic.table]
        return Found(statistic, table.get_measure(statistic.measure).label, table.title)

    def _write_names(self, statistic: Statistic) -> str:
        names = self._vocabulary.list_names(statistic)
        return " ; ".join(names)

    def _write_description(self, statistic: Statistic) -> str:
        table = self._vocabulary.tables[statistic.table]
        return f"{table.title} {table.description} {table.get_measure(statistic.measure).description}"
