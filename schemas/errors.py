"""One tree of errors, cut by what to do next: reject, try later, give up, or do not start.

Foreign exceptions are translated into these where they enter. Things that are no
errors (a record that is gone, a person who opted out) are outcomes with a reason:
see `schemas.reasons`.
"""

from collections.abc import Mapping
from typing import Any

from schemas.reasons import REFUSALS, Reason, Refusal

FieldErrors = Mapping[Any, Any]  # marshmallow's nested errors, by field name


def frames_of(error: BaseException) -> str:
    """Return an error's kind and where it went through, for a log: places, never values."""
    places = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        room = "/".join(code.co_filename.split("/")[-2:])
        places.append(f"{room}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return " < ".join([type(error).__name__, *reversed(places[-6:])])


class CoursebellError(Exception):
    """Anything we raise on purpose."""


class Rejected(CoursebellError):
    """A request cannot be accepted, and the answer says why. `refusal` is what is counted."""

    http_status = 400
    refusal: Refusal | None = None


class BadSignature(Rejected):
    """The delivery is not proven to come from who it says. The only error a verifier raises."""

    http_status = 401

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(REFUSALS[refusal].cause)
        self.refusal = refusal


class UnknownRoute(Rejected):
    """A delivery was posted to an address that is no hook route."""

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
    """Too much arrives at once, or the server stops (`is_stop`); the sender may try again."""

    http_status = 503

    def __init__(self, *, is_stop: bool = False) -> None:
        super().__init__("the server is stopping" if is_stop else "too many requests at once")
        self.refusal = None if is_stop else Refusal.OVERLOADED


class Unreadable(Rejected):
    """The delivery is authentic and cannot be understood; carries the errors by field."""

    def __init__(self, message: str, fields: FieldErrors | None = None) -> None:
        super().__init__(message)
        self.fields: FieldErrors = fields or {}


class Transient(CoursebellError):
    """Trying later may help. `retry_after_s` is the other side's wish in seconds, if any."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class SourceError(CoursebellError):
    """The source gave nothing usable about what was asked; the subclass says what to do next."""


class SourceUnavailable(SourceError, Transient):
    """The source gave no usable answer: timeout, 5xx, broken connection, a page of HTML."""


class RecordStuck(SourceUnavailable):
    """The source lists this one record and fails to show it; others it may well show."""


class SourceThrottled(SourceError, Transient):
    """The source asked us to slow down (it says so with HTTP 409: contract, section 4)."""


class NotThereYet(SourceError, Transient):
    """The source mentioned a record that it does not show yet; seconds later it may."""


class DeliveryUnavailable(Transient):
    """The other side of an action said "later", or could not be reached. Nothing was done."""


class ChannelUnavailable(DeliveryUnavailable):
    """No action of this kind can be delivered now: the fault is the server's or the settings'.

    `reason` is one of `ledger.outages.OUTAGE_REASONS`. `answer` is what the server or the system
    said, on one line without addresses; empty if nothing did.
    """

    def __init__(self, reason: Reason, message: str, *, answer: str = "") -> None:
        super().__init__(f"{message}: {answer}" if answer else message)
        self.reason = reason
        self.answer = answer


class LedgerUnavailable(Transient):
    """The ledger cannot be used now; nothing was kept, and nothing may be acknowledged.

    `next_step` tells an operator what to do. With `needs_person` no waiting helps. `is_undone`: the
    database undid the transaction because of another one, and it may be repeated at once.
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
    """Asking again cannot help; a person has to look."""


class SourceRefused(SourceError, Permanent):
    """The source understood us and said no (sign-in, rights, a redirect)."""


class SignInRefused(SourceRefused):
    """The source does not take our sign-in, or there is none. Nothing at all can be read."""


class RecordUnreadable(SourceError, Permanent):
    """The record does not fit our schema; carries the errors by field, never the values."""

    def __init__(self, message: str, fields: FieldErrors | None = None) -> None:
        super().__init__(message)
        self.fields: FieldErrors = fields or {}


class BackupUnusable(Permanent):
    """A file that was given as a backup cannot be restored; the text says why."""


class DeliveryRefused(Permanent):
    """An action cannot be delivered, now or later; `detail` is the other side's answer, if any.

    `reason` is what is recorded; None stands for the usual reason of the action's kind.
    """

    def __init__(self, message: str, *, detail: str = "", reason: Reason | None = None) -> None:
        super().__init__(message)
        self.detail = detail
        self.reason = reason


class RecipientUnusable(DeliveryRefused):
    """The person cannot be reached in this way, so the action is skipped for `reason`."""

    def __init__(self, message: str, *, reason: Reason) -> None:
        super().__init__(message, reason=reason)
        self.skip_reason = reason


class DeliveryUnknown(CoursebellError):
    """The connection was cut during delivery: it may have been done, so it is never repeated."""


class ConfigurationError(CoursebellError):
    """The process must not start. Carries every mistake, one sentence each.

    `closing` is what to print after them.
    """

    closing = "Nothing was started. `coursebell config show` lists every setting."

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = mistakes


class LedgerNotReady(ConfigurationError):
    """The ledger's tables are missing or of an older version; `coursebell migrate` makes them."""

    def __init__(self, mistake: str) -> None:
        super().__init__([mistake])
