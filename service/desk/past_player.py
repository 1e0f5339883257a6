"""Plays the past with another value of a setting, which takes too long for a page.

It plays by the function of `coursebell simulate`, once by the rules in force and once by others.
Nothing is written, and Nexudus is not asked. Answers are kept in memory for some minutes.
"""

import threading
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import NamedTuple

import structlog

from ledger.clock import Clock
from ledger.engine import Engine, reading
from ledger.history import count_events_since
from schemas.actions import ActionState
from schemas.errors import LedgerUnavailable, frames_of
from workers.actions.email import KIND
from workers.decide.play import PlayedAction
from workers.deliver.context import SendSetup
from workers.deliver.simulation import simulate

_LOOKED_BACK = tuple(timedelta(days=days) for days in (30, 7, 1))
_KEPT_FOR = timedelta(minutes=15)
_MOST_NAMED = 20  # emails that would differ
Question = tuple[str, str, str]  # the digest of the rules in force, a key, and its value
_log = structlog.get_logger("desk")


class PlayedEmail(NamedTuple):
    """One email of a play: about whom, by which rule, and to whom if not to them."""

    coworker_id: int
    rule: str
    template: str | None
    audience: str | None


@dataclass(frozen=True, slots=True)
class DifferentEmail:
    """An email that would differ: when it goes by the rules in force, and when with another value.

    None: it is not sent, or waits or is held, as `waited` and `waits` say.
    """

    email: PlayedEmail
    before: datetime | None
    after: datetime | None
    waited: bool
    waits: bool

    @property
    def at(self) -> datetime | None:
        """When it goes first, in either play."""
        return min((one for one in (self.before, self.after) if one), default=None)


@dataclass(frozen=True, slots=True)
class Played:
    """What came of a question. `is_open`: it is being played; `error`: why there is no answer.

    `fewer`, `more` and `moved` are how many emails would not have been sent, would have been sent
    too, and would have gone at another time; `waiting` would not have been sent yet: they wait, or
    are held for a person. `different` are the last of all these.
    """

    asked_at: datetime
    is_open: bool = True
    error: str = ""
    since: datetime | None = None
    events: int = 0
    fewer: int = 0
    waiting: int = 0
    more: int = 0
    moved: int = 0
    different: tuple[DifferentEmail, ...] = ()

    @property
    def left_off(self) -> int:
        """How many emails would differ beside those in `different`."""
        return self.fewer + self.waiting + self.more + self.moved - len(self.different)


class _TookTooLongError(Exception):
    """The play did not end in time."""


class _ClosedError(Exception):
    """The play was still under way when the service stopped."""


@dataclass(frozen=True, slots=True)
class _Ends:
    """What became of the emails of one play, by key: when each was sent, and which wait."""

    emails: dict[str, PlayedEmail] = field(default_factory=dict)
    sent: dict[str, datetime] = field(default_factory=dict)
    waiting: set[str] = field(default_factory=set)


@dataclass(slots=True)
class PastPlayer:
    """Plays one question at a time in a thread, and keeps the answers for some minutes."""

    engine: Engine
    clock: Clock
    most_events: int = 5_000
    longest_s: float = 45.0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _known: dict[Question, Played] = field(default_factory=dict)
    _thread: threading.Thread | None = None
    _closed: threading.Event = field(default_factory=threading.Event)

    def of(self, question: Question) -> Played | None:
        """Return what is known of a question."""
        with self._lock:
            return self._kept(question)

    def ask(self, question: Question, old: SendSetup, new: SendSetup) -> bool:
        """Begin to play a question, unless it is known; False if another one is being played.

        What could not be played is played again.
        """
        with self._lock:
            known = self._kept(question)
            if known is not None and known.error != "fault":
                return True
            if any(one.is_open for one in self._known.values()):
                return False
            begun = Played(self.clock.now())
            thread = threading.Thread(
                target=self._run, args=(question, begun, old, new), name="past", daemon=True
            )
            thread.start()  # raises if no thread can be had: nothing is known then
            self._known[question], self._thread = begun, thread
            return True

    def close(self) -> None:
        """End what is being played, which uses the ledger, and wait until it has ended."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()

    def _kept(self, question: Question) -> Played | None:
        begin = self.clock.now() - _KEPT_FOR
        self._known = {
            name: one for name, one in self._known.items() if one.is_open or one.asked_at > begin
        }
        return self._known.get(question)

    def _run(self, question: Question, begun: Played, old: SendSetup, new: SendSetup) -> None:
        try:
            found = self._played(begun, old, new)
        except _TookTooLongError:
            found = replace(begun, error="long")
        except _ClosedError:
            found = replace(begun, error="fault")
        except LedgerUnavailable as error:
            _log.error("desk.unavailable", error=str(error))
            found = replace(begun, error="fault")
        except Exception as error:  # noqa: BLE001 - the question must be answered
            _log.error("desk.fault", error=frames_of(error))
            found = replace(begun, error="fault")
        with self._lock:
            self._known[question] = replace(found, is_open=False)

    def _played(self, begun: Played, old: SendSetup, new: SendSetup) -> Played:
        """Play the events of the longest time that has few enough, by both rules."""
        with reading(self.engine) as connection:
            numbers = (
                (count_events_since(connection, begun.asked_at - one), begun.asked_at - one)
                for one in _LOOKED_BACK
            )
            found = next((one for one in numbers if one[0] <= self.most_events), None)
        if found is None:
            return replace(begun, error="many")
        number, since = found
        before, after = (self._ends(one, since, begun.asked_at) for one in (old, new))
        gone, both = before.sent.keys() - after.sent.keys(), before.sent.keys() & after.sent.keys()
        more = after.sent.keys() - before.sent.keys()
        moved = {key for key in both if before.sent[key] != after.sent[key]}
        return replace(
            begun,
            since=since,
            events=number,
            fewer=len(gone - after.waiting),
            waiting=len(gone & after.waiting),
            more=len(more),
            moved=len(moved),
            different=_last_of(before, after, gone | more | moved),
        )

    def _ends(self, setup: SendSetup, since: datetime, now: datetime) -> _Ends:
        ends_at, ends = self.clock.monotonic() + self.longest_s, _Ends()

        def progressed(_: float = 0) -> None:
            if self._closed.is_set():
                raise _ClosedError
            if self.clock.monotonic() > ends_at:
                raise _TookTooLongError

        def note(action: PlayedAction) -> None:
            progressed()
            key = action.plan.key
            if action.plan.kind != KIND:
                return
            plan = action.plan
            whose = PlayedEmail(plan.coworker_id, plan.rule, plan.template, plan.audience)
            ends.emails[key] = whose
            if action.state is ActionState.DONE:
                ends.sent[key] = action.decided[-1][0]
            elif action.is_open or action.state is ActionState.HELD:
                ends.waiting.add(key)
            else:
                ends.waiting.discard(key)  # it was held until something replaced it

        simulate(self.engine, setup, since, now, progressed, noted=note)
        return ends


def _last_of(before: _Ends, after: _Ends, keys: Collection[str]) -> tuple[DifferentEmail, ...]:
    """Return the emails with these keys that go last, the last first."""
    found = [
        DifferentEmail(
            (before.emails.get(key) or after.emails[key]),
            before.sent.get(key),
            after.sent.get(key),
            key in before.waiting,
            key in after.waiting,
        )
        for key in keys
    ]
    found.sort(key=lambda one: (one.at, one.email.coworker_id, one.email.rule), reverse=True)
    return tuple(found[:_MOST_NAMED])
