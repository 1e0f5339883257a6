"""What a mail provider reports about an email: the kinds of reports, and their common form.

`schemas.mail_providers` translates each provider's own words. Only fields that are needed are
taken; of texts, addresses are removed.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from schemas.errors import Unreadable

_LONGEST_DETAIL = 200  # characters
_LONGEST_ID = 200
_LONGEST_CODE = 64
_ADDRESS = re.compile(r"<[^<>]*>|\S*@\S*")
_NAMED = re.compile(r"[^<>]*<([^<>]*)>")  # with the recipient's name before it
_REFERENCE = re.compile(r"<?([0-9a-f]{40})(?:@[^<>\s]*)?>?")
_CODE = re.compile(r"[A-Za-z0-9._:-]+")
_MILLISECONDS_FROM = 1e11  # as seconds, this would be the year 5138


class Provider(StrEnum):
    """A mail provider whose reports are understood. The value is part of its route."""

    SES = "ses"
    POSTMARK = "postmark"
    MAILGUN = "mailgun"
    SENDGRID = "sendgrid"
    BREVO = "brevo"


class ReportKind(StrEnum):
    """What a report says. The values are stored in the ledger."""

    DELIVERED = "delivered"  # the recipient's mail server accepted it
    DELAYED = "delayed"  # the provider tries again
    SOFT_BOUNCE = "soft-bounce"  # it came back, for a cause that may pass
    HARD_BOUNCE = "hard-bounce"  # it came back, and the address does not work
    REFUSED = "refused"  # the provider did not send it
    COMPLAINT = "complaint"  # the recipient marked it as spam
    UNSUBSCRIBED = "unsubscribed"  # the recipient unsubscribed at the provider
    IGNORED = "ignored"  # of no use here, such as that it was opened
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class MailReport:
    """One report about one email to one recipient.

    `event_id` is the provider's, or made of what identifies the event. `reference` is the one that
    we gave the email (see `reference_in`), `message_id` the one that the provider gave it. `code`
    and `detail` are the cause in the provider's words. `happened_at` is None if it is not stated.
    """

    provider: Provider
    kind: ReportKind
    event_id: str = field(repr=False)
    happened_at: datetime | None = None
    recipient: str | None = field(default=None, repr=False)
    reference: str | None = None
    message_id: str | None = None
    code: str | None = None
    detail: str | None = field(default=None, repr=False)


def reference_in(text: object) -> str | None:
    """Return our reference of an email from its Message-ID, or from where only it stands.

    See `workers.actions.email.message.message_id`.
    """
    match = _REFERENCE.fullmatch(text.strip()) if isinstance(text, str) else None
    return match[1] if match else None


def read_json(body: bytes | str) -> Any:  # noqa: ANN401 - any JSON
    """Return the value of a JSON text in UTF-8.

    Raises:
        Unreadable: it is none, or nested too deeply.
    """
    try:
        return json.loads(body.decode() if isinstance(body, bytes) else body)
    except (ValueError, RecursionError):
        raise Unreadable("the body is not JSON") from None


def text_at(row: object, *path: str) -> str | None:
    """Return the text or number at this path as a text on one line; None if there is none."""
    found = value_at(row, *path)
    if isinstance(found, bool) or not isinstance(found, str | int | float):
        return None
    text = "".join(one if one.isprintable() else " " for one in str(found)).strip()
    return text[:_LONGEST_ID] or None


def value_at(row: object, *path: str) -> Any:  # noqa: ANN401 - any JSON
    """Return the value at this path, or None."""
    for name in path:
        row = row.get(name) if isinstance(row, Mapping) else None
    return row


def needed(row: object, *path: str) -> str:
    """Return the text at this path.

    Raises:
        Unreadable: there is none.
    """
    text = text_at(row, *path)
    if text is None:
        raise Unreadable(f"{'.'.join(path)} is missing")
    return text


def address_at(row: object, *path: str) -> str | None:
    """Return the email address at this path; None if there is none."""
    text = text_at(row, *path)
    named = _NAMED.fullmatch(text or "")
    text = named[1] if named else text
    return text if text and text.count("@") == 1 else None


def time_at(row: object, *path: str) -> datetime | None:
    """Return the time at this path, in ISO 8601 or in seconds or milliseconds since 1970."""
    found = value_at(row, *path)
    try:
        if isinstance(found, str) and not found.replace(".", "", 1).isdigit():
            moment = datetime.fromisoformat(found)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
        if isinstance(found, bool) or not isinstance(found, str | int | float):
            return None
        seconds = float(found)
        if not math.isfinite(seconds):
            return None
        return datetime.fromtimestamp(
            seconds / 1000 if seconds >= _MILLISECONDS_FROM else seconds, UTC
        )
    except (ValueError, OverflowError, OSError):
        return None


def code_of(text: str | None) -> str | None:
    """Return a provider's code if it is a short word, so that it holds no address."""
    return text if text and len(text) <= _LONGEST_CODE and _CODE.fullmatch(text) else None


def detail_of(*texts: str | None) -> str | None:
    """Return texts as one short line without addresses."""
    joined = " ".join(" ".join(_ADDRESS.sub("(address)", one or "").split()) for one in texts)
    kept = "".join(one if one.isprintable() else "?" for one in joined.strip())
    return kept[:_LONGEST_DETAIL] or None
