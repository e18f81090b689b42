"""Samples of text (the first rows of a file), and guesses of the contract column for each heading in a sample.

Values outrank headings: numbers with a check digit, postcodes, dates and full names are recognised by their form, and a
column of them is never matched to a column of another kind, whatever its heading.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from sources.contracts import Column, Kind, SourceContract, people
from sources.councils import dialect
from sources.councils.known_headings import LIKE_SCORE, SURE_SCORE, find_code, score_heading, score_part
from sources.extract.table import build_trimmed_sql
from sources.reference.code_lists import GOALS

_MAYBE_DATE = "length(cell) BETWEEN 5 AND 25 AND regexp_matches(cell, '[0-9].*[0-9]')"


@dataclass(frozen=True)
class DateForm:
    """A date format, and the same with day and month exchanged if it reads as many dates."""

    form: str
    exchanged: str | None


class TextSample:
    """The first rows of a file in a temporary table of `con`, with every cell trimmed and blank cells NULL.

    Conditions are SQL over `cell`. The table may contain identifiers: `close` drops it.
    """

    relation = "text_sample"

    def __init__(
        self, con: duckdb.DuckDBPyConnection, headings: Sequence[str], batches: Iterable[pa.RecordBatch]
    ) -> None:
        self.con, self.headings = con, tuple(headings)
        names = [self.get_column_name(heading) for heading in headings]
        rows = [batch.select(range(len(names))).rename_columns(names) for batch in batches]
        con.register("text_rows", pa.Table.from_batches(rows, pa.schema([(name, pa.string()) for name in names])))
        cells = ", ".join(f"{build_trimmed_sql(name)} AS {name}" for name in names)
        con.execute(f"CREATE OR REPLACE TEMP TABLE {self.relation} AS SELECT {cells} FROM text_rows").fetchall()
        con.unregister("text_rows")
        counts = ", ".join(["count(*)", *(f"count({name})" for name in names)])
        self.rows, *filled = con.execute(f"SELECT {counts} FROM {self.relation}").fetchall()[0]
        self.filled: dict[str, int] = dict(zip(headings, filled, strict=True))

    def close(self) -> None:
        self.con.execute(f"DROP TABLE {self.relation}").fetchall()

    def get_column_name(self, heading: str) -> str:
        """Return the name of a heading's column in `relation`."""
        return f"column_{self.headings.index(heading)}"

    def measure_share(self, heading: str, condition: str) -> float:
        """Return the share of filled cells under a heading that meet a condition."""
        return self._measure_shares(heading, [condition])[0]

    def find_date_form(self, heading: str, least: float) -> DateForm | None:
        """Return the usual date format that reads at least the share `least` of the filled cells; None if none does."""
        if self.measure_share(heading, _MAYBE_DATE) < least:
            return None
        shares = self._measure_shares(
            heading,
            [dialect.build_plausible_sql(dialect.build_date_sql("cell", (form,))) for form in dialect.USUAL_FORMATS],
        )
        by_form = dict(zip(dialect.USUAL_FORMATS, shares, strict=True))
        # rounded, so that a few odd cells do not outweigh the order of `USUAL_FORMATS`, day before month
        best = max(by_form, key=lambda form: round(by_form[form], 2))
        other = dialect.exchange_day_and_month(best)
        is_ambiguous = other != best and by_form.get(other, 0.0) >= by_form[best]
        return DateForm(best, other if is_ambiguous else None) if by_form[best] >= least else None

    def count_values(self, heading: str) -> dict[str, int]:
        """Return the distinct values under a heading with their rows; empty if there are more than `_MAX_CODES`."""
        column = self.get_column_name(heading)
        rows = self.con.execute(
            f"SELECT {column}, count(*) FROM {self.relation} WHERE {column} IS NOT NULL"
            f" GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {_MAX_CODES + 1}"
        ).fetchall()
        return dict(rows) if len(rows) <= _MAX_CODES else {}

    def _measure_shares(self, heading: str, conditions: Sequence[str]) -> list[float]:
        counts = ", ".join(f"count(*) FILTER ({condition})" for condition in conditions)
        cells = f"SELECT {self.get_column_name(heading)} AS cell FROM {self.relation}"
        found = self.con.execute(f"SELECT {counts} FROM ({cells}) WHERE cell IS NOT NULL").fetchall()[0]
        return [count / max(self.filled[heading], 1) for count in found]


