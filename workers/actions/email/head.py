"""The head of an email, written by us and then read as a mail server reads it.

The standard library's folding cannot be relied on: the Pythons we run on write an encoded newline
as a real one (CVE-2024-6923, CVE-2026-1299), and 3.11.7 loses blanks and brackets of mixed titles.
So every foreign text is either plain ASCII on one line or encoded words made here, and nothing is
folded again after that.
"""

import re
from collections.abc import Mapping
from email import message_from_string
from email.header import Header, decode_header, make_header
from email.message import EmailMessage
from email.policy import SMTP, EmailPolicy, compat32
from email.utils import getaddresses, quote

from schemas.errors import ActionRefused
from workers.mailer.address import EnvelopeAddress

Named = tuple[str, EnvelopeAddress]  # a name, which may be empty, and the address it goes with

_PLAIN_ROOM = 60  # characters that fit one line after any header's name
_OURS = frozenset(
    b"from to subject date message-id auto-submitted mime-version content-type".split()
)
_ALLOWED = _OURS | {b"reply-to"}
_FIRST_LINE = re.compile(rb"([!-9;-~]+): [^\x00-\x1f\x7f]+")
_NEXT_LINE = re.compile(rb"[ \t][^\x00-\x08\x0a-\x1f\x7f]*[^\x00-\x20\x7f]")


def head_policy(*, utf8: bool) -> "EmailPolicy[EmailMessage]":
    """Return the policy for our messages: CRLF, and no header ever folded again."""
    return SMTP.clone(refold_source="none", utf8=utf8)


def write_text(message: EmailMessage, name: str, text: str) -> None:
    """Add a header of clean text."""
    message.set_raw(name, text if _is_plain(text) else _encoded(name, text))


def write_address(message: EmailMessage, name: str, who: Named) -> None:
    """Add a header of one address with its name, which is clean."""
    person, address = who
    if not person:
        message.set_raw(name, f"<{address}>")
        return
    words = f'"{quote(person)}"' if _is_plain(person) else _encoded(name, person)
    gap = " " if _is_plain(f"{words} <{address}>") else "\r\n "
    message.set_raw(name, f"{words}{gap}<{address}>")


def check_head(message: EmailMessage, meant: Mapping[str, str | Named]) -> None:
    """Hold the head as it will be sent against what was meant, header by header.

    Raises `ActionRefused` if a line begins a header that is not ours, if one comes twice or is
    missing, or if a text, name or address is not the same when read back.
    """
    written = message.as_bytes()
    head, _, rest = written.partition(b"\r\n\r\n")
    _check_lines(head)
    if not rest.startswith(f"--{message.get_boundary()}\r\n".encode()):
        raise ActionRefused("the head of the email would end too early")
    # The old reader: the new one of 3.11.7 puts blanks into long names.
    again = message_from_string(written.decode(), policy=compat32)
    for name, meaning in meant.items():
        value = str(again[name])
        if isinstance(meaning, str):
            same = _decoded(value) == meaning
        else:
            same = _people(value) == [(meaning[0], str(meaning[1]))]
        if not same:
            raise ActionRefused(f"the email's {name} would not arrive as it was meant")


def _check_lines(head: bytes) -> None:
    names: list[bytes] = []
    for line in re.split(rb"\r\n|\r|\n", head):
        if names and _NEXT_LINE.fullmatch(line):
            continue
        match = _FIRST_LINE.fullmatch(line)
        if match is None or match[1].lower() not in _ALLOWED:
            raise ActionRefused("the head of the email would hold a line that is not ours")
        names.append(match[1].lower())
    if len(set(names)) != len(names) or not _OURS.issubset(names):
        raise ActionRefused("the head of the email would not be the one that was meant")


def _is_plain(text: str) -> bool:
    return text.isascii() and len(text) <= _PLAIN_ROOM


def _encoded(name: str, text: str) -> str:
    return Header(text, "utf-8", header_name=name).encode(splitchars="", linesep="\r\n")


def _decoded(value: str) -> str:
    return str(make_header(decode_header("".join(value.splitlines()))))


def _people(value: str) -> list[tuple[str, str]]:
    # First taken apart and then decoded, as RFC 2047 wants it: a decoded comma parts nobody.
    return [(_decoded(name), address) for name, address in getaddresses([value])]
