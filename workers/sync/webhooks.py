"""Webhook health: notice when a webhook of ours is off, switch it on if allowed, and backfill.

Nexudus switches a webhook off after ten failures in a row and notifies nobody. Each step is stored
before the next begins, so the next check continues after an interruption. No transaction is open
while the source is asked.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta

import structlog

from ledger.checks import CheckKind, Run, begin_check, end_check, fail_check, open_run
from ledger.clock import Clock
from ledger.engine import Connection, Engine, reading, writing
from ledger.hooks import (
    KnownHook,
    SilenceCause,
    Watch,
    delete_hook,
    known_hooks,
    store_hook,
    store_watch,
    watch_of,
)
from schemas.errors import (
    RecordStuck,
    RecordUnreadable,
    SignInRefused,
    SourceError,
    SourceRefused,
)
from schemas.events import is_within
from schemas.records import course_actions
from workers.source.answers import origin, short
from workers.source.client import Source
from workers.source.limits import Patience, Urgency
from workers.source.webhooks import (
    MANY_FAILURES,
    ListedWebhooks,
    Switched,
    SwitchOutcome,
    calls_us,
    fetch_webhook,
    is_for_us,
    list_webhooks,
    switch_on,
    webhook_actions,
)
from workers.sync.backfill import BaselineUnfinished
from workers.sync.poll import reason_of
from workers.sync.webhook_state import (
    A_DAY,
    MARGIN,
    Backfill,
    Report,
    is_backfilled,
    is_settled,
    request_missed,
    seen,
    with_alarm,
)

_CHECK_EVERY = timedelta(minutes=10)
ROUND_S = 240.0  # for a whole check with its backfill; Celery ends the task at 300
_MOST_WRITES = 3  # to one webhook a day: one that keeps failing would be switched on forever
_PERSON_S = 60.0
_MOST_ACTIONS = 20
_LONGEST_ERROR = 300  # characters; our own sentences about refusals are shorter
_NOT_ALLOWED = "COURSEBELL_HOOKS_REENABLE is off"
_TOO_OFTEN = f"it was switched on {_MOST_WRITES} times within a day and did not stay on"
_WHY_NOT = {
    SwitchOutcome.NOT_THERE: "it no longer exists",
    SwitchOutcome.NOT_OURS: "its address is not below COURSEBELL_PUBLIC_URL/hooks/",
    SwitchOutcome.STILL_OFF: "Nexudus reported success and still shows it switched off",
}

_log = structlog.get_logger("webhooks")


@dataclass(frozen=True, slots=True)
class WebhookHealth:
    """What checking webhooks works with. `source` lends a client that can also write.

    `may_switch_on` is COURSEBELL_HOOKS_REENABLE. The list of actions is read once after
    `started_at`, when this process began, and then daily.
    """

    engine: Engine
    source: Callable[[Patience], AbstractContextManager[Source]]
    clock: Clock
    public_url: str
    may_switch_on: bool
    backfill: Backfill
    started_at: datetime


@dataclass(frozen=True, slots=True)
class Enabled:
    """What switching one on by hand resulted in: `asked_for` records requested from `since` on.

    `trouble`: it is on, and missed changes could not all be requested; the next check does it.
    """

    switched: Switched
    since: datetime | None = None
    asked_for: int = 0
    trouble: str | None = None


def is_check_due(connection: Connection, now: datetime) -> bool:
    """Return whether the webhooks should be checked: every ten minutes, and at once at first."""
    looked_at = watch_of(connection).looked_at
    return looked_at is None or not is_within(looked_at, now, _CHECK_EVERY)


def check_webhooks(health: WebhookHealth, now: datetime, *, end: float | None = None) -> Report:
    """Check all webhooks once and return what was found and done.

    After `end` on the monotonic clock (by default in `ROUND_S`) the source is not asked any more;
    the caller limits `health.backfill` likewise. Source errors are reported instead of raised.

    Raises:
        LedgerUnavailable: the last step may not be stored; repeating it is harmless.
    """
    run, watch = _begin(health, now)
    end = health.clock.monotonic() + ROUND_S if end is None else end
    with health.source(Patience(Urgency.WORK, end, lambda: None)) as source:
        try:
            listed = list_webhooks(source, health.public_url)
        except SourceError as error:
            return _unlisted(health, run, watch, error, now)
        check = _Check(health, source, now)
        check.note_all(listed)
        check.repair()
        report, trouble = check.report(listed), check.trouble
        watch = replace(watch, refused=None, refused_at=None)
        try:
            watch = _read_actions(health, source, watch, now)
        except SourceError as error:
            trouble = trouble or error
    report = replace(report, actions=len(watch.actions))
    with writing(health.engine) as connection:
        store_watch(connection, watch, now)
        if trouble is None:
            end_check(connection, run.check_id, now, asdict(report))
            return report
    return _failed(health, run, report, trouble)


def enable(health: WebhookHealth, record_id: int, now: datetime) -> Enabled:
    """Switch a webhook of ours on by hand and request what was missed. Repeating is harmless.

    Raises:
        SourceError: it was not switched on, as far as we know; `WriteDenied` if a role is missing.
        LedgerUnavailable: it may be on, and that is not stored.
    """

    def keep(changed: KnownHook) -> None:
        with writing(health.engine) as connection:
            store_hook(connection, changed, now)

    patience = Patience(Urgency.PERSON, health.clock.monotonic() + _PERSON_S, lambda: None)
    with health.source(patience) as source:
        found = fetch_webhook(source, record_id)
        if found is None:
            return Enabled(Switched(SwitchOutcome.NOT_THERE))
        if not is_for_us(found.url, health.public_url):
            return Enabled(Switched(SwitchOutcome.NOT_OURS))
        with reading(health.engine) as connection:
            hook = seen(known_hooks(connection).get(record_id), found, now)
        switched = Switched(SwitchOutcome.ALREADY)
        if not found.active:
            hook = replace(hook, written_at=(*hook.written_at, now))
            switched = switch_on(source.session, record_id, health.public_url, lambda: keep(hook))
        if switched.outcome not in {SwitchOutcome.ON, SwitchOutcome.ALREADY}:
            return Enabled(switched)
    hook = replace(hook, active=True)
    if hook.alarm is None:
        return Enabled(switched)
    since = (hook.alarm.covered_until or hook.alarm.missed_from) - MARGIN
    asked_for, trouble = 0, None
    try:
        hook, asked_for, trouble = request_missed(hook, health.backfill, health.clock.now())
    except (BaselineUnfinished, SourceError) as error:
        trouble = error
    if trouble is None:
        deed = f"switched on by hand; missed changes requested: {asked_for} records"
        hook = replace(hook, alarm=None, last_deed=deed, last_deed_at=now)
    keep(hook)
    return Enabled(switched, since, asked_for, None if trouble is None else str(trouble))


class _Check:
    """One check of all webhooks: first note how each is, then switch on and backfill."""

    def __init__(self, health: WebhookHealth, source: Source, now: datetime) -> None:
        self._health = health
        self._source = source
        self._now = now
        with reading(health.engine) as connection:
            self._known = known_hooks(connection)
        self._raised = self._switched_on = self._asked_for = 0
        self.trouble: SourceError | None = None

    def note_all(self, listed: ListedWebhooks) -> None:
        """Note how each webhook is, and raise the alarm for those that no longer call us."""
        for hook in listed.ours.values():
            self._note(seen(self._known.get(hook.record_id), hook, self._now))
        for record_id in self._known.keys() - listed.ours.keys() - listed.unread:
            self._try(record_id, self._note_missing)

    def repair(self) -> None:
        """Switch on what is off, if allowed; then request what was missed, which may take long."""
        for step in (self._switch_on_if_off, self._cover):
            for record_id in sorted(self._known):
                if self._known[record_id].alarm is not None:
                    self._try(record_id, step)

    def report(self, listed: ListedWebhooks) -> Report:
        """Return the numbers of this check."""
        alarms = [hook.alarm for hook in self._known.values() if hook.alarm is not None]
        return Report(
            ours=len(listed.ours),
            others=listed.others,
            unread=len(listed.unread),
            silent=len(alarms),
            raised=self._raised,
            switched_on=self._switched_on,
            left_off=sum(bool(alarm.left_off) for alarm in alarms),
            asked_for=self._asked_for,
            failing=sum(hook.warned for hook in self._known.values()),
        )

    def _try(self, record_id: int, step: Callable[[int], None]) -> None:
        """Do one step for one webhook; a failure does not stop the others."""
        try:
            step(record_id)
        except SourceError as error:
            self.trouble = self.trouble or error

    def _note(self, hook: KnownHook) -> None:
        before = self._known.get(hook.record_id)
        if hook.active and hook.error_count >= MANY_FAILURES and not hook.warned:
            _log.warning("hook.failing", hook_id=hook.record_id, error_count=hook.error_count)
            hook = replace(hook, warned=True)
        self._keep(hook)
        if hook.alarm is not None and (before is None or before.alarm is None):
            self._raised += 1
            where = {"business_id": hook.business_id, "action": hook.action}
            silence = hook.alarm.silence.value
            _log.error("hook.switched-off", hook_id=hook.record_id, **where, silence=silence)

    def _note_missing(self, record_id: int) -> None:
        """Fetch a webhook that the list did not show: a list may leave rows out."""
        known = self._known[record_id]
        try:
            found = fetch_webhook(self._source, record_id)
        except (RecordUnreadable, RecordStuck):
            return  # it exists, and that is all we know
        if found is not None and calls_us(found.url, self._health.public_url):
            self._note(seen(known, found, self._now))
            return
        why = SilenceCause.GONE if found is None else SilenceCause.MOVED
        known = with_alarm(known, why, self._now, known.seen_at)
        if is_settled(known, self._known.values(), self._now):
            del self._known[record_id]
            with writing(self._health.engine) as connection:
                delete_hook(connection, record_id)
            return
        self._note(known)

    def _switch_on_if_off(self, record_id: int) -> None:
        hook = self._known[record_id]
        if hook.alarm is None or hook.alarm.silence is not SilenceCause.OFF or hook.active:
            return
        is_allowed = self._health.may_switch_on
        if not is_allowed or len(hook.written_at) >= _MOST_WRITES:
            self._leave_off(record_id, _TOO_OFTEN if is_allowed else _NOT_ALLOWED)
            return
        # Stored before it is sent: an attempt that was interrupted counts too.
        attempted = replace(hook, written_at=(*hook.written_at, self._now))
        try:
            done = switch_on(
                self._source.session,
                record_id,
                self._health.public_url,
                lambda: self._keep(attempted),
            )
        except SourceRefused as error:
            self._leave_off(record_id, str(error))
            return
        if done.outcome in _WHY_NOT:
            self._leave_off(record_id, _WHY_NOT[done.outcome])
            return
        by_us = done.outcome is SwitchOutcome.ON
        self._switched_on += by_us
        _log.info("hook.switched-on", hook_id=record_id, by_us=by_us)
        if done.lost:
            _log.error("hook.changed-by-writing", hook_id=record_id, fields=list(done.lost))
        deed = "switched it on" if by_us else "found it switched on"
        hook = replace(self._known[record_id], active=True)
        self._keep(replace(hook, last_deed=deed, last_deed_at=self._now))

    def _leave_off(self, record_id: int, why: str) -> None:
        hook = self._known[record_id]
        if hook.alarm is None:
            return
        if why not in {hook.alarm.left_off, _NOT_ALLOWED}:
            _log.warning("hook.left-off", hook_id=record_id, why=why)
        self._keep(replace(hook, alarm=replace(hook.alarm, left_off=why)))

    def _cover(self, record_id: int) -> None:
        """Request what was missed: once when the silence is seen, and once when it has ended."""
        hook = self._known[record_id]
        if hook.alarm is None or (is_backfilled(hook.alarm) and not hook.active):
            return
        try:
            hook, asked_for, trouble = request_missed(
                hook, self._health.backfill, self._health.clock.now()
            )
        except BaselineUnfinished as error:
            _log.info("hook.backfill-waits", hook_id=record_id, why=str(error))
            return
        self._asked_for += asked_for
        if trouble is not None:
            self._keep(hook)
            raise trouble from None
        _log.info("hook.backfilled", hook_id=record_id, records=asked_for)
        total = hook.alarm.asked_for if hook.alarm is not None else asked_for
        deed = f"requested missed changes: {total} records"
        if hook.active:
            _log.info("hook.silence-ended", hook_id=record_id)
            hook, deed = replace(hook, alarm=None), f"it is on again; {deed}"
        self._keep(replace(hook, last_deed=deed, last_deed_at=self._now))

    def _keep(self, hook: KnownHook) -> None:
        self._known[hook.record_id] = hook
        with writing(self._health.engine) as connection:
            store_hook(connection, hook, self._now)


def _begin(health: WebhookHealth, now: datetime) -> tuple[Run, Watch]:
    """Record that a check begins. After a change of our address, known webhooks are forgotten."""
    here = origin(health.public_url)
    with writing(health.engine) as connection:
        watch = watch_of(connection)
        if watch.origin != here:
            for record_id in known_hooks(connection):
                delete_hook(connection, record_id)
        watch = replace(watch, origin=here, looked_at=now)
        store_watch(connection, watch, now)
        run = open_run(connection, [CheckKind.WEBHOOKS], None)
        return run or begin_check(connection, CheckKind.WEBHOOKS, None, now), watch


def _read_actions(health: WebhookHealth, source: Source, watch: Watch, now: datetime) -> Watch:
    """Read the source's actions about courses, at the start and daily; log new ones."""
    read_at = watch.actions_read_at
    if read_at is not None and read_at >= health.started_at and is_within(read_at, now, A_DAY):
        return watch
    watch = replace(watch, actions_read_at=now)
    try:
        names = webhook_actions(source.session)
    except (SourceRefused, RecordUnreadable) as error:
        _log.info("hook.actions-unread", error=str(error))
        return watch
    about = tuple(short(name) for name in course_actions(names))[:_MOST_ACTIONS]
    for name in about:
        if name not in watch.actions:
            _log.warning("hook.course-action", action=name)
    return replace(watch, actions=about)


def _unlisted(
    health: WebhookHealth, run: Run, watch: Watch, error: SourceError, now: datetime
) -> Report:
    """Record that the webhooks could not be listed; a missing role is logged once a day.

    A refused sign-in says nothing about that role and is reported elsewhere.
    """
    if isinstance(error, SourceRefused) and not isinstance(error, SignInRefused):
        if watch.refused_at is None or not is_within(watch.refused_at, now, A_DAY):
            _log.error("hook.unwatched", error=str(error))
            watch = replace(watch, refused_at=now)
        watch = replace(watch, refused=short(str(error), _LONGEST_ERROR))
        with writing(health.engine) as connection:
            store_watch(connection, watch, now)
    return _failed(health, run, Report(actions=len(watch.actions)), error)


def _failed(health: WebhookHealth, run: Run, report: Report, error: SourceError) -> Report:
    with writing(health.engine) as connection:
        fail_check(connection, run.check_id, reason_of(error), str(error))
    _log.info("hook.round-unfinished", error=str(error))
    return replace(report, trouble=str(error))
