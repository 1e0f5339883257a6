"""All actions a webhook can have, in the source's numbering, typos included (contract, 5.3). Pure.

No course, lesson or enrolment is among them. Written down a second time on purpose, apart from
`schemas.records.web_hook`: a test holds the two lists against each other.
"""

from sandbox.wire import Record

ACTIONS = tuple(
    """
    None CoworkerUpdate CoworkerCreate BlogPostCreate BlogPostUpdate BookingCreate
    BookingUpdate BookingDelete SendWelcomeEmail CoworkerContractActivate
    CoworkerContractCancel CoworkerContractRenew CoworkerContractUpgradeDowngrade
    CoworkerContractActivateFirst CoworkerInvoiceCreateFirst CoworkerInvoiceCreate
    CoworkerInvoiceDelete CoworkerInvoiceUpdate CoworkerInvoiceRefund
    CoworkerInvoiceCreditNote CoworkerInvoicePaid CoworkerInvoiceFailedPayment
    CoworkerInvoiceReceivedPayment CoworkerInvoiceAwaitingPayment CalendarEventCreate
    CalendarEventUpdate CalendarEventAttendeeDelete CalendarEventAttendeeCreate
    CalendarEventAttendeeUpdate GlobalChatMessageCreate NewsLetterSubscriberCreate
    NewsLetterSubscriberSubscribed NewsLetterSubscriberUnSubscribed
    NewsLetterSubscriberRemovedFromGroup CoworkerCheckout CoworkerCheckin
    CoworkerCheckinFailed VisitorNotification CommunityBoardNewThread CommunityBoardNewReply
    VisitorCheckedin VisitorRegistered BlogPostDelete CalendarEventDelete
    HelDeskMessageCreated HelpDeskCommentCreated CheckinCreated CheckinUpdated CheckinDeleted
    CoworkerDelete CoworkerMessageCreate DeliveryCreated DeliveryAssigned ProposalCreated
    ProposalUpdated ProposalDeleted TeamCreated TeamUpdated TeamDeleted CoworkerContractUpdate
    AccessControlUpdate CoworkerContractCreate FailedCheckin VisitorDeleted
    CoworkerInvoiceLedgerEntryCreate CoworkerInvoiceLedgerEntryDelete
    CoworkerInvoiceLedgerEntryUpdate CoworkerProductCreate CoworkerProductUpdate
    CoworkerProductDelete FloorPlanDeskCreate FloorPlanDeskDelete FloorPlanDeskUpdate
    TariffCreate TariffDelete TariffUpdate CoworkerContractDelete FloorPlanCreate
    FloorPlanDelete FloorPlanUpdate ProductCreate ProductDelete ProductUpdate BusinessUpdate
    CommunityGroupCreate CommunityGroupDelete CommunityGroupUpdate CoworkerPaymentMethodCreate
    CoworkerPaymentMethodDelete CoworkerPaymentMethodUpdate
    """.split()  # noqa: SIM905 - ninety lines otherwise
)
HELP_DESK_MESSAGE_CREATED = 45
NONE = 1
# What the source may one day have; the words are a guess.
OF_COURSES = ("CourseMemberCreate", "CourseCompletedLessonCreate")


def action_items(*, with_courses: bool = False) -> list[Record]:
    """Return the enumeration as `GET /api/utils/enums` answers it, numbered from 1."""
    names = ACTIONS + OF_COURSES if with_courses else ACTIONS
    return [{"Id": number, "Name": name} for number, name in enumerate(names, start=1)]
