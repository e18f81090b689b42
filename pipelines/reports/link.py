"""`readiness link explain` as text: the verdict, the waterfall of match weights, and the decision."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelines.reports.document import WIDTH, Grid, iter_grid_lines, wrap_text
from privacy.doors.shipped import read_yaml
from privacy.linkage.explain import Why
from privacy.linkage.link import FURTHER_THRESHOLD

_REASONS: dict[str, str] = read_yaml(Path(__file__).with_name("link_reasons.yaml"))


def render(found: dict[str, Any]) -> str:
    """Return an explanation from `privacy.linkage.explain` as text."""
    fitted = (
        wrap_text(line.strip(), indent=len(line) - len(line.lstrip())) if len(line) > WIDTH else [line]
        for line in _format_lines(found)
    )
    return "\n".join(part for parts in fitted for part in parts)


def _format_lines(found: dict[str, Any]) -> Iterator[str]:
    first, second = found["rows"]
    yield f"{first['row']} and {second['row']}: {'linked' if found['linked'] else 'not linked'}"
    yield _REASONS[Why(found["why"]).name].format(step=f'"{found["step"]}"', further=FURTHER_THRESHOLD)
    yield ""
    for row in found["rows"]:
        probability = (
            "" if row["match_probability"] is None else f", posterior {_format_probability(row['match_probability'])}"
        )
        yield f"{row['row']} came to its child by: {row['match_rule']}{probability}"
    yield ""
    yield from _format_waterfall(found)
    if found["decision"]:
        yield ""
        yield from _describe_decision(found)


def _format_waterfall(found: dict[str, Any]) -> Iterator[str]:
    pair = found["pair"]
    total = pair["prior_bits"]
    rows = [("prior", f"1 in {1 / pair['prior']:,.0f}", "", "", _format_signed(total), _format_signed(total))]
    for entry in pair["comparisons"]:
        total += entry["bits"]
        m, u = ("" if entry[name] is None else f"{entry[name]:.7g}" for name in ("m", "u"))
        name = entry["comparison"].replace("_", " ").replace("nhs", "NHS")
        rows.append((name, entry["level"], m, u, _format_signed(entry["bits"]), _format_signed(total)))
    if abs(pair["correction"]) > 0.005:  # less is shown as 0.00
        rows.append(
            (
                "household rule",
                "in place of the sum",
                "",
                "",
                _format_signed(pair["correction"]),
                _format_signed(pair["weight"]),
            )
        )
    rows.append(
        (
            "match weight",
            f"posterior {_format_probability(pair['posterior'])}",
            "",
            "",
            "",
            _format_signed(pair["weight"]),
        )
    )
    yield from iter_grid_lines(Grid("", ("term", "level", "m", "u", "bits", "sum"), rows, numbers=4))
    yield f"threshold: posterior {found['threshold']:g}; model version {found['model_version']}"


def _describe_decision(found: dict[str, Any]) -> Iterator[str]:
    decision = found["decision"]
    yield f'Step "{found["step"]}":'
    if decision["weight"] is not None:
        of_records = abs(decision["weight"] - found["pair"]["weight"]) > 0.005  # less is shown as 0.00
        stronger = " (of the strongest records of the two children, which are not these rows)" if of_records else ""
        yield (
            f"  weight {_format_signed(decision['weight'])}{stronger};"
            f" posterior {_format_probability(decision['posterior_alone'])} alone,"
            f" {_format_probability(decision['posterior'])} among its rivals"
        )
        if abs(decision["bits_raised"]) > 0.005:  # less is shown as 0.00
            raised = _format_signed(decision["bits_raised"])
            yield f"  raised by {raised} in the posterior: a record has one partner at most"
        if decision["of_those_left_over"]:
            yield "  linked among the records left over, where the prior is higher"
    for rival in decision["rivals"]:
        yield (
            f"  the child of {rival['linked_to']} was linked to {', '.join(rival['rows'])} instead:"
            f" weight {_format_signed(rival['weight'])}, posterior {_format_probability(rival['posterior'])}"
        )


def _format_signed(bits: float) -> str:
    return f"{bits:+.2f}"


def _format_probability(value: float) -> str:
    """Format a probability, never rounded to 0 or 1 unless it is."""
    return f"{value:.2g}" if value < 0.0001 else f"1 - {1 - value:.2g}" if 0.9999 < value < 1 else f"{value:.4f}"
