"""Text that people type, or call their files, and that pages, logs and records repeat: one line, so that none of it can
pass for another."""

LONGEST_REASON = 500
A_REASON = f"a reason is one line of at most {LONGEST_REASON} characters"


def is_line(text: str) -> bool:
    """Whether a text is one line of printable characters, and not blank."""
    return bool(text.strip()) and text.isprintable()


def printable(text: str) -> str:
    """The text with a question mark for each character that cannot be printed, a line break included."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def is_reason(text: str) -> bool:
    """Whether a text can be repeated as the reason of something that a person did."""
    return is_line(text) and len(text) <= LONGEST_REASON
