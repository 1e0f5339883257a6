"""What a hook of the source may be about: all 90 of its actions (contract, section 5.3).

The names are the source's own, its slips included, since people will search for them there. None of
them is about a course, which is why Coursebell has to look for news by itself.
"""

from collections.abc import Iterable
from enum import IntEnum

_WORDS_OF_COURSES = ("course", "lesson", "enrol")  # also finds "enroll" and "Enrolment"


class HookAction(IntEnum):
    """A hook's action, by the number its record has."""

    None_ = 1  # "None" there; that word is taken here
    CoworkerUpdate = 2
    CoworkerCreate = 3
    BlogPostCreate = 4
    BlogPostUpdate = 5
    BookingCreate = 6
    BookingUpdate = 7
    BookingDelete = 8
    SendWelcomeEmail = 9
    CoworkerContractActivate = 10
    CoworkerContractCancel = 11
    CoworkerContractRenew = 12
    CoworkerContractUpgradeDowngrade = 13
    CoworkerContractActivateFirst = 14
    CoworkerInvoiceCreateFirst = 15
    CoworkerInvoiceCreate = 16
    CoworkerInvoiceDelete = 17
    CoworkerInvoiceUpdate = 18
    CoworkerInvoiceRefund = 19
    CoworkerInvoiceCreditNote = 20
    CoworkerInvoicePaid = 21
    CoworkerInvoiceFailedPayment = 22
    CoworkerInvoiceReceivedPayment = 23
    CoworkerInvoiceAwaitingPayment = 24
    CalendarEventCreate = 25
    CalendarEventUpdate = 26
    CalendarEventAttendeeDelete = 27
    CalendarEventAttendeeCreate = 28
    CalendarEventAttendeeUpdate = 29
    GlobalChatMessageCreate = 30
    NewsLetterSubscriberCreate = 31
    NewsLetterSubscriberSubscribed = 32
    NewsLetterSubscriberUnSubscribed = 33
    NewsLetterSubscriberRemovedFromGroup = 34
    CoworkerCheckout = 35
    CoworkerCheckin = 36
    CoworkerCheckinFailed = 37
    VisitorNotification = 38
    CommunityBoardNewThread = 39
    CommunityBoardNewReply = 40
    VisitorCheckedin = 41
    VisitorRegistered = 42
    BlogPostDelete = 43
    CalendarEventDelete = 44
    HelDeskMessageCreated = 45  # without the p: the source's own slip, and its name
    HelpDeskCommentCreated = 46
    CheckinCreated = 47
    CheckinUpdated = 48
    CheckinDeleted = 49
    CoworkerDelete = 50
    CoworkerMessageCreate = 51
    DeliveryCreated = 52
    DeliveryAssigned = 53
    ProposalCreated = 54
    ProposalUpdated = 55
    ProposalDeleted = 56
    TeamCreated = 57
    TeamUpdated = 58
    TeamDeleted = 59
    CoworkerContractUpdate = 60
    AccessControlUpdate = 61
    CoworkerContractCreate = 62
    FailedCheckin = 63
    VisitorDeleted = 64
    CoworkerInvoiceLedgerEntryCreate = 65
    CoworkerInvoiceLedgerEntryDelete = 66
    CoworkerInvoiceLedgerEntryUpdate = 67
    CoworkerProductCreate = 68
    CoworkerProductUpdate = 69
    CoworkerProductDelete = 70
    FloorPlanDeskCreate = 71
    FloorPlanDeskDelete = 72
    FloorPlanDeskUpdate = 73
    TariffCreate = 74
    TariffDelete = 75
    TariffUpdate = 76
    CoworkerContractDelete = 77
    FloorPlanCreate = 78
    FloorPlanDelete = 79
    FloorPlanUpdate = 80
    ProductCreate = 81
    ProductDelete = 82
    ProductUpdate = 83
    BusinessUpdate = 84
    CommunityGroupCreate = 85
    CommunityGroupDelete = 86
    CommunityGroupUpdate = 87
    CoworkerPaymentMethodCreate = 88
    CoworkerPaymentMethodDelete = 89
    CoworkerPaymentMethodUpdate = 90


def action_name(number: int) -> str:
    """Return the source's own name of an action, or such as "action 91" for one added since."""
    try:
        return HookAction(number).name.rstrip("_")
    except ValueError:
        return f"action {number}"


def about_courses(names: Iterable[str]) -> list[str]:
    """Return those names of actions that seem to be about courses, in the given order.

    There is none as yet. The day the source has one, its hooks can bring what must be asked for
    today; it tells its names at `GET /api/utils/enums?name=eWebhookAction` (contract, section 5.3).
    """
    return [name for name in names if any(word in name.lower() for word in _WORDS_OF_COURSES)]