def build_identifier_sql(valid: Mapping[str, str]) -> dict[str, str]:
    """Return SQL conditions on `cell` by column: those in `valid` (on `{}`; with check digits), and postcodes'."""
    return {name: form.format("cell") for name, form in {**valid, "postcode": people.WRITTEN_AS_A_POSTCODE}.items()}


_FITTING_SHARE = 0.8
"""Share of values that must fit for a column to be recognised by its values."""
_DOUBTFUL_SHARE = 0.3  # with fewer fitting values, a match by heading is doubtful
_MAX_CODES = 60
_MAX_GOAL_VALUES = 5  # distinct values in all goals together; the contract has three codes
_COMMA_NAME = r"regexp_full_match(cell, '\pL[^,0-9]*, *\pL[^,0-9]*')"
_CAPITALS_NAME = r"regexp_full_match(cell, '\p{Lu}\p{Ll}[^,0-9]* \p{Lu}{2}[^a-z,0-9]*')"
"""`SURNAME, Forename` and `Forename SURNAME`: forms that a single name does not have."""
_UNPARTED_DATES = (dialect.EXCEL, "%Y%m%d", "%d%m%Y")
"""Date formats that plain numbers may also match."""
_NAMES = ("surname", "forename")
_JOINED = {
    "date_of_birth": (("birth_year", "birth_month", "birth_day"), "-", "in three columns"),
    "postcode": (("postcode_outward", "postcode_inward"), " ", "in two columns"),
}
"""Columns that may be in parts (as in `headings.yaml`), each with the separator of the parts and the reason given."""


@dataclass(frozen=True)
class Guess:
    """A contract column, the heading or operation it is read from, and why. Unless `sure`, a person must check it."""

    column: str
    heading: str | None
    derived: dialect.Derived | None
    why: str
    sure: bool


