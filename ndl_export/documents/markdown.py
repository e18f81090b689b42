"""Building blocks of Markdown pages."""

from collections.abc import Iterable, Sequence


def page(*parts: str) -> str:
    """Join blocks of text with an empty line between them."""
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def add_notice(text: str, notice: str) -> str:
    """Return the page with the notice, if not empty, as its first line."""
    return f"**{notice}**\n\n{text}" if notice else text


def format_bullets(lines: Iterable[str]) -> str:
    """Return a Markdown list."""
    return "\n".join(f"- {line}" for line in lines)


def format_grid(header: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; vertical bars in cells are escaped."""
    lines = [header, ["---"] * len(header), *body]
    # A bar in a cell would begin another cell.
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
