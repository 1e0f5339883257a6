"""Begins and ends pauses, for commands and pages: what will wait, and what becomes of it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self

from ledger.controls import sending_of
from ledger.engine import Connection, Engine, lock_decisions, writing
from ledger.interventions import release_held, skip_held
from ledger.outbox import read_actions
from ledger.pauses import (
    MOST_AT_ONCE,
    Pause,
    PauseScope,
    begin_pause,
    end_pauses,
    held_by,
    keep_held,
    kinds_held_by,
    note_digest,
    open_among,
    open_pauses,
    reports_among,
    reports_held_by,
    skip_reports,
)
from schemas.actions import Mode
from service.sending_outcomes import part_of
from workers.deliver.context import SendSetup
from workers.deliver.forecast import Expected, forecast

LONGEST_NOTE = 500  # characters


@dataclass(frozen=True, slots=True)
class PauseWish:
    """A pause that an operator wants. `report` is the name of the digest or report it is about."""

    scope: PauseScope
    target: str | None
    until: datetime | None = None
    note: str | None = None
    report: str | None = None

    def tried(self, who: str, now: datetime) -> Pause:
        """Return the pause as it would be."""
        return Pause(0, self.scope, self.target, self.until, self.kept_note, now, who)

    @property
    def kept_note(self) -> str | None:
        """The note as it is stored."""
        return (self.note or "").strip()[:LONGEST_NOTE] or None


@dataclass(frozen=True, slots=True)
class WaitingCount:
    """How many emails, posts and notes, by kind, and reports wait now that a pause will hold."""

    by_kind: Mapping[str, int]
    reports: int

    @property
    def emails(self) -> int:
        """How many of them are no reports."""
        return sum(self.by_kind.values())

    @classmethod
    def of(cls, connection: Connection, one: Pause) -> Self:
        """Count what waits now for this pause."""
        return cls(open_among(connection, one), reports_among(connection, one))


def begin(
    engine: Engine, wish: PauseWish, who: str, now: datetime, *, once: bool = False
) -> tuple[Pause, WaitingCount]:
    """Begin the pause; return it, and what waits now that it will hold.

    With `once` a pause that this operator already began with the same words is left as it is.
    """
    with writing(engine) as connection:
        lock_decisions(connection)
        same = [one for one in open_pauses(connection) if once and _is_same(one, wish, who, now)]
        if same:
            return same[0], WaitingCount.of(connection, same[0])
        if wish.report is not None:
            note_digest(connection, wish.report, now)
        begun = begin_pause(
            connection,
            wish.scope,
            wish.target,
            until=wish.until,
            note=wish.kept_note,
            who=who,
            now=now,
        )
        return begun, WaitingCount.of(connection, begun)


def _is_same(one: Pause, wish: PauseWish, who: str, now: datetime) -> bool:
    wanted = replace(wish.tried(who, now), pause_id=one.pause_id, made_at=one.made_at)
    return one == wanted and not one.is_over(now)


@dataclass(frozen=True, slots=True)
class Waited:
    """The ids of the emails and reports that no pause holds any more once some have ended.

    `by_kind` is how many of `emails`, which may be posts or notes, are of each kind.
    """

    emails: list[int]
    reports: list[int]
    by_kind: Mapping[str, int]

    @classmethod
    def of(cls, connection: Connection, ended: Collection[Pause]) -> Self:
        """Return what these pauses hold alone."""
        return cls(
            held_by(connection, ended),
            reports_held_by(connection, ended),
            kinds_held_by(connection, ended),
        )


def expected_after(
    connection: Connection,
    setup: SendSetup,
    ended: Collection[Pause],
    action_ids: Collection[int],
    now: datetime,
) -> list[Expected]:
    """Return what would become of these emails if the pauses ended now."""
    setup = replace(setup, ended_pauses=frozenset(one.pause_id for one in ended))
    started_at = sending_of(connection).started_at
    return forecast(connection, setup, read_actions(connection, action_ids), now, started_at)


def end(
    engine: Engine, ended: Sequence[Pause], who: str, now: datetime, *, drops: bool
) -> tuple[list[int], list[int]]:
    """End the pauses; return the emails that wait again, and those that were skipped.

    Each transaction decides about some emails. If the process is killed between two, the pauses
    are still open, or over and ended by workers.
    """
    freed: list[int] = []
    skipped: list[int] = []
    while True:
        with writing(engine) as connection:
            lock_decisions(connection)
            if drops:
                some = held_by(connection, ended, most=MOST_AT_ONCE)
                skipped += skip_held(connection, some, who, now)
                if len(some) == MOST_AT_ONCE:
                    continue
                skip_reports(connection, reports_held_by(connection, ended), now)
            some = end_pauses(connection, ended, who, now, most=MOST_AT_ONCE)
            freed += some
            if len(some) < MOST_AT_ONCE:
                return freed, skipped


@dataclass(frozen=True, slots=True)
class Reviewed:
    """What an operator chose of what waited for the end of a pause, by the ids of emails.

    The `ticked` of those `shown` are sent even if they would be held as too old or too many.
    `sends_rest`: those not shown too, if they are right. All others stay held; `drops`: they are
    skipped.
    """

    ticked: frozenset[int]
    shown: frozenset[int]
    sends_rest: bool
    sends_reports: bool
    drops: bool


@dataclass(frozen=True, slots=True)
class Resumed:
    """How many of the emails that waited are sent if still right, stay held, and were skipped.

    Without `is_whole` the pause is still open, and others wait that were not decided about.
    """

    sent: int
    kept: int
    dropped: int
    is_whole: bool = True


def end_reviewed(  # noqa: PLR0913 - which pause, what of it, by whom and when
    engine: Engine,
    setup: SendSetup,
    ended: Pause,
    reviewed: Reviewed,
    *,
    who: str,
    now: datetime,
    most: int = 20_000,
) -> Resumed | None:
    """End a pause as reviewed; None if it is not open any more.

    Of many emails that are not sent, each transaction decides about some, and one call about `most`
    in all, which takes a few seconds. If the process is killed between two, the pause is open.
    """
    done = 0
    while not reviewed.sends_rest:
        with writing(engine) as connection:
            lock_decisions(connection)
            number = _decide_some(connection, ended, reviewed, who, now)
        done += number
        if number < MOST_AT_ONCE:
            break
        if done >= most:
            return _and_before(Resumed(0, 0, 0, is_whole=False), done, drops=reviewed.drops)
    with writing(engine) as connection:
        lock_decisions(connection)
        found = _end_as_reviewed(connection, setup, ended, reviewed, who, now)
    return None if found is None else _and_before(found, done, drops=reviewed.drops)


def _and_before(found: Resumed, done: int, *, drops: bool) -> Resumed:
    """Add the emails that were kept or dropped in transactions before."""
    if drops:
        return replace(found, dropped=found.dropped + done)
    return replace(found, kept=found.kept + done)


def _end_as_reviewed(  # noqa: PLR0913, PLR0917 - same
    connection: Connection,
    setup: SendSetup,
    ended: Pause,
    reviewed: Reviewed,
    who: str,
    now: datetime,
) -> Resumed | None:
    if not _is_open(connection, ended):
        return None
    waited = Waited.of(connection, [ended])
    emails = set(waited.emails)
    ticked = emails & reviewed.ticked & reviewed.shown
    rest = emails - reviewed.shown if reviewed.sends_rest else set()
    others = emails - ticked - rest
    if not reviewed.sends_reports:
        skip_reports(connection, waited.reports, now)
    if sending_of(connection).mode is Mode.SENDING:
        release_held(connection, ticked, who, now)
    over: set[int] = set()
    if reviewed.drops:
        skip_held(connection, others, who, now)
    else:
        # These are skipped with their own reason as soon as they are checked again.
        over = _over(connection, setup, ended, others & reviewed.shown, now)
        keep_held(connection, others - over, who, now)
    end_pauses(connection, [ended], who, now, most=MOST_AT_ONCE)
    dropped = len(others) if reviewed.drops else len(over)
    return Resumed(len(ticked | rest), len(others) - dropped, dropped)


def _is_open(connection: Connection, pause: Pause) -> bool:
    return any(one.pause_id == pause.pause_id for one in open_pauses(connection))


def _decide_some(
    connection: Connection, ended: Pause, reviewed: Reviewed, who: str, now: datetime
) -> int:
    """Keep or drop the first of the emails that were not shown, if there are many; return how many.

    The pause stays open meanwhile, so it also holds what is planned now.
    """
    if not _is_open(connection, ended):
        return 0
    most = MOST_AT_ONCE + len(reviewed.shown)
    some = [one for one in held_by(connection, [ended], most=most) if one not in reviewed.shown]
    some = some[:MOST_AT_ONCE]
    if len(some) < MOST_AT_ONCE:
        return 0
    decide = skip_held if reviewed.drops else keep_held
    return len(decide(connection, some, who, now))


def _over(
    connection: Connection,
    setup: SendSetup,
    ended: Pause,
    action_ids: Collection[int],
    now: datetime,
) -> set[int]:
    """Return those of these emails that are no longer true."""
    expected = expected_after(connection, setup, [ended], action_ids, now)
    return {one.action.action_id for one in expected if part_of(one, now) == "not_sent"}
