"""The kinds of action that rules may name.

A kind's class is imported when it is needed: a program that only checks rules does without what
performs actions, which takes long to import.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from schemas.actions import RECORD, STAFF, KindForm
from schemas.settings import Settings
from workers.actions import email, webhook

if TYPE_CHECKING:
    from workers.actions.base import Action
    from workers.actions.email.action import EmailAction


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of action: its class, as `module:name`, what rules may say, and what one is called."""

    action: str
    form: KindForm = field(default_factory=KindForm)
    noun: str = "message"


_EMAIL = KindForm(email.TEMPLATES)
_POST = KindForm(keys=frozenset({"endpoint"}))
_NOTE = KindForm(keys=frozenset({"text"}), to=RECORD)
_TASK = KindForm(keys=frozenset({"text", "responsible"}), to=STAFF)
# One line for each kind.
KINDS: Mapping[str, Kind] = {
    email.KIND: Kind("workers.actions.email.action:EmailAction", _EMAIL, "email"),
    webhook.KIND: Kind("workers.actions.webhook.action:WebhookAction", _POST, "webhook"),
    "nexudus-note": Kind("workers.actions.nexudus_note.action:NexudusNoteAction", _NOTE, "note"),
    "nexudus-task": Kind("workers.actions.nexudus_task.action:NexudusTaskAction", _TASK, "task"),
}


def noun_of(kinds: Collection[str]) -> str:
    """Return what actions of these kinds are called, `email`; several kinds are messages."""
    nouns = {KINDS[one].noun if one in KINDS else "message" for one in kinds}
    return nouns.pop() if len(nouns) == 1 else "message" if nouns else KINDS[email.KIND].noun


def number_of(count: int, kinds: Collection[str]) -> str:
    """Return such as `1 email`, `5 webhooks`, or `5 messages` of several kinds."""
    return f"{count} {noun_of(kinds)}{'' if count == 1 else 's'}"


def action_classes() -> "dict[str, type[Action]]":
    """Return the class of each kind by name."""
    return {name: resolve_name(kind.action) for name, kind in KINDS.items()}


def make_actions(settings: Settings) -> "dict[str, Action]":
    """Return one action of each kind, by name, as workers use them."""
    return {name: action.from_settings(settings) for name, action in action_classes().items()}


def email_action(settings: Settings) -> "EmailAction":
    """Return the action that sends emails, for what is no action, such as reports."""
    made: EmailAction = resolve_name(KINDS[email.KIND].action).from_settings(settings)
    return made


def kinds_for_rules() -> dict[str, KindForm]:
    """Return what rules of each kind may say, by name, which `load_rules` checks rules against."""
    return {name: kind.form for name, kind in KINDS.items()}
