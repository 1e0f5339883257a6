"""Plays the lines of a history in the order of time, and writes what became of it, in plain words.

It decides nothing: subclasses do, each in its own way.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from tests.builders.space import Space, Step, clock, step_of

_PATIENCE = timedelta(days=60)


class Playback(ABC):
    """Plays a history in a space whose clock is in `zone`.

    `people` are time zones by name, for those whose zone is not the business's.
    """

    def __init__(self, zone: str, people: Mapping[str, str]) -> None:
        self._zone = ZoneInfo(zone)
        self._space = Space(people)
        self._lines: list[tuple[datetime, str]] = []

    @abstractmethod
    def _find(self, name: str, title: str, now: datetime) -> None:
        """Read the enrolment of this person on this course, and decide on what is new."""

    @abstractmethod
    def _release(self, name: str, now: datetime) -> None:
        """Release the held emails of a person."""

    @abstractmethod
    def _advance(self, until: datetime) -> None:
        """Check the emails that are due until then, and write what becomes of them."""

    @abstractmethod
    def _next_timer(self) -> tuple[datetime, int, str] | None:
        """Return when the earliest timer is due, the Id of its enrolment, and its key."""

    @abstractmethod
    def _drop_timer(self, key: str) -> None:
        """End a timer whose enrolment is gone."""

    @abstractmethod
    def _waiting(self) -> Iterable[tuple[datetime, str]]:
        """Return the emails that still wait: when each is due, and its words."""

    def play(self, history: str) -> list[str]:
        """Return a line for each email that is sent, not sent or held, in the order of time.

        Also one for each event that a rule names and that led to nothing.
        """
        steps = [step_of(line, self._zone) for line in history.splitlines() if line.strip()]
        moments = [(min(step.at, step.found_at), 0, step) for step in steps]
        moments += [(step.found_at, 1, step) for step in steps]
        concerned: dict[Step, tuple[str, str] | None] = {}
        for moment, is_found, step in sorted(moments, key=lambda one: (one[0], one[1])):
            self._pass(moment)
            if not is_found:
                concerned[step] = self._space.happen(step)
                name, words, _ = step.what.partition("'s held emails are released")
                if words:
                    self._release(name, step.at)
            elif (whose := concerned[step]) is not None:
                self._find(*whose, step.found_at)
        self._pass(max(step.found_at for step in steps) + _PATIENCE)
        self._lines += self._waiting()
        return [f"{clock(at, self._zone)} {text}" for at, text in sorted(self._lines)]

    def _pass(self, until: datetime) -> None:
        """Move the clock, and look at enrolments again whose timers are due on the way."""
        while (timer := self._next_timer()) and timer[0] <= until:
            due_at, enrolment_id, key = timer
            self._advance(due_at)
            whose = self._space.whose(enrolment_id)
            if whose is None:
                self._drop_timer(key)
            else:
                self._find(*whose, due_at)
        self._advance(until)

    def _zone_of(self, name: str) -> ZoneInfo:
        zone = self._space.person(name).zone
        return ZoneInfo(zone) if zone else self._zone

    def _write(self, at: datetime, text: str) -> None:
        self._lines.append((at, text))

    def _words(
        self, whose: tuple[str, str], template: str, lessons: Collection[int], *, is_sent: bool
    ) -> str:
        """Name an email. One that was sent mentions only lessons that are still finished."""
        name, title = whose
        gone = self._space.member(name, title).reopened if is_sent else set()
        numbers = ", ".join(str(one) for one in sorted(set(lessons) - gone))
        about = "" if template != "lesson-finished" else f" {numbers}"
        return f"{name}: {template}{about}"

    def _write_end(
        self, at: datetime, words: str, state: str, reason: str, waits: Iterable[str]
    ) -> None:
        """Write that an email, named by these words, is sent, held or skipped."""
        before = ", ".join(waits)
        after = f" (after {before})" if before else ""
        ends = {"sent": f"is sent{after}", "held": f"is held: {reason}"}
        self._write(at, f"{words} {ends.get(state, f'is not sent: {reason}')}")
