"""Webhooks written over the API, and the list of their actions.

Contract, sections 4 to 6. The trap is kept on purpose: an edit takes the whole record and clears
what it leaves out. Fields the source keeps for itself (ErrorCount, LastError, LastTrigger) stay as
they are, and a webhook that is switched on again after ten failures dies of the next one: whether
Nexudus resets the count is not known. As in .NET, a webhook created without `Active` is inactive.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from flask import Response, request

from sandbox.misbehaviour.answers import answered, envelope, missing_right
from sandbox.records import EDITOR, Record, web_hook
from sandbox.stage import Stage
from sandbox.wire import as_created
from schemas.entity import Entity

# All actions in the source's numbering, typos included (contract, section 5.3); none is about
# courses. Kept apart from the list in `schemas` on purpose: a test compares the two.
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
_OF_COURSES = ("CourseMemberCreate", "CourseCompletedLessonCreate")  # the names are a guess
_REQUIRED: Mapping[str, type] = {"BusinessId": int, "Name": str, "Action": int, "URL": str}


def action_items(*, with_courses: bool) -> list[Record]:
    """Return the enumeration as `GET /api/utils/enums` answers it, numbered from 1."""
    names = ACTIONS + _OF_COURSES if with_courses else ACTIONS
    return [{"Id": number, "Name": name} for number, name in enumerate(names, start=1)]


@dataclass(frozen=True, slots=True)
class WebHooks:
    """Webhooks created with POST and edited with PUT."""

    stage: Stage

    def create(self) -> Response:
        """Add a webhook. It has no receiver: only the two webhooks of the start have one."""
        return self._written("create", self._create)

    def edit(self) -> Response:
        """Replace the webhook with the same Id."""
        return self._written("edit", self._edit)

    def _written(self, way: str, write: Callable[[Record], Response]) -> Response:
        refused = missing_right(self.stage.board, Entity.WEB_HOOK, way)
        if refused is not None:
            return refused
        fields = request.get_json(force=True, silent=True)
        if not isinstance(fields, dict):
            return _invalid([("", "The body must be one JSON object.")])
        return write(fields)

    def _create(self, fields: Record) -> Response:
        refused = self._refused(fields)
        if refused is not None:
            return refused
        tenant = self.stage.tenant
        created = web_hook(tenant.new_id(), self.stage.clock(), *_required(fields))
        record = {**created, **_optional(fields)}
        tenant.add(Entity.WEB_HOOK, record)
        times = {name: as_created(record[name]) for name in ("CreatedOn", "UpdatedOn")}
        return self._done({**record, **times})

    def _edit(self, fields: Record) -> Response:
        record_id = fields.get("Id")
        if not _is_a(int, record_id):
            return _invalid([("Id", "The Id must be a whole number.")])
        before = self.stage.tenant.find(Entity.WEB_HOOK, int(record_id or 0))
        if before is None:
            return answered("Not found", 404)
        refused = self._refused(fields)
        if refused is not None:
            return refused
        edited = web_hook(before["Id"], self.stage.clock(), *_required(fields))
        kept = ("CreatedOn", "LastError", "ErrorCount", "LastTrigger")
        after = {**edited, **_optional(fields), **{name: before[name] for name in kept}}
        self.stage.change(Entity.WEB_HOOK, before["Id"], after, resets_errors=False)
        return self._done({"Id": before["Id"]})

    def _refused(self, fields: Record) -> Response | None:
        mistakes = [
            (name, f"{name} is a required field.")
            for name, kind in _REQUIRED.items()
            if not _is_a(kind, fields.get(name)) or not str(fields[name]).strip()
        ]
        if not isinstance(fields.get("Active", False), bool):
            mistakes.append(("Active", "Active must be true or false."))
        if mistakes:
            return _invalid(mistakes)
        location_id = fields["BusinessId"]
        if self.stage.tenant.find(Entity.BUSINESS, location_id) is None:
            # A business rule: HTTP 200 that was not successful (contract, section 4).
            error = _error("BusinessId", location_id, "There is no such location.")
            return answered(envelope(200, str(error["Message"]), Errors=[error]))
        return None

    def _done(self, value: Record) -> Response:
        changes = {"Value": value, "UpdatedOn": as_created(self.stage.clock())}
        message = "WebHook was successfully saved."
        return answered(envelope(200, message, **changes, UpdatedBy=EDITOR, WasSuccessful=True))


def _required(fields: Record) -> tuple[str, int, str]:
    return fields["Name"], fields["Action"], fields["URL"]


def _optional(fields: Record) -> Record:
    return {
        "BusinessId": fields["BusinessId"],
        "Description": fields.get("Description"),
        "Active": fields.get("Active", False),
        "SystemId": fields.get("SystemId"),
    }


def _is_a(kind: type, value: object) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _invalid(mistakes: list[tuple[str, str]]) -> Response:
    """Refuse invalid fields: HTTP 400 with Status 500 in the body (contract, section 4)."""
    errors = [_error(name, None, sentence) for name, sentence in mistakes]
    message = "; ".join(sentence for _, sentence in mistakes)
    return answered(envelope(500, message, Errors=errors), 400)


def _error(name: str, value: object, sentence: str) -> Record:
    return {"AttemptedValue": value, "Message": sentence, "PropertyName": name}
