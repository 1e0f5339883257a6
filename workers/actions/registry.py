"""The kinds of action that rules may name.

A kind's class is imported when it is needed: a program that only checks rules does without what
performs actions, which takes long to import.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from schemas.events import EventKind
from schemas.settings import Settings
from workers.actions import email

if TYPE_CHECKING:
    from workers.actions.base import Action


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of action: its class, as `module:name`.

    `templates` are those that its rules must choose from, with the events each can be about.
    """

    action: str
    templates: Mapping[str, frozenset[EventKind]] = field(default_factory=dict)


# One line for each kind.
KINDS: Mapping[str, Kind] = {
    email.KIND: Kind("workers.actions.email.action:EmailAction", email.TEMPLATES),
}


def action_classes() -> "dict[str, type[Action]]":
    """Return the class of each kind by name."""
    return {name: resolve_name(kind.action) for name, kind in KINDS.items()}


def make_actions(settings: Settings) -> "dict[str, Action]":
    """Return one action of each kind, by name, as workers use them."""
    return {name: action.from_settings(settings) for name, action in action_classes().items()}


def kinds_for_rules() -> dict[str, Mapping[str, frozenset[EventKind]]]:
    """Return the templates of each kind by name, which `load_rules` checks rules against."""
    return {name: kind.templates for name, kind in KINDS.items()}
