"""What a mail server's answer means for us, and how much of it may be repeated.

Answers often quote the person's address, and errors end in logs and on pages. So every text of a
server passes through `quotable` before anybody sees it.
"""

import re

from schemas.errors import ActionRefused, MailUnavailable

_LONGEST_ANSWER = 200  # characters kept of what a server says
_ADDRESS = re.compile(r"<[^<>]*>|\S+@\S+")
# "Sign in first" and its relatives (RFC 4954): answers about us, at whatever step they come.
_ABOUT_US = frozenset({530, 534, 535, 538})
_PERMANENT = range(500, 600)


class MailRefusedUs(MailUnavailable):
    """The mail server does not accept us: login or encryption. Until mended, no email can leave.

    Nothing is wrong with the email, so it waits; but a person has to look at the settings.
    """


def quotable(code: int, text: bytes | str) -> str:
    """Return an answer as one short line without any address."""
    if isinstance(text, bytes):
        text = text.decode("ascii", "replace")
    words = _ADDRESS.sub("(address)", f"{code} {text}").split()
    kept = " ".join(words)
    return "".join(c if c.isprintable() else "?" for c in kept)[:_LONGEST_ANSWER]


def refusal(code: int, text: bytes, *, step: str) -> MailUnavailable | ActionRefused:
    """Return the error for an answer that is not a yes; `step` says which command was answered."""
    answer = quotable(code, text)
    if code in _ABOUT_US:
        return MailRefusedUs(f"the mail server wants a login; see COURSEBELL_SMTP_URL: {answer}")
    if code in _PERMANENT:
        return ActionRefused(f"the mail server refused the email at {step}", detail=answer)
    return MailUnavailable(f"the mail server did not take the email at {step}: {answer}")
