"""What the pages know of the service now: whether emails are sent, and by which rules."""

import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from ledger.clock import Clock
from ledger.controls import Sending
from ledger.courses import course_titles
from ledger.engine import Connection
from ledger.members import names_of_members
from ledger.pauses import Pause, PauseScope, pause_of
from ledger.people import names_of
from ledger.queries import EmailView
from ledger.stories import TitledEvent
from schemas.actions import OPEN_ACTIONS, Mode
from schemas.errors import ConfigurationError
from schemas.settings import Settings
from workers.deliver.context import SendSetup
from workers.deliver.forecast import make_send_setup

_RULES_KEPT_S = 30.0


@dataclass(frozen=True, slots=True)
class SendingState:
    """The mode, and the pauses that hold emails now."""

    sending: Sending
    pauses: tuple[Pause, ...]
    names: Mapping[int, str] = field(default_factory=dict, repr=False)
    """By the Id of a pause: the person or course that it is about, if that is known."""

    @property
    def is_observing(self) -> bool:
        """Whether emails are written and kept here."""
        return self.sending.mode is not Mode.SENDING

    @property
    def all_paused(self) -> Pause | None:
        """The pause of all emails, if there is one."""
        return next((one for one in self.pauses if one.scope is PauseScope.ALL), None)

    def of_person(self, coworker_id: int) -> Pause | None:
        """Return the pause of emails to this person alone, if there is one."""
        wanted = PauseScope.PERSON, str(coworker_id)
        return next((one for one in self.pauses if (one.scope, one.target) == wanted), None)


def held_ids(
    state: SendingState,
    now: datetime,
    these: Iterable[TitledEvent] = (),
    emails: Iterable[EmailView] = (),
) -> set[int]:
    """Return which open emails about these events, or of these emails, a pause will hold."""
    about = [
        (action.action_id, action.state, action.rule, one.event.course_id, one.coworker_id)
        for one in these
        for action in one.event.actions
    ]
    about += [
        (one.action_id, one.state, one.rule, one.course_id, one.coworker_id) for one in emails
    ]
    return {
        action_id
        for action_id, is_in, rule, course_id, coworker_id in about
        if is_in in OPEN_ACTIONS
        and pause_of(state.pauses, now, rule=rule, course_id=course_id, coworker_id=coworker_id)
    }


def pause_names(connection: Connection, pauses: Iterable[Pause]) -> dict[int, str]:
    """Return whom or which course these pauses are about, by their Ids."""
    ids: dict[PauseScope, dict[int, int]] = {PauseScope.PERSON: {}, PauseScope.COURSE: {}}
    for one in pauses:
        if one.scope in ids and one.target is not None:
            ids[one.scope][one.pause_id] = int(one.target)
    people = ids[PauseScope.PERSON].values()
    known: dict[PauseScope, Mapping[int, str]] = {
        PauseScope.PERSON: names_of_members(connection, people) | names_of(connection, people),
        PauseScope.COURSE: course_titles(connection) if ids[PauseScope.COURSE] else {},
    }
    return {
        pause_id: name
        for scope, these in ids.items()
        for pause_id, of_id in these.items()
        if (name := known[scope].get(of_id))
    }


class RulesNow:
    """What forecasts and previews use: the rules in force, read again after half a minute.

    If the file can no longer be read, the rules that were read last are kept, as workers keep them.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._made: SendSetup | None = None
        self._made_at = 0.0

    def setup(self) -> SendSetup:
        """Return the set-up for forecasts. Raises `ConfigurationError` if there never was one."""
        with self._lock:
            now = self._clock.monotonic()
            if self._made is None:
                self._made, self._made_at = make_send_setup(self._settings), now
            elif now - self._made_at >= _RULES_KEPT_S:
                with suppress(ConfigurationError):
                    self._made = make_send_setup(self._settings)
                self._made_at = now
            return self._made
