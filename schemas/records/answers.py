"""The envelopes of two answers: a page of a list, and the token of a sign-in."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from math import isfinite
from typing import Any

from marshmallow import ValidationError, fields, validate

from schemas.errors import RecordUnreadable
from schemas.fields import Flag, RecordId, SourceSchema, SourceTime, optional_text, optional_time


@dataclass(frozen=True, slots=True)
class Page:
    """Rows as the source sent them, and whether another page follows.

    `total` is how many rows all pages have together; None if the source did not say.
    """

    rows: list[dict[str, Any]]
    has_next: bool
    total: int | None


class PageSchema(SourceSchema):
    """Loads the envelope of a list."""

    record_class = Page

    rows = fields.List(fields.Dict(), data_key="Records", required=True)
    has_next = Flag(data_key="HasNextPage", required=True)
    total = fields.Integer(data_key="TotalItems", strict=True, load_default=None, allow_none=True)


_PAGE = PageSchema()


def load_page(answer: object) -> Page:
    """Return the page of one list answer.

    Raises:
        RecordUnreadable: it is not the envelope of a list.
    """
    match answer:  # as nearly all are; marshmallow decides about all others
        case {"Records": list(rows), "HasNextPage": bool(has_next), "TotalItems": int(total)}:
            if all(type(row) is dict for row in rows):
                return Page(rows, has_next, total)
    try:
        page: Page = _PAGE.load(answer)  # type: ignore[arg-type]  # refused when no mapping
    except (ValidationError, TypeError, AttributeError):
        raise RecordUnreadable("not a page of a list") from None
    return page


_LIFE_IF_UNSAID_S = 900  # "do not assume more than minutes or hours"
_LONGEST_LIFE_S = 1_000_000_000  # about thirty years; much longer ones overflow Python's times
_DIGITS = re.compile(r"[0-9]{1,20}")


@dataclass(frozen=True, slots=True)
class Token:
    """The tokens of a sign-in. `expires_in` is in seconds."""

    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    expires_in: int


class TokenLifetime(fields.Field[int]):
    """Whole seconds. An unreadable lifetime does not make the token unusable."""

    def deserialize(self, value: object, *_: object, **__: object) -> int:
        """Return the seconds; a short default if they are missing or unreadable."""
        if isinstance(value, str) and _DIGITS.fullmatch(value):
            value = int(value)
        if isinstance(value, float) and isfinite(value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            return _LIFE_IF_UNSAID_S
        return min(max(value, 0), _LONGEST_LIFE_S)


class TokenSchema(SourceSchema):
    """Loads a token answer."""

    record_class = Token

    # It is sent in a header, where only visible ASCII is safe.
    access_token = fields.String(required=True, validate=validate.Regexp(r"[\x21-\x7e]+\Z"))
    refresh_token = fields.String(data_key="refresh_token", load_default=None, allow_none=True)
    expires_in = TokenLifetime()


_TOKEN = TokenSchema()


def load_token(answer: object) -> Token:
    """Return the token of a sign-in's answer.

    Raises:
        RecordUnreadable: it is not a token. The message repeats nothing of the answer.
    """
    if not isinstance(answer, dict):
        raise RecordUnreadable("not a token")
    try:
        token: Token = _TOKEN.load(answer)
    except ValidationError:
        raise RecordUnreadable("not a token") from None
    return token


# All 90 actions in the order of their numbers, spelled as the source spells them ("HelDesk"
# included), so that people can search for them there. None is about a course.
ACTION_NAMES = tuple(
    """
    None CoworkerUpdate CoworkerCreate BlogPostCreate BlogPostUpdate BookingCreate BookingUpdate
    BookingDelete SendWelcomeEmail CoworkerContractActivate CoworkerContractCancel
    CoworkerContractRenew CoworkerContractUpgradeDowngrade CoworkerContractActivateFirst
    CoworkerInvoiceCreateFirst CoworkerInvoiceCreate CoworkerInvoiceDelete CoworkerInvoiceUpdate
    CoworkerInvoiceRefund CoworkerInvoiceCreditNote CoworkerInvoicePaid
    CoworkerInvoiceFailedPayment CoworkerInvoiceReceivedPayment CoworkerInvoiceAwaitingPayment
    CalendarEventCreate CalendarEventUpdate CalendarEventAttendeeDelete
    CalendarEventAttendeeCreate CalendarEventAttendeeUpdate GlobalChatMessageCreate
    NewsLetterSubscriberCreate NewsLetterSubscriberSubscribed NewsLetterSubscriberUnSubscribed
    NewsLetterSubscriberRemovedFromGroup CoworkerCheckout CoworkerCheckin CoworkerCheckinFailed
    VisitorNotification CommunityBoardNewThread CommunityBoardNewReply VisitorCheckedin
    VisitorRegistered BlogPostDelete CalendarEventDelete HelDeskMessageCreated
    HelpDeskCommentCreated CheckinCreated CheckinUpdated CheckinDeleted CoworkerDelete
    CoworkerMessageCreate DeliveryCreated DeliveryAssigned ProposalCreated ProposalUpdated
    ProposalDeleted TeamCreated TeamUpdated TeamDeleted CoworkerContractUpdate AccessControlUpdate
    CoworkerContractCreate FailedCheckin VisitorDeleted CoworkerInvoiceLedgerEntryCreate
    CoworkerInvoiceLedgerEntryDelete CoworkerInvoiceLedgerEntryUpdate CoworkerProductCreate
    CoworkerProductUpdate CoworkerProductDelete FloorPlanDeskCreate FloorPlanDeskDelete
    FloorPlanDeskUpdate TariffCreate TariffDelete TariffUpdate CoworkerContractDelete
    FloorPlanCreate FloorPlanDelete FloorPlanUpdate ProductCreate ProductDelete ProductUpdate
    BusinessUpdate CommunityGroupCreate CommunityGroupDelete CommunityGroupUpdate
    CoworkerPaymentMethodCreate CoworkerPaymentMethodDelete CoworkerPaymentMethodUpdate
    """.split()  # noqa: SIM905 - as a list it would be 90 lines
)
_COURSE_WORDS = ("course", "lesson", "enrol")  # also matches "enroll" and "Enrolment"


@dataclass(frozen=True, slots=True)
class WebHook:
    """A webhook of the source: one action at one location.

    `action` is the number of one of `ACTION_NAMES`, or of an action added since. `error_count`
    counts failures in a row; at ten the source switches the webhook off. The URL may contain a key,
    and the last error may repeat the URL, so neither is printed.
    """

    record_id: int
    updated_at: datetime
    business_id: int
    name: str | None
    action: int
    url: str | None = field(repr=False)
    active: bool
    error_count: int | None
    last_error: str | None = field(repr=False)
    last_trigger_at: datetime | None


class WebHookSchema(SourceSchema):
    """Load a WebHook, read by Id or as a row of a list."""

    record_class = WebHook

    record_id = RecordId(data_key="Id", required=True)
    updated_at = SourceTime(data_key="UpdatedOn", required=True)
    business_id = RecordId(data_key="BusinessId", required=True)
    name = optional_text("Name")
    action = fields.Integer(data_key="Action", strict=True, required=True)
    url = optional_text("URL")
    active = Flag(data_key="Active", required=True)
    error_count = fields.Integer(
        data_key="ErrorCount", strict=True, load_default=0, allow_none=True
    )
    last_error = optional_text("LastError")
    last_trigger_at = optional_time("LastTrigger")


def action_name(number: int) -> str:
    """Return the source's name of an action, or for example "action 91" for one added since."""
    if 1 <= number <= len(ACTION_NAMES):
        return ACTION_NAMES[number - 1]
    return f"action {number}"


def course_actions(names: Iterable[str]) -> list[str]:
    """Return the actions among these that seem to be about courses, in the given order.

    The source has none yet. Once it has one, its webhook can report what we poll for today;
    `GET /api/utils/enums?name=eWebhookAction` lists the names (contract, section 5.3).
    """
    return [name for name in names if any(word in name.lower() for word in _COURSE_WORDS)]
