"""Makes the message of a letter: two parts, and headers that are checked before it is sent.

The standard library's folding cannot be relied on: the Pythons we run on write an encoded newline
as a real one (CVE-2024-6923, CVE-2026-1299), and 3.11.7 loses blanks and brackets of mixed titles.
So every foreign text in a header is either plain ASCII on one line or encoded words made here, it
is never folded again, and the headers are then read back as a mail server reads them.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email import message_from_bytes, message_from_string
from email.header import Header, decode_header, make_header
from email.message import EmailMessage
from email.policy import SMTP, EmailPolicy, compat32
from email.utils import format_datetime, getaddresses, quote

from schemas.errors import DeliveryRefused
from schemas.settings import MailAddress
from schemas.text import cut_at_word, one_line
from workers.actions.email.answers import EnvelopeAddress
from workers.actions.email.letter import Letter

Named = tuple[str, EnvelopeAddress]  # a name, which may be empty, and the address it goes with

_PLAIN_ROOM = 60  # characters that fit one line after any header's name
_OURS = frozenset(
    b"from to subject date message-id auto-submitted mime-version content-type".split()
)
_ALLOWED = _OURS | {b"reply-to"}
_FIRST_LINE = re.compile(rb"([!-9;-~]+): [^\x00-\x1f\x7f]+")
_NEXT_LINE = re.compile(rb"[ \t][^\x00-\x08\x0a-\x1f\x7f]*[^\x00-\x20\x7f]")
MESSAGE = "message/rfc822"  # the media type of what is kept
_NAME_ROOM = 78  # characters of a person's name in a header
_SUBJECT_ROOM = 200  # a letter's subject is shorter; this is for letters not composed by us


def make_message(  # noqa: PLR0913 - a head has this many parts, and each must be named
    letter: Letter,
    *,
    sender: MailAddress,
    reply_to: MailAddress | None,
    to_name: str,
    to_address: str,
    action_key: str,
    made_at: datetime,
) -> EmailMessage:
    """Return the message for a letter, ready for `Mailer.deliver`.

    `made_at` is aware. The same arguments give the same bytes, so a message made again carries the
    same Message-ID.

    Raises `DeliveryRefused` if an address cannot be written to, or if the head that came out is not
    the head that was meant.
    """
    if made_at.tzinfo is None:
        raise ValueError("made_at must be aware")
    people: dict[str, Named] = {
        "From": _named(sender.name, sender.address),
        "To": _named(to_name, to_address),
    }
    if reply_to is not None:
        people["Reply-To"] = _named(reply_to.name, reply_to.address)
        if not people["Reply-To"][1].is_ascii:
            raise DeliveryRefused("replies need an ASCII address; see COURSEBELL_MAIL_REPLY_TO")
    subject = cut_at_word(one_line(letter.subject), _SUBJECT_ROOM)
    utf8 = not (people["From"][1].is_ascii and people["To"][1].is_ascii)
    message = EmailMessage(head_policy(utf8=utf8))
    for name, who in people.items():
        write_address(message, name, who)
    write_text(message, "Subject", subject)
    message.set_raw("Date", format_datetime(made_at))
    message.set_raw("Message-ID", message_id(action_key, people["From"][1].domain))
    message.set_raw("Auto-Submitted", "auto-generated")
    # Quoted-printable by name: the default may choose base64, which filters dislike, or 8bit.
    message.set_content(letter.text, charset="utf-8", cte="quoted-printable")
    message.add_alternative(letter.html, subtype="html", charset="utf-8", cte="quoted-printable")
    message.set_boundary(_digest(f"boundary {action_key}"))
    check_head(message, {**people, "Subject": subject})
    return message


@dataclass(frozen=True, slots=True)
class KeptMessage:
    """The parts of a message that was kept. `html` is "" if it has no such part."""

    message_id: str
    text: str
    html: str


def read_message(body: bytes) -> KeptMessage:
    """Return the parts of a message made here, or kept by an earlier version."""
    message = message_from_bytes(body, policy=compat32)
    parts = {"text/plain": "", "text/html": ""}
    for part in message.walk():
        raw = part.get_payload(decode=True)
        if part.get_content_type() in parts and isinstance(raw, bytes):
            parts[part.get_content_type()] = raw.decode().replace("\r\n", "\n")
    return KeptMessage(
        _decoded(str(message["Message-ID"])), parts["text/plain"], parts["text/html"]
    )


def message_id(action_key: str, sender_domain: str) -> str:
    """Return the Message-ID of an action: the same for every attempt; it does not tell the key."""
    return f"<{_digest(action_key)}@{sender_domain}>"


def _named(name: str, address: str) -> Named:
    return cut_at_word(one_line(name), _NAME_ROOM), EnvelopeAddress.parse(address)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:40]


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

    Raises `DeliveryRefused` if a line begins a header that is not ours, if one comes twice or is
    missing, or if a text, name or address is not the same when read back.
    """
    written = message.as_bytes()
    head, _, rest = written.partition(b"\r\n\r\n")
    _check_lines(head)
    if not rest.startswith(f"--{message.get_boundary()}\r\n".encode()):
        raise DeliveryRefused("the head of the email would end too early")
    # The old reader: the new one of 3.11.7 puts blanks into long names.
    again = message_from_string(written.decode(), policy=compat32)
    for name, meaning in meant.items():
        value = str(again[name])
        if isinstance(meaning, str):
            same = _decoded(value) == meaning
        else:
            same = _people(value) == [(meaning[0], str(meaning[1]))]
        if not same:
            raise DeliveryRefused(f"the email's {name} would not arrive as it was meant")


def _check_lines(head: bytes) -> None:
    names: list[bytes] = []
    for line in re.split(rb"\r\n|\r|\n", head):
        if names and _NEXT_LINE.fullmatch(line):
            continue
        match = _FIRST_LINE.fullmatch(line)
        if match is None or match[1].lower() not in _ALLOWED:
            raise DeliveryRefused("the head of the email would hold a line that is not ours")
        names.append(match[1].lower())
    if len(set(names)) != len(names) or not _OURS.issubset(names):
        raise DeliveryRefused("the head of the email would not be the one that was meant")


def _is_plain(text: str) -> bool:
    return text.isascii() and len(text) <= _PLAIN_ROOM


def _encoded(name: str, text: str) -> str:
    return Header(text, "utf-8", header_name=name).encode(splitchars="", linesep="\r\n")


def _decoded(value: str) -> str:
    return str(make_header(decode_header("".join(value.splitlines()))))


def _people(value: str) -> list[tuple[str, str]]:
    # First taken apart and then decoded, as RFC 2047 wants it: a decoded comma parts nobody.
    return [(_decoded(name), address) for name, address in getaddresses([value])]
