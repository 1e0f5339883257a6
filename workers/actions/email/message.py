"""Builds the MIME message of a letter: text, HTML and perhaps a file; verifies its headers.

The standard library's header folding is unreliable: the Python versions we support write an encoded
newline as a real one (CVE-2024-6923, CVE-2026-1299), and 3.11.7 loses spaces and brackets of mixed
titles. So every text from outside in a header is either plain ASCII on one line or encoded words
made here, and is never folded again. All headers are then read back as a mail server reads them.
"""

import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email import message_from_bytes, message_from_string
from email.header import Header, decode_header, make_header
from email.message import EmailMessage
from email.policy import SMTP, EmailPolicy, compat32
from email.utils import format_datetime, getaddresses, quote

from schemas.errors import DeliveryRefused
from schemas.mail_providers import ECHOED_HEADERS
from schemas.rules import Stream
from schemas.settings import MailAddress
from schemas.text import cut_at_word, one_line
from workers.actions.email.answers import EnvelopeAddress
from workers.actions.email.letter import Letter

Named = tuple[str, EnvelopeAddress]  # a name, which may be empty, and its address

_MAX_PLAIN = 60  # characters that fit on one line after any header's name
# Those by which a mail provider's reports name the email; see `schemas.mail_providers`.
_ECHOED = frozenset(one.lower().encode() for one in ECHOED_HEADERS.values())
_OURS = frozenset(
    b"from to subject date message-id auto-submitted mime-version content-type".split()
)
_OF_STREAMS = frozenset(b"list-id feedback-id list-unsubscribe list-unsubscribe-post".split())
_ALLOWED = _OURS | _OF_STREAMS | _ECHOED | {b"reply-to"}
_FIRST_LINE = re.compile(rb"([!-9;-~]+): [^\x00-\x1f\x7f]+")
_NEXT_LINE = re.compile(rb"[ \t][^\x00-\x08\x0a-\x1f\x7f]*[^\x00-\x20\x7f]")
MESSAGE = "message/rfc822"  # the media type of what is kept
REPORT = "report"  # in place of a stream: an email that is not about what one member did
# Mail programs show them and sort by the whole header, so they do not change with the language.
_LIST_NAMES = {
    Stream.SERVICE: "Course emails",
    Stream.REMINDER: "Course reminders",
    REPORT: "Course reports",
}
_SENDER_ID = "coursebell"  # Gmail wants 5 to 15 characters
_MAX_NAME = 78  # characters of a person's name in a header
_MAX_SUBJECT = 200  # composed subjects are shorter


