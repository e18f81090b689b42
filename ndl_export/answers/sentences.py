"""Sentences about figures: the same templates state a figure, a claim, and what may be quoted.

A `Wording` has the words of a statistic in an area and a cohort. Every sentence about it starts from its measure's
words, so that a verdict, an answer and a quotation of one figure differ only in what they say about it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ndl_export.pages.number_format import capitalise, format_decimal
from ndl_export.tables.schema import count_unit_decimals

_BY_COMPARISON = {
    **dict.fromkeys(("higher", "rose"), ("a larger share", "more", "larger", "than")),
    **dict.fromkeys(("lower", "fell"), ("a smaller share", "fewer", "smaller", "than")),
    **dict.fromkeys(("same", "unchanged"), ("the same share", "as many", "the same", "as")),
}
"""By comparison: words in place of a share, of a count and of another figure, and the word before the other side."""
AS_GIVEN = "{did} of {who} in {area} was {value} in {cohort}"
"""The sentence of a figure that the releases do not have, in the words that it was asked with."""
_ORDINALS = {1: "", 2: "second ", 3: "third ", 4: "fourth ", 5: "fifth ", 6: "sixth ", 7: "seventh ", 8: "eighth "}


@dataclass(frozen=True)
class Wording:
    """The words of a figure: its measure's sentence (`said`), with `who`, `did`, `area` and `cohort` to put in.

    `categories` are those of its row, and `unit` is the symbol of its unit.
    """

    said: str
    who: str
    did: str
    categories: str
    area: str
    cohort: str
    unit: str

    def state(self, value: str, interval: str = "") -> str:
        """Return the sentence that the figure is `value`."""
        words = {name: getattr(self, name) for name in ("who", "did", "categories", "area", "cohort")}
        stated = self.said.format(value=value, **words).replace(",,", ",")
        return f"{capitalise(stated.strip())}{interval}."

    def compare(self, comparison: str, other: "Wording", size: str = "") -> str:
        """Return the sentence that the figure is higher, lower or the same; `size` says by how much."""
        share, count, plain, than = _BY_COMPARISON[comparison]
        value = share if self.unit == "%" else count if self.unit in ("children", "responses") else plain
        apart = [
            *([f"of {other.who}"] if self.who != other.who else []),
            *([other.did] if self.did != other.did else []),
            *([f"in {other.area.rstrip(',')}"] if self.area != other.area else []),
            *([f"in {other.cohort}"] if self.cohort != other.cohort else []),
        ]
        against = " ".join(apart) or f"for “{other.categories}”"
        return f"{self.state(value)[:-1]}{size and ','} {than} {against}{size and f', {size}'}.".replace(
            ", than", " than"
        )

    def rank(self, place: int, end: str) -> str:
        """Return the sentence on the place of the area among councils, from the highest or the lowest."""
        ordinal = _ORDINALS.get(place, f"{place}th ")
        what = f"share of {self.who} who {self.did}" if self.unit == "%" else f"figure for {self.who}: {self.did}"
        return f"{capitalise(self.area)} was the council with the {ordinal}{end} {what} in {self.cohort}."

    def judge_target(self, target: str, verdict: str) -> str:
        """Return the sentence on whether a target was met."""
        reached = "had reached" if verdict == "met" else "had not reached"
        whose = f"the share of {self.who} in {self.area} who {self.did}"
        return f"{capitalise(whose)} {reached} the target of {target} in {self.cohort}."


def oppose(figure: dict[str, Any]) -> dict[str, Any]:
    """Return a figure with 100% less its percentage, and its interval to match."""
    turned = {"value": figure["value"], "lower": figure["upper"], "upper": figure["lower"]}
    return figure | {name: None if value is None else round(100 - value, 2) for name, value in turned.items()}


def count_decimals(*figures: Mapping[str, Any]) -> int:
    """Return the decimals that percentages and points are shown with; for several figures, those of their difference.

    Numbers that were worked out here, such as sums, have no flag.
    """
    return min(count_unit_decimals(figure["unit"], figure.get("flag"), 1) for figure in figures)


def format_value(figure: Mapping[str, Any]) -> str:
    """Return a figure with its unit: `64.8%`, `65%` if it is unreliable, `12.1 points`, `1,685`, `13.7`."""
    value, unit = figure["value"], figure["unit"]
    if value is None:
        return "no figure"
    if unit in ("%", "pp"):
        return format_decimal(value, count_decimals(figure)) + ("%" if unit == "%" else " points")
    return f"{value:,.0f}" if isinstance(value, int) or unit in ("children", "responses") else f"{value:.1f}"


def format_ends(figure: Mapping[str, Any]) -> dict[str, str]:
    """Return the ends of the interval with their unit."""
    return {end: format_value({**figure, "value": figure[end]}) for end in ("lower", "upper")}


def format_interval(figure: Mapping[str, Any]) -> str:
    """Return the interval in brackets after a space; empty if there is none."""
    return "" if figure["lower"] is None else f" (95% interval {' to '.join(format_ends(figure).values())})"


def format_with_interval(figure: Mapping[str, Any]) -> str:
    """Return a figure with its unit and its interval: `64.8% (95% interval 64.7% to 64.8%)`."""
    unit = f" {figure['unit']}" if figure["unit"] == "children" else ""
    return f"{format_value(figure)}{unit}{format_interval(figure)}"
