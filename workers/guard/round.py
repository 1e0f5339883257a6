"""What one round does with each webhook: note how it is, then mend it.

The round itself is `workers.guard.guard`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from ledger.hooks import KnownHook, Silence
from schemas.errors import (
    CoursebellError,
    LedgerUnavailable,
    RecordStuck,
    RecordUnreadable,
    SourceRefused,
)
from workers.check.backfill import FirstLookAwaited, Unfinished
from workers.clocks import Clock
from workers.guard.judging import MOST_WRITES, is_covered, is_failing, is_settled, seen, silenced
from workers.guard.looking import Seen, calls_us, fetch_hook
from workers.guard.mending import Backfill, Came, cover, cover_in_part, switch_on
from workers.source.client import Source
from workers.source.writing import Writing

_TOO_OFTEN = f"it was switched on {MOST_WRITES} times within a day and did not stay on"
_NOT_ALLOWED = "COURSEBELL_HOOKS_REENABLE is off"
_WHY_NOT = {
    Came.NOT_THERE: "it is not there any more",
    Came.NOT_OURS: "its address is not below COURSEBELL_PUBLIC_URL/hooks/",
    Came.STILL_OFF: "Nexudus said it was done, and it was not",
}

_log = structlog.get_logger("guard")


@dataclass(frozen=True, slots=True)
class Tools:
    """With what webhooks are mended, and whether they may be switched on."""

    public_url: str
    may_switch_on: bool
    backfill: Backfill
    clock: Clock


class Round:
    """One round over `known`, which it brings up to date; `keep` remembers one of them."""

    def __init__(
        self,
        tools: Tools,
        source: Source,
        known: dict[int, KnownHook],
        keep: Callable[[int], None],
        now: datetime,
    ) -> None:
        self._tools = tools
        self._source = source
        self._known = known
        self._remember = keep
        self._now = now
        self.raised = self.switched_on = self.asked_for = 0
        self.trouble: CoursebellError | None = None

    def note(self, there: Seen) -> None:
        """Note how each webhook is, and raise the alarm for those that call us no more."""
        for hook in there.ours.values():
            self._note(seen(self._known.get(hook.record_id), hook, self._now))
        for record_id in self._known.keys() - there.ours.keys() - there.unread:
            self._or_trouble(record_id, self._note_missing)

    def mend(self) -> None:
        """Switch on what is off, if we may, and have what was missed asked for.

        First all are switched on: what was missed may take longer than there is time.
        """
        for mend in (self._switch_on_if_off, self._cover):
            for record_id in sorted(self._known):
                if self._known[record_id].alarm is not None:
                    self._or_trouble(record_id, mend)

    def _or_trouble(self, record_id: int, do: Callable[[int], None]) -> None:
        """Do something for one webhook; trouble with it does not stop the others."""
        try:
            do(record_id)
        except LedgerUnavailable:
            raise
        except CoursebellError as error:
            self.trouble = self.trouble or error

    def _note(self, hook: KnownHook) -> None:
        before = self._known.get(hook.record_id)
        if is_failing(hook) and not hook.warned:
            _log.warning("hook.failing", hook_id=hook.record_id, error_count=hook.error_count)
            hook = replace(hook, warned=True)
        is_new = hook.alarm is not None and (before is None or before.alarm is None)
        self._keep(hook)
        if hook.alarm is not None and is_new:
            self.raised += 1
            _log.error(
                "hook.switched-off",
                hook_id=hook.record_id,
                business_id=hook.business_id,
                action=hook.action,
                silence=hook.alarm.silence.value,
            )

    def _note_missing(self, record_id: int) -> None:
        """Look for a webhook that the list did not show. A list may leave rows out."""
        known = self._known[record_id]
        try:
            found = fetch_hook(self._source, record_id)
        except (RecordUnreadable, RecordStuck):
            return  # there is one; how it is cannot be told
        if found is not None and calls_us(found.url, self._tools.public_url):
            self._note(seen(known, found, self._now))
            return
        silence = Silence.GONE if found is None else Silence.MOVED
        known = silenced(known, silence, self._now, known.seen_at)
        if is_settled(known, self._known.values(), self._now):
            del self._known[record_id]
            self._remember(record_id)
            return
        self._note(known)

    def _switch_on_if_off(self, record_id: int) -> None:
        hook = self._known[record_id]
        if hook.alarm is not None and hook.alarm.silence is Silence.OFF and not hook.active:
            self._switch_on(hook)

    def _cover(self, record_id: int) -> None:
        """Have asked for what was missed: once for the silence, and once when it has ended."""
        hook = self._known[record_id]
        if hook.alarm is None or (is_covered(hook.alarm) and not hook.active):
            return
        asked_before, until = hook.alarm.asked_for, self._tools.clock.now()
        try:
            covered = cover(hook, self._tools.backfill, until)
        except FirstLookAwaited as error:
            _log.info("hook.backfill-waits", hook_id=record_id, why=str(error))
            return
        except Unfinished as stopped:
            self.asked_for += stopped.asked_for
            self._keep(cover_in_part(hook, stopped, until))
            raise stopped.trouble from None
        asked_for = (covered.alarm or hook.alarm).asked_for
        self.asked_for += asked_for - asked_before
        _log.info("hook.backfilled", hook_id=record_id, records=asked_for - asked_before)
        deed = f"asked for what was missed, {asked_for} records"
        if hook.active:
            _log.info("hook.silence-ended", hook_id=record_id)
            covered = replace(covered, alarm=None)
            deed = f"it is on again; {deed}"
        self._keep(replace(covered, last_deed=deed, last_deed_at=self._now))

    def _switch_on(self, hook: KnownHook) -> None:
        """Switch one on, unless that is not allowed, or was done too often."""
        if not self._tools.may_switch_on:
            self._leave_off(hook, _NOT_ALLOWED)
            return
        if len(hook.written_at) >= MOST_WRITES:
            self._leave_off(hook, _TOO_OFTEN)
            return

        def note() -> None:
            # Before it is sent: what was cut off in between counts as a try too.
            written = (*self._known[hook.record_id].written_at, self._now)
            self._keep(replace(self._known[hook.record_id], written_at=written))

        try:
            done = switch_on(
                Writing(self._source.asking), hook.record_id, self._tools.public_url, note
            )
        except SourceRefused as error:
            self._leave_off(self._known[hook.record_id], str(error))
            return
        hook = self._known[hook.record_id]
        if done.came in _WHY_NOT:
            self._leave_off(hook, _WHY_NOT[done.came])
            return
        by_us = done.came is Came.ON
        self.switched_on += by_us
        _log.info("hook.switched-on", hook_id=hook.record_id, by_us=by_us)
        if done.lost:
            _log.error("hook.changed-by-writing", hook_id=hook.record_id, fields=list(done.lost))
        deed = "switched it on" if by_us else "found it switched on"
        self._keep(replace(hook, active=True, last_deed=deed, last_deed_at=self._now))

    def _leave_off(self, hook: KnownHook, why: str) -> None:
        if hook.alarm is None:
            return
        if why not in {hook.alarm.left_off, _NOT_ALLOWED}:
            _log.warning("hook.left-off", hook_id=hook.record_id, why=why)
        self._keep(replace(hook, alarm=replace(hook.alarm, left_off=why)))

    def _keep(self, hook: KnownHook) -> None:
        self._known[hook.record_id] = hook
        self._remember(hook.record_id)
