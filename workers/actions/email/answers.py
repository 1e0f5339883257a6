"""Parses envelope addresses, and interprets the answers of a mail server.

People's addresses come from the source, where anything can be typed. An ambiguous address is
refused rather than corrected, since the corrected one may belong to someone else.

An answer is about one email or about all of them. One about all is `ChannelUnavailable`: it costs
no email a try, and all emails wait. When in doubt it is about one email, so that a single strange
address does not stop every other email.

No error here repeats an address. Servers often quote them, and errors end up in logs and on pages,
so every text of a server passes through `quotable` first.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from schemas.errors import (
    ChannelUnavailable,
    DeliveryRefused,
    DeliveryUnavailable,
    RecipientUnusable,
)
from schemas.reasons import Reason
from schemas.text import ascii_domain, is_local_part


class AddressUnusable(RecipientUnusable):
    """No email can be sent to this address; no server was asked."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason=Reason.NO_EMAIL)


@dataclass(frozen=True, slots=True)
class EnvelopeAddress:
    """An address in two parts. `domain` is ASCII; `local` may be any text (RFC 6531)."""

    local: str
    domain: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `local@domain`, the domain in any script.

        Raises `AddressUnusable` for anything else, also quoted local parts and address literals.
        """
        local, at, domain = text.strip(" ").rpartition("@")
        if not (at and is_local_part(local)):
            raise AddressUnusable("the address is not one an email can be sent to")
        name = ascii_domain(domain)
        if name is None:
            raise AddressUnusable("the address has a domain that cannot be written")
        return cls(local, name)

    @property
    def is_ascii(self) -> bool:
        """Whether every server accepts it."""
        return self.local.isascii()

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}"


SEE_URL = "see COURSEBELL_SMTP_URL"
SEE_FROM = "see COURSEBELL_MAIL_FROM"
_LONGEST_ANSWER = 200  # characters kept of a server's answer
_ADDRESS = re.compile(r"<[^<>]*>|\S+@\S+")
_TEMPORARY, _PERMANENT = range(400, 500), range(500, 600)
_CLOSING = 421  # may come at any step (RFC 5321, section 3.8)
_TOO_LARGE = 552  # after MAIL it is the answer to SIZE (RFC 1870)
_IS_TOO_LARGE = re.compile(r"5\.(?:3\.4|2\.3)\b")  # for the server, for the mailbox
# Login required or refused (RFC 4954): about us, at any step.
_LOGIN_CODES = frozenset({530, 534, 535, 538})
# Enhanced codes (RFC 3463) about the sender, or about the server as a whole.
_ABOUT_SENDER = re.compile(r"[45]\.1\.[78]\b")
_ABOUT_SERVER = re.compile(r"[45]\.3\.[0-5]\b")
_OUT_OF_SPACE = re.compile(
    r"4\.3\.[12]\b"
)  # disk full, or accepting no mail: not about the content
# Many servers check the sender, and whether they relay, only once they know a recipient.
_SENDER_WORDS = re.compile(
    r"\bsender\b.*\b(?:reject|denied|refused|not (?:allowed|owned|verified|permitted))"
    r"|\bnot (?:allowed|authori[sz]ed|permitted) to send (?:as|from)\b",
    re.IGNORECASE,
)
_RELAY_WORDS = re.compile(r"\brelay(?:ing)?\b", re.IGNORECASE)
# Postfix's usual answer on port 587 without a login, and to a machine on a block list.
_CLIENT_WORDS = re.compile(
    r"\b(?:client host|helo command) rejected\b|\bclient host\b.*\bblocked\b", re.IGNORECASE
)
_STARTTLS_WORDS = re.compile(r"\bSTARTTLS\b", re.IGNORECASE)
_SENTENCES = {
    Reason.MAIL_STARTTLS: f"the mail server wants STARTTLS; {SEE_URL}",
    Reason.MAIL_LOGIN: f"the mail server wants a login; {SEE_URL}",
    Reason.MAIL_BUSY: "the mail server takes no email now",
    Reason.MAIL_SENDER: f"the mail server refuses our sender; {SEE_FROM}",
    Reason.MAIL_RELAY: f"the mail server relays nothing for us; {SEE_URL}",
    Reason.MAIL_REFUSES_US: f"the mail server refuses this machine; {SEE_URL}",
}


class Step(StrEnum):
    """The step of sending one email at which an answer came."""

    SENDER = "the sender"
    RECIPIENT = "the recipient"
    TEXT = "the start of the text"
    END = "the end of the text"


def quotable(code: int, text: bytes | str) -> str:
    """Return an answer as one short line without any address."""
    if isinstance(text, bytes):
        text = text.decode("ascii", "replace")
    words = _ADDRESS.sub("(address)", f"{code} {text}").split()
    kept = " ".join(words)
    return "".join(c if c.isprintable() else "?" for c in kept)[:_LONGEST_ANSWER]


def refusal(code: int, text: bytes, *, step: Step) -> DeliveryUnavailable | DeliveryRefused:
    """Return the error for a negative answer."""
    answer = quotable(code, text)
    stopped = _about_all(code, answer, step)
    if stopped is not None:
        reason, message = stopped
        return ChannelUnavailable(reason, message, answer=answer)
    if code in _PERMANENT:
        message = f"the mail server refused the email at {step}"
        return DeliveryRefused(message, detail=answer, reason=_own_reason(code, answer, step))
    return DeliveryUnavailable(f"the mail server did not take the email at {step}: {answer}")


def _own_reason(code: int, answer: str, step: Step) -> Reason | None:
    is_size = code == _TOO_LARGE and step is Step.SENDER
    return Reason.MAIL_TOO_LARGE if is_size or _IS_TOO_LARGE.search(answer) else None


def _about_all(code: int, answer: str, step: Step) -> tuple[Reason, str] | None:
    """Return the reason and a sentence if any other email would get the same answer."""
    found = None
    if code in _LOGIN_CODES:
        wants_tls = _STARTTLS_WORDS.search(answer)
        found = Reason.MAIL_STARTTLS if wants_tls else Reason.MAIL_LOGIN
    elif step is Step.END:
        # The server has read the email, so most answers may be about the content.
        found = Reason.MAIL_BUSY if code in _TEMPORARY and _OUT_OF_SPACE.search(answer) else None
    elif code == _CLOSING or (code in _TEMPORARY and _is_of_server(answer, step)):
        found = Reason.MAIL_BUSY
    elif code in _PERMANENT and code != _TOO_LARGE:
        found = _about_us(answer, step)
    return None if found is None else (found, _SENTENCES[found])


def _is_of_server(answer: str, step: Step) -> bool:
    return step is Step.SENDER or _ABOUT_SERVER.search(answer) is not None


def _about_us(answer: str, step: Step) -> Reason | None:
    if step is Step.SENDER:
        return Reason.MAIL_SENDER
    if step is Step.RECIPIENT and (_ABOUT_SENDER.search(answer) or _SENDER_WORDS.search(answer)):
        return Reason.MAIL_SENDER
    if step is Step.RECIPIENT and _CLIENT_WORDS.search(answer):
        return Reason.MAIL_REFUSES_US
    is_relay = step is Step.RECIPIENT and _RELAY_WORDS.search(answer)
    return Reason.MAIL_RELAY if is_relay else None
