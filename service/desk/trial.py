"""Send this to me: an email of a member, marked as a test, to the operator who looks at it.

It does not count as sent, and its links change nothing of the member's: as `coursebell test`.
"""

from flask import Response, request

from ledger.engine import writing
from ledger.interventions import log_decision
from schemas.errors import (
    ChannelUnavailable,
    CoursebellError,
    DeliveryRefused,
    DeliveryUnavailable,
    DeliveryUnknown,
)
from schemas.reasons import Reason
from service.desk.preview import Shot, chosen_email, no_such_email, preview_page, taken
from service.desk.trial_sender import PAGE_TIMEOUTS, NoTrial
from service.desk.visit import Visit
from service.desk.wording import explained, words
from service.email_examples import action_for_tests
from workers.actions.email.answers import AddressUnusable, EnvelopeAddress

_LONGEST_ADDRESS = 254
# The usual sentences say that it is tried again, which a test is not.
_ENDS = {
    Reason.MAIL_TEMPORARY: words("The mail server said to try later."),
    Reason.MAIL_UNREACHABLE: words("The mail server cannot be reached, or does not answer."),
    Reason.MAIL_BUSY: words("The mail server accepts no email now."),
    Reason.MAIL_REFUSES_US: words("The mail server refuses this machine."),
    Reason.MAIL_INTERRUPTED: words("It was cut off before the email was complete."),
}
_NOT_NOW = {
    NoTrial.TOO_MANY: words("That were many tests. Please wait a minute."),
    NoTrial.UNDER_WAY: words("Another test is being sent. Please try again in a moment."),
}


def send_test(visit: Visit, name: str) -> Response:
    """Send an email as a test to the address in the form, and say whether it was accepted."""
    setup = visit.pages.rules.setup()
    shot = chosen_email(setup, name, request.form)
    if shot is None:
        return no_such_email(visit)
    shot, to = taken(visit, setup, shot), visit.field("to", _LONGEST_ADDRESS + 1)
    problem = _wrong_address(visit, to)
    if problem or shot.example is None:
        return preview_page(visit, name, shot, status=422, problem=problem, to=to)
    try:
        action = action_for_tests(visit.pages.settings, PAGE_TIMEOUTS)
        prepared = action.prepare_test(shot.example.context, to)
        sent = visit.pages.trials.send(prepared, visit.operator.operator_id)
    except (DeliveryUnavailable, DeliveryRefused, DeliveryUnknown) as error:
        problem = _why_not(visit, error)
        return preview_page(visit, name, shot, status=409, problem=problem, to=to)
    if isinstance(sent, NoTrial):
        problem = visit.language.say(_NOT_NOW[sent])
        return preview_page(visit, name, shot, status=429, problem=problem, to=to)
    _note(visit, shot)
    notice = visit.language.say("The mail server accepted the test to {address}.").format(
        address=to
    )
    return visit.see_other(f"/emails/{name}?{shot.choice.query()}", notice)


def _wrong_address(visit: Visit, to: str) -> str:
    wrong = visit.language.say("Emails cannot be sent to this address. Please check it.")
    if len(to) > _LONGEST_ADDRESS:
        return wrong
    try:
        EnvelopeAddress.parse(to)
    except AddressUnusable:
        return wrong
    return ""


def _why_not(visit: Visit, error: CoursebellError) -> str:
    """Return why it was not sent; engineers also read what the mail server answered."""
    say = visit.language.say
    if isinstance(error, DeliveryUnknown):
        return say("The mail server did not answer in time, so the test may or may not arrive.")
    reason = Reason.MAIL_REJECTED if isinstance(error, DeliveryRefused) else Reason.MAIL_TEMPORARY
    detail = str(error)
    if isinstance(error, ChannelUnavailable):
        reason = error.reason
    elif isinstance(error, DeliveryRefused):
        reason, detail = error.reason or reason, error.detail or detail
    why = say(_ENDS[reason]) if reason in _ENDS else explained(visit.times, reason)
    text = say("It was not sent. {why}").format(why=why)
    return f"{text} {detail}" if visit.is_engineer else text


def _note(visit: Visit, shot: Shot) -> None:
    detail = {"template": shot.template, "coworker_id": shot.choice.person}
    with writing(visit.pages.engine) as connection:
        log_decision(connection, "test-email", visit.operator.name, visit.now, detail)
