"""The kinds of action that rules may name."""

from collections.abc import Mapping, Sequence

from schemas.events import EventKind
from schemas.settings import Settings
from workers.actions.base import Action
from workers.actions.email.action import EmailAction

# One line for each kind.
KINDS: Sequence[type[Action]] = [
    EmailAction,
]


def make_actions(settings: Settings) -> dict[str, Action]:
    """Return one action of each kind, by name, as workers use them."""
    return {kind.kind: kind.from_settings(settings) for kind in KINDS}


def kinds_for_rules() -> dict[str, Mapping[str, frozenset[EventKind]]]:
    """Return the templates of each kind by name, which `load_rules` checks rules against."""
    return {kind.kind: kind.templates for kind in KINDS}
