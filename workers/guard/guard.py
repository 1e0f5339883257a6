"""One round of the guardian: look, raise alarms, mend what may be mended, ask for what was missed.

Each step is remembered before the next one begins, so that a round that is interrupted anywhere is
taken up by the next one. No transaction is open while the source is asked.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta

import structlog

from ledger.checks import CheckKind, Run, begin_check, end_check, fail_check, open_run
from ledger.engine import Connection, Engine, reading, writing
from ledger.hooks import Watch, forget_hook, keep_hook, keep_watch, known_hooks, watch_of
from schemas.errors import (
    CoursebellError,
    RecordUnreadable,
    SignInRefused,
    SourceError,
    SourceRefused,
)
from schemas.hook_actions import about_courses
from schemas.skew import is_within
from workers.check.check import reason_of
from workers.clocks import Clock
from workers.guard.judging import A_DAY
from workers.guard.looking import Seen, look, source_actions
from workers.guard.mending import Backfill
from workers.guard.round import Round, Tools
from workers.source.budget import Patience, Urgency
from workers.source.client import Source
from workers.source.foreign import origin, short

EVERY = timedelta(minutes=10)
ROUND_S = 240.0  # for all of a round, with what it has asked for; a task is ended at 300
_MOST_ACTIONS = 20
_LONGEST_ERROR = 300  # characters; our own sentences about refusals are shorter

_log = structlog.get_logger("guard")


@dataclass(frozen=True, slots=True)
class Guarding:
    """With what the guardian works. `source` lends a way there that can also write.

    `may_switch_on` is COURSEBELL_HOOKS_REENABLE. `started_at` is when this process began: the list
    of actions is read once after that, and then daily.
    """

    engine: Engine
    source: Callable[[Patience], AbstractContextManager[Source]]
    clock: Clock
    public_url: str
    may_switch_on: bool
    backfill: Backfill
    started_at: datetime


@dataclass(frozen=True, slots=True)
class Report:
    """What one round found and did, in numbers; `trouble` is why it could not do all of it."""

    ours: int = 0
    others: int = 0
    unread: int = 0
    silent: int = 0  # ours that call us no more, after this round
    raised: int = 0  # alarms that are new
    switched_on: int = 0  # by us
    left_off: int = 0  # that we might have switched on, and did not, or could not
    asked_for: int = 0  # records that may have been missed
    failing: int = 0  # about to be switched off
    actions: int = 0  # that are about courses
    trouble: str | None = None


def is_guard_due(connection: Connection, now: datetime) -> bool:
    """Say whether the guardian should look: every ten minutes, and at once if it never did."""
    looked_at = watch_of(connection).looked_at
    return looked_at is None or not is_within(looked_at, now, EVERY)


def guard(
    guarding: Guarding,
    now: datetime,
    keep: Callable[[], None] = lambda: None,
    *,
    end: float | None = None,
) -> Report:
    """Make one round, and return what came of it. `keep` is called before each question.

    After `end`, of the steady clock (else after `ROUND_S`), no question is asked any more; of
    that `guarding.backfill` has to be told by the caller. Whatever the source does is in the
    report and not raised; the next round goes on.

    Raises:
        LedgerUnavailable: what was done last may not be remembered; doing it again is harmless.
        Whatever `keep` raises.
    """
    run, watch = _begin(guarding, now)
    end = time.monotonic() + ROUND_S if end is None else end
    patience = Patience(Urgency.WORK, end, keep)
    with guarding.source(patience) as source:
        try:
            seen = look(source, guarding.public_url)
        except SourceError as error:
            return _unwatched(guarding, run, watch, error, now)
        report, trouble = _round(guarding, source, seen, now)
        watch = replace(watch, refused=None, refused_at=None)
        try:
            watch = _read_actions(guarding, source, watch, now)
        except SourceError as error:
            trouble = trouble or error
    report = replace(report, actions=len(watch.actions))
    with writing(guarding.engine) as connection:
        keep_watch(connection, watch, now)
        if trouble is None:
            end_check(connection, run.check_id, now, asdict(report))
            return report
    return _failed(guarding, run, report, trouble)


def _begin(guarding: Guarding, now: datetime) -> tuple[Run, Watch]:
    """Note that a round begins. Under another address of ours nothing known is of use."""
    here = origin(guarding.public_url)
    with writing(guarding.engine) as connection:
        watch = watch_of(connection)
        if watch.origin != here:
            for record_id in known_hooks(connection):
                forget_hook(connection, record_id)
        watch = replace(watch, origin=here, looked_at=now)
        keep_watch(connection, watch, now)
        run = open_run(connection, [CheckKind.GUARD], None)
        return run or begin_check(connection, CheckKind.GUARD, None, now), watch


def _round(
    guarding: Guarding, source: Source, seen: Seen, now: datetime
) -> tuple[Report, CoursebellError | None]:
    tools = Tools(guarding.public_url, guarding.may_switch_on, guarding.backfill, guarding.clock)
    with reading(guarding.engine) as connection:
        known = known_hooks(connection)

    def keep_one(hook_id: int) -> None:
        with writing(guarding.engine) as connection:
            if hook_id in known:
                keep_hook(connection, known[hook_id], now)
            else:
                forget_hook(connection, hook_id)

    going = Round(tools, source, known, keep_one, now)
    going.note(seen)
    going.mend()
    hooks = known.values()
    report = Report(
        ours=len(seen.ours),
        others=seen.others,
        unread=len(seen.unread),
        silent=sum(hook.alarm is not None for hook in hooks),
        raised=going.raised,
        switched_on=going.switched_on,
        left_off=sum(hook.alarm is not None and bool(hook.alarm.left_off) for hook in hooks),
        asked_for=going.asked_for,
        failing=sum(hook.warned for hook in hooks),
    )
    return report, going.trouble


def _read_actions(guarding: Guarding, source: Source, watch: Watch, now: datetime) -> Watch:
    """Read which actions about courses there are, at the start and daily; say what is new."""
    read_at = watch.actions_read_at
    is_known = read_at is not None and read_at >= guarding.started_at
    if read_at is not None and is_known and is_within(read_at, now, A_DAY):
        return watch
    watch = replace(watch, actions_read_at=now)
    try:
        names = source_actions(source.asking)
    except (SourceRefused, RecordUnreadable) as error:
        _log.info("hook.actions-unread", error=str(error))
        return watch
    about = tuple(short(name) for name in about_courses(names))[:_MOST_ACTIONS]
    for name in about:
        if name not in watch.actions:
            _log.warning("hook.course-action", action=name)
    return replace(watch, actions=about)


def _unwatched(
    guarding: Guarding, run: Run, watch: Watch, error: CoursebellError, now: datetime
) -> Report:
    """Note that the list could not be read. A missing right is logged once a day.

    A refused sign-in says nothing about that right, and is shown where it belongs.
    """
    if isinstance(error, SourceRefused) and not isinstance(error, SignInRefused):
        if watch.refused_at is None or not is_within(watch.refused_at, now, A_DAY):
            _log.error("hook.unwatched", error=str(error))
            watch = replace(watch, refused_at=now)
        watch = replace(watch, refused=short(f"{error}", _LONGEST_ERROR))
        with writing(guarding.engine) as connection:
            keep_watch(connection, watch, now)
    return _failed(guarding, run, Report(actions=len(watch.actions)), error)


def _failed(guarding: Guarding, run: Run, report: Report, error: CoursebellError) -> Report:
    if not isinstance(error, SourceError):
        raise error
    with writing(guarding.engine) as connection:
        fail_check(connection, run.check_id, reason_of(error), str(error))
    _log.info("hook.round-unfinished", error=str(error))
    return replace(report, trouble=str(error))
