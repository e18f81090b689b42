"""Validation of text that people type and that pages, logs and records repeat: it must be one line, so that it cannot
imitate another entry."""

LONGEST_REASON = 500
A_REASON = f"a reason is one line of at most {LONGEST_REASON} characters"


def is_line(text: str) -> bool:
    """Return whether a text is one line of printable characters and not blank."""
    return bool(text.strip()) and text.isprintable()


def replace_unprintable(text: str) -> str:
    """Replace each character that cannot be printed, including line breaks, with a question mark."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def is_reason(text: str) -> bool:
    """Return whether a text may be recorded as the reason for a person's action."""
    return is_line(text) and len(text) <= LONGEST_REASON
