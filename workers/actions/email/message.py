"""From a letter to a message: two parts, and a head that is proven before anybody sends it."""

import hashlib
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime

from schemas.errors import ActionRefused
from schemas.settings import MailAddress
from workers.actions.email.foreign_text import cut_at_word, one_line
from workers.actions.email.head import Named, check_head, head_policy, write_address, write_text
from workers.actions.email.letter import Letter
from workers.mailer.address import EnvelopeAddress

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

    Raises `ActionRefused` if an address cannot be written to, or if the head that came out is not
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
            raise ActionRefused("replies need an ASCII address; see COURSEBELL_MAIL_REPLY_TO")
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


def message_id(action_key: str, sender_domain: str) -> str:
    """Return the Message-ID of an action: the same for every attempt; it does not tell the key."""
    return f"<{_digest(action_key)}@{sender_domain}>"


def _named(name: str, address: str) -> Named:
    return cut_at_word(one_line(name), _NAME_ROOM), EnvelopeAddress.parse(address)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:40]
