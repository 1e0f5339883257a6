"""Quotes around a value that a reader of env files did not remove.

A shell, systemd and Compose remove the quotes around a value; `docker run --env-file` and some
platforms pass them on. Removing one pair here makes the same file mean the same everywhere.
"""

from marshmallow import ValidationError

_QUOTES = ("'", '"')
_SPECIAL_IN_DOUBLE_QUOTES = frozenset('"\\$`')  # a shell would have changed or removed these


def unquoted(text: str) -> str:
    """Return the text without one pair of equal quotes around all of it.

    Raises:
        ValidationError: a shell would have read what is inside the quotes as something else.
    """
    if not is_quoted(text):
        return text
    quote, inside = text[0], text[1:-1]
    special = {"'"} if quote == "'" else _SPECIAL_IN_DOUBLE_QUOTES
    if special & set(inside):
        raise ValidationError(
            "arrived with quotes around it and special characters inside, which a shell and Docker"
            " read differently; remove the quotes, or put the value into a file and set the name"
            " with _FILE"
        )
    return inside


def is_quoted(text: str) -> bool:
    """Whether the text begins and ends with the same quote."""
    return len(text) > 1 and text[0] == text[-1] and text[0] in _QUOTES
