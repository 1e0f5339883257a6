"""WebHook records (contract, 5.6), and the actions a webhook may be about (contract, 5.3)."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from marshmallow import fields

from schemas.base import SourceSchema
from schemas.fields import Flag, RecordId, SourceTime, optional_text, optional_time

# All 90 actions in the order of their numbers, spelled as the source spells them ("HelDesk"
# included), because people search for these names there. None of them is about a course.
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
_COURSE_WORDS = ("course", "lesson", "enrol")  # also finds "enroll" and "Enrolment"


@dataclass(frozen=True, slots=True)
class WebHook:
    """A webhook as the source has it: one action, one location.

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

    There is none yet. Once the source has one, its webhook can report what we must poll for today;
    `GET /api/utils/enums?name=eWebhookAction` lists the names (contract, section 5.3).
    """
    return [name for name in names if any(word in name.lower() for word in _COURSE_WORDS)]
