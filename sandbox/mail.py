"""One received email, taken apart for people and tests to look at. Pure."""

from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from html.parser import HTMLParser
from typing import Any


@dataclass(frozen=True, slots=True)
class Mail:
    """An email as it came in. `sender` and `recipients` are the envelope's, the rest is its own."""

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
        """Return what the control route shows; a header that comes twice has a line for each."""
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
        """Return the words and addresses of the web links in the HTML, in their order."""
        reader = _Links()
        reader.feed(self.html)
        reader.close()
        return reader.found


def read_mail(
    raw: bytes, *, number: int, received_at: str, envelope: tuple[str, tuple[str, ...]]
) -> Mail:
    """Return the parts of an email; what is broken in it stays readable as far as possible."""
    message = message_from_bytes(raw, policy=policy.default)
    return Mail(
        number=number,
        received_at=received_at,
        envelope_from=envelope[0],
        envelope_to=envelope[1],
        sender=str(message.get("From", "")),
        to=str(message.get("To", "")),
        subject=str(message.get("Subject", "")),
        message_id=str(message.get("Message-ID", "")),
        headers=tuple((name, str(value)) for name, value in message.items()),
        text=_part(message, "plain"),
        html=_part(message, "html"),
        raw=raw,
    )


def _part(message: EmailMessage, kind: str) -> str:
    for part in message.walk():
        if part.get_content_type() == f"text/{kind}" and not part.is_attachment():
            try:
                return str(part.get_content()).replace("\r\n", "\n")
            except LookupError:  # an encoding nobody knows; the raw email is still there
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
