"""An email as a real person would get it now, to look at or to test, and what came of it before.

`coursebell preview` and `coursebell test` show the same as the operators' pages.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from ledger.engine import Connection, Engine
from ledger.stories import ActionView, EventView, history_of
from schemas.events import ONCE, EventKind
from schemas.rules import Rule
from schemas.settings import Settings
from workers.actions.email import KIND, TEMPLATES
from workers.actions.email.action import EmailAction
from workers.actions.email.connection import SmtpTimeouts
from workers.deliver.context import SendSetup
from workers.deliver.example import Example, example_of
from workers.deliver.simulation import Imagined, imagine
from workers.secret_key import has_secret_key, secret_key


@dataclass(frozen=True, slots=True)
class WantedEmail:
    """Which email: its template, about whom and which course, in which language.

    `by` is the rule that sends it; None: the first that is on. Without a `language` it is written
    in that of its reader. Without a `course_id` the person must have one enrolment.
    """

    template: str
    coworker_id: int
    course_id: int | None = None
    language: str | None = None
    by: Rule | None = None


def read_example(
    connection: Connection, setup: SendSetup, wanted: WantedEmail, now: datetime, new_id: str
) -> Example | None:
    """Return the email; None if it is unclear about which course, or a record is unknown.

    `new_id` tells it from every other email, so that mail programs show each test.
    """
    fits = TEMPLATES[wanted.template]
    whose = (wanted.coworker_id, wanted.course_id)
    found = example_of(connection, setup, wanted.template, fits, *whose, now, wanted.by)
    if found is None:
        return None
    context = replace(found.context, action_key=f"example/{new_id}")
    if wanted.language is not None:
        context = replace(context, languages=(wanted.language,))
    return replace(found, context=context)


def email_action(setup: SendSetup) -> EmailAction:
    """Return what writes emails. Raises `TypeError` if another action is installed as `email`."""
    action = setup.actions[KIND]
    if not isinstance(action, EmailAction):
        raise TypeError("another action is installed as `email`")
    return action


def action_for_tests(settings: Settings, timeouts: SmtpTimeouts) -> EmailAction:
    """Return what writes and sends test emails, with these times for the mail server.

    Raises:
        ConfigurationError: the wording file or the key that signs emails cannot be used.
    """
    key = secret_key(settings) if has_secret_key(settings) else None
    return EmailAction.from_settings(replace(settings, secret_key=key), timeouts)


def earlier_events(connection: Connection, example: Example) -> list[EventView]:
    """Return the events of this kind that were found and do not happen again."""
    if example.rule is None or example.kind not in ONCE:
        return []
    context = example.context
    found = history_of(connection, context.person.coworker_id)
    wanted = (example.kind, context.course.record_id)
    alike = [one for one in found if (one.kind, one.course_id) == wanted]
    if example.kind is EventKind.ENROLMENT_REQUESTED:  # each enrolment asks anew
        return [one for one in alike if one.course_member_id == context.enrolment.record_id]
    return alike


def emails_of(event: EventView, template: str) -> list[ActionView]:
    """Return the emails of this template that an event led to, without those that were resent."""
    return [one for one in event.actions if one.template == template and not one.was_resent]


def expected_now(engine: Engine, setup: SendSetup, example: Example) -> Imagined | None:
    """Return what would follow if the event happened now; None if that cannot be imagined."""
    if not example.can_be_imagined:
        return None
    context = example.context
    whose = (context.person.coworker_id, context.course.record_id)
    return imagine(engine, setup, example.kind, *whose, context.now)