@dataclass(frozen=True, slots=True)
class Attachment:
    """A PDF that an email carries. `name` is an ASCII file name."""

    name: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class StreamHead:
    """What mail programs and providers learn about the stream that an email belongs to.

    `stream` is one of those of members, or `REPORT`. `unsubscribe_url` takes the POST of RFC 8058;
    None leaves both its headers out.
    """

    stream: str
    template: str
    unsubscribe_url: str | None = None

    def headers(self, domain: str) -> dict[str, str]:
        """Return the headers by name; `domain` is the sender's."""
        found = {
            "List-Id": f"{_LIST_NAMES[self.stream]} <{self.stream}.coursebell.{domain}>",
            # For Gmail's reports of complaints: which email, which stream, nothing of the member.
            "Feedback-ID": f"{self.template}:{self.stream}:email:{_SENDER_ID}",
        }
        if self.unsubscribe_url is not None:
            found["List-Unsubscribe"] = f"<{self.unsubscribe_url}>"
            found["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
        return found


@dataclass(frozen=True, slots=True)
class Addressee:
    """Who gets an email, and what mail programs learn about its stream."""

    name: str
    address: str
    stream: StreamHead


def make_message(  # noqa: PLR0913 - the parts of a message head
    letter: Letter,
    *,
    sender: MailAddress,
    reply_to: MailAddress | None,
    to_name: str,
    to_address: str,
    action_key: str,
    made_at: datetime,
    attachment: Attachment | None = None,
    stream: StreamHead | None = None,
    echoed: Collection[str] = (),
) -> EmailMessage:
    """Return the message for a letter, ready for `Mailer.deliver`.

    `made_at` is aware. The same arguments give the same bytes, so a message made again carries the
    same Message-ID. `echoed` are headers that get the reference in it, as the mail provider repeats
    them in its reports.

    Raises `DeliveryRefused` if an address is unusable, or if the resulting headers differ from what
    was intended.
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
    subject = cut_at_word(one_line(letter.subject), _MAX_SUBJECT)
    utf8 = not (people["From"][1].is_ascii and people["To"][1].is_ascii)
    message = EmailMessage(head_policy(utf8=utf8))
    for name, who in people.items():
        write_address(message, name, who)
    write_text(message, "Subject", subject)
    message.set_raw("Date", format_datetime(made_at))
    message.set_raw("Message-ID", message_id(action_key, people["From"][1].domain))
    message.set_raw("Auto-Submitted", "auto-generated")
    of_stream = stream.headers(people["From"][1].domain) if stream else {}
    of_stream |= dict.fromkeys(echoed, reference(action_key))
    for name, value in of_stream.items():
        message.set_raw(name, value)
    # Quoted-printable explicitly: the default may choose 8bit, or base64, which filters dislike.
    message.set_content(letter.text, charset="utf-8", cte="quoted-printable")
    message.add_alternative(letter.html, subtype="html", charset="utf-8", cte="quoted-printable")
    message.set_boundary(_digest(f"boundary {action_key}"))
    if attachment is not None:
        _attach(message, attachment, _digest(f"outer boundary {action_key}"))
    check_head(message, {**people, **of_stream, "Subject": subject})
    return message


@dataclass(frozen=True, slots=True)
class KeptMessage:
    """The parts of a kept message. `html` is "" if it has none."""

    message_id: str
    text: str
    html: str
    attachments: tuple[Attachment, ...] = ()


def read_message(body: bytes) -> KeptMessage:
    """Return the parts of a message made here, or kept by an earlier version."""
    message = message_from_bytes(body, policy=compat32)
    parts = {"text/plain": "", "text/html": ""}
    attachments = []
    for part in message.walk():
        raw = part.get_payload(decode=True)
        if not isinstance(raw, bytes):
            continue
        if part.get_content_disposition() == "attachment":
            attachments.append(Attachment(part.get_filename() or "", raw))
        elif part.get_content_type() in parts:
            parts[part.get_content_type()] = raw.decode().replace("\r\n", "\n")
    return KeptMessage(
        _decoded(str(message["Message-ID"])),
        parts["text/plain"],
        parts["text/html"],
        tuple(attachments),
    )


def _attach(message: EmailMessage, attachment: Attachment, boundary: str) -> None:
    """Put a file beside the text of a message, whose own headers stay as they are."""
    message.add_attachment(
        attachment.content, maintype="application", subtype="pdf", filename=attachment.name
    )
    message.set_boundary(boundary)


def message_id(action_key: str, sender_domain: str) -> str:
    """Return the Message-ID of an action: the same for every attempt, without revealing the key."""
    return f"<{reference(action_key)}@{sender_domain}>"


def reference(action_key: str) -> str:
    """Return the reference in the Message-ID of an action: see `schemas.mail_reports`."""
    return _digest(action_key)


def _named(name: str, address: str) -> Named:
    return cut_at_word(one_line(name), _MAX_NAME), EnvelopeAddress.parse(address)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def head_policy(*, utf8: bool) -> "EmailPolicy[EmailMessage]":
    """Return the policy for our messages: CRLF, and headers are never folded again."""
    return SMTP.clone(refold_source="none", utf8=utf8)


def write_text(message: EmailMessage, name: str, text: str) -> None:
    """Add a header of cleaned text."""
    message.set_raw(name, text if _is_plain(text) else _encoded(name, text))


def write_address(message: EmailMessage, name: str, who: Named) -> None:
    """Add a header of one address with its cleaned name."""
    person, address = who
    if not person:
        message.set_raw(name, f"<{address}>")
        return
    words = f'"{quote(person)}"' if _is_plain(person) else _encoded(name, person)
    gap = " " if _is_plain(f"{words} <{address}>") else "\r\n "
    message.set_raw(name, f"{words}{gap}<{address}>")


def check_head(message: EmailMessage, intended: Mapping[str, str | Named]) -> None:
    """Compare the headers as they will be sent with what was intended.

    Raises `DeliveryRefused` if a header is unknown, repeated or missing, or if a text, name or
    address differs when read back.
    """
    written = message.as_bytes()
    head, _, rest = written.partition(b"\r\n\r\n")
    _check_lines(head)
    if not rest.startswith(f"--{message.get_boundary()}\r\n".encode()):
        raise DeliveryRefused("the header of the email would end too early")
    # The older parser: the newer one of 3.11.7 inserts spaces into long names.
    again = message_from_string(written.decode(), policy=compat32)
    for name, meaning in intended.items():
        value = str(again[name])
        if isinstance(meaning, str):
            same = _decoded(value) == meaning
        else:
            same = _people(value) == [(meaning[0], str(meaning[1]))]
        if not same:
            raise DeliveryRefused(f"the email's {name} would not arrive as intended")


def _check_lines(head: bytes) -> None:
    names: list[bytes] = []
    for line in re.split(rb"\r\n|\r|\n", head):
        if names and _NEXT_LINE.fullmatch(line):
            continue
        match = _FIRST_LINE.fullmatch(line)
        if match is None or match[1].lower() not in _ALLOWED:
            raise DeliveryRefused("the header of the email would contain a line that is not ours")
        names.append(match[1].lower())
    if len(set(names)) != len(names) or not _OURS.issubset(names):
        raise DeliveryRefused("the header of the email would not be the intended one")


def _is_plain(text: str) -> bool:
    return text.isascii() and len(text) <= _MAX_PLAIN


def _encoded(name: str, text: str) -> str:
    return Header(text, "utf-8", header_name=name).encode(splitchars="", linesep="\r\n")


def _decoded(value: str) -> str:
    return str(make_header(decode_header("".join(value.splitlines()))))


def _people(value: str) -> list[tuple[str, str]]:
    # Split first and decode then, as RFC 2047 asks: a decoded comma separates no addresses.
    return [(_decoded(name), address) for name, address in getaddresses([value])]
