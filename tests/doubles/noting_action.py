"""An email that goes nowhere: it keeps what it was prepared from."""

from collections.abc import Callable
from typing import Self

from schemas.actions import PersonNeeds
from schemas.settings import Settings
from workers.actions.base import Action, ActionContext, Checkpoints, Prepared, no_op
from workers.actions.email.action import EmailAction


class NotingAction(Action):
    """Adds each context to `noted`, and then calls `when_prepared`."""

    kind = EmailAction.kind
    repeatable = False

    def __init__(
        self,
        noted: list[ActionContext],
        needs: PersonNeeds = EmailAction.needs,
        when_prepared: Callable[[], None] = no_op,
    ) -> None:
        self._noted = noted
        self._when_prepared = when_prepared
        self.needs = needs  # type: ignore[misc]  # of the kind, and here of each test

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:  # noqa: ARG003 - as for every kind
        """Return one that keeps nothing anyone can read."""
        return cls([])

    def prepare(self, context: ActionContext) -> Prepared:
        """Keep the context."""
        self._noted.append(context)
        self._when_prepared()
        return Prepared(None, "Noted", b"Noted", "text/plain", _send)


def _send(checkpoints: Checkpoints) -> str:
    checkpoints.before_commit()
    return "noted"