class Guesser:
    """Guesses the columns of one sample. `valid` as in `build_identifier_sql`."""

    def __init__(self, sample: TextSample, contract: SourceContract, valid: Mapping[str, str]) -> None:
        self.sample, self.contract, self._forms = sample, contract, build_identifier_sql(valid)
        self._numbers = set(valid)
        self.dates: dict[str, DateForm | None] = {
            heading: sample.find_date_form(heading, _FITTING_SHARE) for heading in sample.headings
        }
        self._kinds = {heading: self._find_kind(heading) for heading in sample.headings}

    def guess_columns(self) -> dict[str, Guess]:
        """Return a guess for each contract column for which one is found; no heading is used twice."""
        scored = [
            (score, Guess(column.name, heading, None, why, sure))
            for column in self.contract.columns
            for heading in self.sample.headings
            for score, why, sure in [self._score(column, heading)]
            if score >= LIKE_SCORE
        ]
        found: dict[str, Guess] = {}
        used: set[str | None] = set()
        # best matches first, because each heading and each column is used once; equal ones stay in the file's order
        for _, guess in sorted(scored, key=lambda entry: -entry[0]):
            if guess.column not in found and guess.heading not in used:
                found[guess.column] = guess
                used.add(guess.heading)
        for more in (self._guess_goals, self._guess_names, self._guess_joined, self._guess_referral):
            found |= {column: guess for column, guess in more(found).items() if column not in found}
        return found

    def _score(self, column: Column, heading: str) -> tuple[float, str, bool]:
        """Return the score, 0 to 1, of a heading and its values for a contract column, why, and whether it is sure."""
        if not self._may_hold(column, heading):
            return 0.0, "", False
        by_name = score_heading(column, heading)
        telling = column.name in self._forms
        looked_at = self.sample.filled[heading] and (telling or by_name >= LIKE_SCORE)
        fit = self._measure_fit(column, heading) if looked_at else None
        if by_name >= LIKE_SCORE:
            doubtful = fit is not None and fit < _DOUBTFUL_SHARE
            why = "known heading" if by_name >= SURE_SCORE else "the heading is like a known one"
            why += "; but the column's values do not look like it" if doubtful else ""
            sure = by_name >= SURE_SCORE and not doubtful
            unlike = telling and (fit is None or fit < _FITTING_SHARE)
            weight = 0.65 if doubtful else 0.8 if unlike else 1
            return by_name * weight, why, sure
        if telling and fit is not None and fit >= _FITTING_SHARE:
            return 0.85, "by the column's values", column.name in self._numbers
        if column.name == "date_of_birth" and self._kinds[heading] == "date" and self._is_misnamed(heading):
            return 0.7, "dates under a heading of something else", False
        return 0.0, "", False

    def _find_kind(self, heading: str) -> str | None:
        """Return the kind of a column's values if it is certain: a contract column with a form, "date", or "name" for
        full names."""
        if not self.sample.filled[heading]:
            return None
        for name, condition in self._forms.items():
            if self.sample.measure_share(heading, condition) >= _FITTING_SHARE:
                return name
        if (date := self.dates[heading]) and date.form not in _UNPARTED_DATES:
            return "date"
        full = max(self.sample.measure_share(heading, form) for form in (_COMMA_NAME, _CAPITALS_NAME))
        return "name" if full >= _FITTING_SHARE else None

    def _may_hold(self, column: Column, heading: str) -> bool:
        """Return whether the kind of the values under a heading fits a contract column."""
        kind = self._kinds[heading]
        if kind is None or kind == column.name:
            return True
        if kind == "name":
            return column.name not in _NAMES
        if kind == "date" and column.kind is Kind.DATE:
            return True
        return column.kind is Kind.TEXT and not column.pattern and column.name not in (*_NAMES, *self._forms)

    def _is_misnamed(self, heading: str) -> bool:
        """Return whether a heading is the known heading of a contract column that its values do not fit."""
        return any(
            score_heading(column, heading) >= SURE_SCORE and not self._may_hold(column, heading)
            for column in self.contract.columns
        )

    def _measure_fit(self, column: Column, heading: str) -> float | None:
        """Return the share of values that fit a contract column; None if any text would fit."""
        if column.name in self._forms:
            return self.sample.measure_share(heading, self._forms[column.name])
        if column.name in _NAMES:
            return self.sample.measure_share(heading, r"NOT regexp_matches(cell, '[0-9]')")
        match column.kind:
            case Kind.DATE:
                return 1.0 if self.dates[heading] else 0.0
            case Kind.INTEGER | Kind.DECIMAL:
                return self.sample.measure_share(heading, "try_cast(cell AS DOUBLE) IS NOT NULL")
            case Kind.CODE:
                values = self.sample.count_values(heading)
                known = sum(rows for value, rows in values.items() if find_code(column, value))
                return max(known / self.sample.filled[heading], _DOUBTFUL_SHARE if values else 0.0)
        return None

    def _guess_goals(self, found: Mapping[str, Guess]) -> dict[str, Guess]:
        """Guess the goals from seventeen headings with the numbers 1 to 17, or from seventeen neighbouring ones that
        share a few values."""
        if not GOALS.keys() <= {column.name for column in self.contract.columns}:
            return {}
        used = {guess.heading for guess in found.values() if guess.column not in GOALS}
        numbered = {
            int(number[1]): heading
            for heading in self.sample.headings
            if heading not in used and (number := re.fullmatch(r"\D*0?(\d{1,2})\D*", heading))
        }
        if set(range(1, len(GOALS) + 1)) <= numbered.keys():
            why = "seventeen headings are numbered 1 to 17"
            return {goal: Guess(goal, numbered[index], None, why, False) for index, goal in enumerate(GOALS, 1)}
        if found.keys() >= GOALS.keys():
            return {}
        values = {heading: set(self.sample.count_values(heading)) for heading in self.sample.headings}
        starts = range(len(self.sample.headings) - len(GOALS) + 1)
        runs = [
            run
            for run in (self.sample.headings[start : start + len(GOALS)] for start in starts)
            if all(values[heading] for heading in run)
            and len(set.union(*(values[heading] for heading in run))) <= _MAX_GOAL_VALUES
            and all(heading == found[goal].heading for goal, heading in zip(GOALS, run, strict=True) if goal in found)
            and not used & set(run)
        ]
        # with eighteen such columns side by side, nothing says where the goals begin
        if len(runs) != 1:
            return {}
        why = "seventeen columns side by side share their values; taken to be in the order of the goals"
        return {goal: Guess(goal, heading, None, why, False) for goal, heading in zip(GOALS, runs[0], strict=True)}

    def _guess_names(self, found: Mapping[str, Guess]) -> dict[str, Guess]:
        """Guess surname and forename from one column, whose values or heading are those of full names."""
        if "surname" not in self.contract:
            return {}
        used = {guess.heading for guess in found.values()}
        scores = {
            heading: max(
                score_part("full_name", heading), *(score_heading(self.contract[name], heading) for name in _NAMES)
            )
            for heading in self.sample.headings
            if self._kinds[heading] == "name" and heading not in used
        }
        heading = max(scores, key=scores.__getitem__, default=None)
        if heading is None or scores[heading] < LIKE_SCORE:
            heading = self._find_part("full_name", found)
        if heading is None or (self._kinds[heading] != "name" and set(_NAMES) & found.keys()):
            return {}
        if self.sample.measure_share(heading, "contains(cell, ',')") >= _FITTING_SHARE:
            parts, why, sure = ("^([^,]+),", r",\s*(.+)$"), "SURNAME, Forename in one column", True
        elif self.sample.measure_share(heading, r"regexp_matches(cell, ' [A-Z]{2}[^a-z]*$')") >= _FITTING_SHARE:
            parts, why, sure = (r"([A-Z]{2}[^a-z]*)$", r"^(.*?) +[A-Z]{2}[^a-z]*$"), "Forename SURNAME in one", True
        else:
            parts, why, sure = (r"^\S+\s+(.+)$", r"^(\S+)"), "one column, taken to be forename first", False
        return {
            name: Guess(name, None, dialect.Derived.model_validate({"from": heading, "pattern": pattern}), why, sure)
            for name, pattern in zip(_NAMES, parts, strict=True)
        }

    def _guess_joined(self, found: Mapping[str, Guess]) -> dict[str, Guess]:
        """Guess columns whose parts are in several columns of the file."""
        guesses = {}
        for column, (parts, separator, why) in _JOINED.items():
            headings = tuple(heading for part in parts if (heading := self._find_part(part, found)))
            if column in self.contract and len(headings) == len(parts):
                joined = dialect.Derived.model_validate({"join": headings, "with": separator})
                guesses[column] = Guess(column, None, joined, why, True)
        return guesses

    def _guess_referral(self, found: Mapping[str, Guess]) -> dict[str, Guess]:
        if "referral" not in self.contract:
            return {}
        dated = (heading for heading in self.sample.headings if self._kinds[heading] == "date")
        named = (each for each in dated if score_heading(self.contract["referral"], each) >= SURE_SCORE)
        heading = self._find_part("referral_date", found) or next(named, None)
        if heading is None:
            return {}
        why = "a referral counts as made if it has a date"
        filled = dialect.Derived.model_validate({"from": heading, "filled": "Y", "blank": "N"})
        return {"referral": Guess("referral", None, filled, why, False)}

    def _find_part(self, part: str, found: Mapping[str, Guess]) -> str | None:
        used = {guess.heading for guess in found.values()}
        free = [heading for heading in self.sample.headings if heading not in used and self.sample.filled[heading]]
        best = max(free, key=lambda heading: score_part(part, heading), default=None)
        return best if best and score_part(part, best) >= SURE_SCORE else None
