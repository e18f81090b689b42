"""The one error of an extract that cannot be taken."""


class ExtractStopped(Exception):
    """The extract is not taken. The message names the file, the rule and what to change, never a value."""
