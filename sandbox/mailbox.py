"""The received emails, and the answer to the next ones. The SMTP side is `mailserver`."""

import threading
from collections import deque
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from enum import StrEnum
from html.parser import HTMLParser
from itertools import count
from typing import Any

from sandbox.tenant import WorldClock

KEPT = 500


@dataclass(frozen=True, slots=True)
class Mail:
    """A received email. The envelope may name other addresses than the headers."""

    number: int
    received_at: str
    envelope_from: str
    envelope_to: tuple[str, ...]
    sender: str
    to: str
    subject: str
    message_id: str
    headers: tuple[tuple[str, str], ...]
    text: str
    html: str
    raw: bytes

    def report(self) -> dict[str, Any]:
        """Return the email for JSON; a repeated header has one line for each value."""
        headers: dict[str, str] = {}
        for name, value in self.headers:
            headers[name] = f"{headers[name]}\n{value}" if name in headers else value
        return {
            "number": self.number,
            "to": self.to,
            "from": self.sender,
            "subject": self.subject,
            "message_id": self.message_id,
            "text": self.text,
            "html": self.html,
            "headers": headers,
            "received_at": self.received_at,
            "envelope_from": self.envelope_from,
            "envelope_to": list(self.envelope_to),
        }

    def links(self) -> list[tuple[str, str]]:
        """Return the text and address of each web link in the HTML, in order."""
        reader = _Links()
        reader.feed(self.html)
        reader.close()
        return reader.found


class MailAnswer(StrEnum):
    """The answers to an email."""

    ACCEPT = "accept"
    LATER = "later"  # 451 after the body: try again
    REFUSE = "refuse"  # 550 for the recipient: never
    DROP_AFTER_BODY = "drop-after-body"  # the connection is closed instead of an answer
    DROP_AT_DATA = "drop-at-data"  # the connection is closed before the body


@dataclass(slots=True)
class Behaviour:
    """How the next `left` emails are answered; `keep` keeps one whose connection is closed."""

    answer: MailAnswer = MailAnswer.ACCEPT
    left: int = 0
    keep: bool = False


class Mailbox:
    """The emails and the behaviour. Safe to use from several threads."""

    def __init__(self, clock: WorldClock | None = None) -> None:
        self._clock = clock or WorldClock()
        self._lock = threading.Lock()
        self._mails: deque[Mail] = deque(maxlen=KEPT)
        self.reset()

    def mails(self) -> list[Mail]:
        """Return the kept emails, newest last."""
        with self._lock:
            return list(self._mails)

    def mail(self, number: int) -> Mail | None:
        """Return one email, or None if it is not kept."""
        return next((mail for mail in self.mails() if mail.number == number), None)

    def clear(self) -> None:
        """Delete all emails; numbers continue."""
        with self._lock:
            self._mails.clear()

    def reset(self) -> None:
        """Go back to the start: empty, numbers from 1, every email accepted."""
        with self._lock:
            self._mails.clear()
            self._numbers = count(1)
            self._behaviour = Behaviour()

    def behave(self, answer: MailAnswer, times: int, *, keep: bool) -> None:
        """Choose how the next emails are answered."""
        with self._lock:
            self._behaviour = Behaviour(answer, times, keep)

    def next_behaviour(self) -> Behaviour:
        """Return how the email that starts now is answered, and use it up once."""
        with self._lock:
            now = self._behaviour
            if now.left <= 0:
                return Behaviour()
            now.left -= 1
            return now

    def keep(self, raw: bytes, sender: str, recipients: tuple[str, ...]) -> None:
        """Keep an email; sender and recipients are those of its envelope."""
        message = message_from_bytes(raw, policy=policy.default)
        received_at = self._clock().isoformat(timespec="milliseconds")
        with self._lock:
            mail = Mail(
                number=next(self._numbers),
                received_at=received_at,
                envelope_from=sender,
                envelope_to=recipients,
                sender=str(message.get("From", "")),
                to=str(message.get("To", "")),
                subject=str(message.get("Subject", "")),
                message_id=str(message.get("Message-ID", "")),
                headers=tuple((name, str(value)) for name, value in message.items()),
                text=_part(message, "plain"),
                html=_part(message, "html"),
                raw=raw,
            )
            self._mails.append(mail)


def _part(message: EmailMessage, kind: str) -> str:
    for part in message.walk():
        if part.get_content_type() == f"text/{kind}" and not part.is_attachment():
            try:
                return str(part.get_content()).replace("\r\n", "\n")
            except LookupError:  # an unknown encoding; the raw email can still be read
                return ""
    return ""


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []
        self._address = ""
        self._words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            address = dict(attrs).get("href") or ""
            # Only what a browser opens as a page; anything else may be a script.
            self._address = address if address.startswith(("http://", "https://")) else ""
            self._words = []

    def handle_data(self, data: str) -> None:
        self._words.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "a" and self._address:
            words = " ".join("".join(self._words).split())
            self.found.append((words or self._address, self._address))
            self._address = ""
