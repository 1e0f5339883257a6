"""The tree of errors, by what to do next: reject, retry later, give up, or do not start.

Foreign exceptions are translated into these where they enter. A record that is gone or a person who
opted out is not an error but an outcome with a reason (`schemas.reasons`).
"""

from collections.abc import Mapping
from typing import Any

from schemas.reasons import REFUSALS, Reason, Refusal

FieldErrors = Mapping[Any, Any]  # marshmallow's nested errors, by field name


def frames_of(error: BaseException) -> str:
    """Return an error's type and its stack frames for a log, without values."""
    places = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        module = "/".join(code.co_filename.split("/")[-2:])
        places.append(f"{module}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return " < ".join([type(error).__name__, *reversed(places[-6:])])


class CoursebellError(Exception):
    """Base class of all errors of this project."""


class Rejected(CoursebellError):
    """A request cannot be accepted; the response says why. `refusal` is the reason to count."""

    http_status = 400
    refusal: Refusal | None = None


class BadSignature(Rejected):
    """The sender of a delivery is not authenticated. The only error a verifier raises."""

    http_status = 401

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(REFUSALS[refusal].cause)
        self.refusal = refusal


class UnknownRoute(Rejected):
    """A delivery was posted to an address that is not a hook route."""

    http_status = 404
    refusal = Refusal.UNKNOWN_ROUTE


class TooLarge(Rejected):
    """The delivery has more bytes than are accepted."""

    http_status = 413
    refusal = Refusal.TOO_LARGE


class TooSlow(Rejected):
    """The delivery's body did not arrive in time."""

    http_status = 408
    refusal = Refusal.TOO_SLOW


class Overloaded(Rejected):
    """Too many requests at once, or the server is stopping (`is_stop`); the sender may retry."""

    http_status = 503

    def __init__(self, *, is_stop: bool = False) -> None:
        super().__init__("the server is stopping" if is_stop else "too many requests at once")
        self.refusal = None if is_stop else Refusal.OVERLOADED


class NotVerifiable(Rejected):
    """A message of Amazon SNS cannot be verified now; it may be sent again."""

    http_status = 503
    refusal = Refusal.MAIL_NO_CERTIFICATE

    def __init__(self) -> None:
        super().__init__(REFUSALS[self.refusal].cause)


class Unreadable(Rejected):
    """The delivery is authentic but cannot be parsed; carries the errors by field."""

    def __init__(self, message: str, fields: FieldErrors | None = None) -> None:
        super().__init__(message)
        self.fields: FieldErrors = fields or {}


class Transient(CoursebellError):
    """A later retry may help. `retry_after_s` is the server's request in seconds, if any."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class SourceError(CoursebellError):
    """Base class of what can go wrong at the source; the subclass says what to do next."""


class SourceUnavailable(SourceError, Transient):
    """The source gave no usable answer: timeout, 5xx, broken connection, a page of HTML."""


class RecordStuck(SourceUnavailable):
    """The source lists this record but fails to return it; other records may work."""


class SourceThrottled(SourceError, Transient):
    """The source asked us to slow down (it says so with HTTP 409: contract, section 4)."""


class NotThereYet(SourceError, Transient):
    """The source announced a record that it does not return yet; it may seconds later."""


class DeliveryUnavailable(Transient):
    """The receiving server said "later" or could not be reached. Nothing was delivered."""


class ChannelUnavailable(DeliveryUnavailable):
    """No action of this kind, or to this endpoint, can be delivered now.

    The fault is the server's or the settings'. `reason` is one of `ledger.outages.OUTAGE_REASONS`.
    `answer` is what the server or the system said, on one line without addresses; empty if there
    was no answer.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        answer: str = "",
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(f"{message}: {answer}" if answer else message, retry_after_s=retry_after_s)
        self.reason = reason
        self.answer = answer


class LedgerUnavailable(Transient):
    """The ledger cannot be used now; nothing was stored, and nothing may be acknowledged.

    `next_step` tells an operator what to do. With `needs_person`, waiting does not help.
    `is_undone`: the database rolled the transaction back, and it may be repeated at once.
    """

    http_status = 503

    def __init__(
        self,
        message: str,
        *,
        next_step: str = "Look at COURSEBELL_DATABASE_URL, the database and its disk.",
        needs_person: bool = False,
        is_undone: bool = False,
    ) -> None:
        super().__init__(message)
        self.next_step = next_step
        self.needs_person = needs_person
        self.is_undone = is_undone


class Permanent(CoursebellError):
    """A retry cannot help; a person must act."""


class SourceRefused(SourceError, Permanent):
    """The source refused the request (sign-in, rights, a redirect)."""


class SignInRefused(SourceRefused):
    """The source refuses our sign-in, or there is none. Nothing can be read."""


class RecordUnreadable(SourceError, Permanent):
    """The record does not fit our schema; carries the errors by field, never the values."""

    def __init__(self, message: str, fields: FieldErrors | None = None) -> None:
        super().__init__(message)
        self.fields: FieldErrors = fields or {}


class BackupUnusable(Permanent):
    """A file that was given as a backup cannot be restored; the text says why."""


class DeliveryRefused(Permanent):
    """An action cannot be delivered, now or later; `detail` is the server's answer, if any.

    `reason` is what is recorded; None stands for the usual reason of the action's kind.
    """

    def __init__(self, message: str, *, detail: str = "", reason: Reason | None = None) -> None:
        super().__init__(message)
        self.detail = detail
        self.reason = reason


class RecipientUnusable(DeliveryRefused):
    """The person cannot be reached by this kind of action, so it is skipped for `reason`."""

    def __init__(self, message: str, *, reason: Reason) -> None:
        super().__init__(message, reason=reason)
        self.skip_reason = reason


class DeliveryUnknown(CoursebellError):
    """The connection was cut during delivery: it may have been done, so it is never repeated."""


class ConfigurationError(CoursebellError):
    """The process must not start. Carries every mistake, one sentence each.

    `closing` is what to print after them.
    """

    closing = "Correct this, then try again. To see every setting: coursebell config show"

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = mistakes


class LedgerNotReady(ConfigurationError):
    """The ledger's tables are missing or of an older version; run `coursebell migrate`."""

    def __init__(self, mistake: str) -> None:
        super().__init__([mistake])
