"""Plays a month of study against the real engine, leaping from one moment to the next.

Real are the stand-in as a program, its signed deliveries over HTTP, our receiver, the ledger in a
file, the reads, and the emails over SMTP. Only time is made up, and it is the same for all.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.utils import parsedate_to_datetime
from itertools import count

from sqlalchemy import Select, func, select

from ledger.engine import reading
from ledger.lookups import next_lookup_at
from ledger.outbox import next_action_at
from ledger.tables import actions, notifications
from schemas.actions import ActionState
from tests.contract.source_rig import HandClock
from tests.month.month_actors import Actors
from tests.month.month_delivery import Change, ChangeDelivery, DeliveryMode, delivery_of
from tests.month.month_setup import Ground
from tests.month.month_study import Deed
from tests.month.month_world import BEGINS, HALF_WAY
from workers.context import Context
from workers.deliver.claim import perform_batch
from workers.lookup.claim import drain_batch

CHECK_EVERY = timedelta(minutes=5)  # at 0, 5, 10, ... minutes of each hour
_LATEST_END = timedelta(days=60)  # after the last deed: whatever was capped has gone by then
_MOST_ROUNDS = 200  # of work at one moment; more means that it never ends

Check = Callable[[Context], None]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Played:
    """What became of a month: every email as it arrived, without its date, sorted; and counts.

    `requests` are those to the source's API, sign-ins too; `outcomes` are of all planned actions.
    `went` is when each email went, and `first_reported` how many records became known in which way.
    """

    emails: tuple[bytes, ...]
    went: Mapping[bytes, datetime]
    first_reported: Mapping[str, int]
    deeds: int
    deliveries: int
    checks: int
    requests: int
    by_template: Mapping[str, int]
    outcomes: Mapping[str, int]


@dataclass(slots=True)
class Player:
    """Plays one month. `check` polls; without it there are only deliveries.

    `next_day` is done the day after the last thing was due, and what comes of it still counts.
    """

    ground: Ground
    way: DeliveryMode
    seed: int
    check: Check | None = None
    next_day: Check | None = None
    deliveries: int = 0
    checks: int = 0
    _clock: HandClock = field(default_factory=lambda: HandClock(BEGINS))
    _to_tell: list[tuple[datetime, int, ChangeDelivery]] = field(default_factory=list)
    _numbers: "count[int]" = field(default_factory=count)
    _check_at: datetime | None = None
    _due: tuple[datetime | None, ...] = ()  # when work is due next, after what was done

    def play(self, deeds: Iterable[Deed]) -> Played:
        """Play the deeds, and continue until nothing is left to do."""
        left = sorted(deeds, key=lambda deed: deed.at, reverse=True)
        number, latest = len(left), left[0].at + _LATEST_END
        with self.ground.a_month(self._clock) as context:
            actors = Actors(self.ground.sandbox)
            if self.check is not None:
                # The baseline finds an empty tenant, before anything happens.
                self._check_at = BEGINS
            while (moment := self._next(left)) is not None:
                assert moment <= latest, "something is due for ever"
                self._go_to(moment)
                while left and left[-1].at <= moment:
                    self._changed(actors.play(left.pop()))
                self._deliver()
                self._check(context)
                self._due = work_off(context, self._clock.now())
            if self.next_day is not None:
                self._go_to(self._clock.now() + timedelta(days=1))
                self.next_day(context)
                work_off(context, self._clock.now())
            return self._result(context, number)

    def _next(self, left: list[Deed]) -> datetime | None:
        asked = (
            left[-1].at if left else None,
            self._to_tell[0][0] if self._to_tell else None,
            self._check_at,
            *self._due,
        )
        return min((moment for moment in asked if moment is not None), default=None)

    def _go_to(self, moment: datetime) -> None:
        assert moment > self._clock.now() or moment == self._check_at == BEGINS, "time stands still"
        self._clock.time = moment
        self.ground.set_clock(moment)

    def _changed(self, changes: list[Change]) -> None:
        for change in changes:
            said = delivery_of(self.way, change, seed=self.seed, half_way=HALF_WAY)
            if said is not None:
                heapq.heappush(self._to_tell, (said.at, next(self._numbers), said))
        if self.check is not None and self._check_at is None:
            self._check_at = grid_point(self._clock.now())

    def _deliver(self) -> None:
        while self._to_tell and self._to_tell[0][0] <= self._clock.now():
            _, _, said = heapq.heappop(self._to_tell)
            change = said.change
            answer = self.ground.sandbox.post(
                "/sandbox/deliver", entity=change.entity, id=change.record_id, times=said.times
            )
            assert set(answer["statuses"]) == {202}, answer
            self.deliveries += said.times

    def _check(self, context: Context) -> None:
        if (
            self.check is not None
            and self._check_at is not None
            and self._check_at <= self._clock.now()
        ):
            self._check_at = None
            self.check(context)
            self.checks += 1

    def _result(self, context: Context, deeds: int) -> Played:
        sandbox = self.ground.sandbox
        reads = sandbox.get("/sandbox/reads").json()
        kept = sandbox.get("/sandbox/mails").json()
        raw = [sandbox.get(f"/sandbox/mails/{mail['number']}.eml").content for mail in kept]
        emails = [without_date(one) for one in raw]
        with reading(context.engine) as connection:
            rows = connection.execute(
                select(
                    actions.c.template, actions.c.state, actions.c.reason, func.count()
                ).group_by(actions.c.template, actions.c.state, actions.c.reason)
            ).all()
            first_reported = Counter(connection.scalars(_first_reported()))
        by_template: Counter[str] = Counter()
        outcomes: Counter[str] = Counter()
        for template, state, reason, number in rows:
            outcomes[f"{state} {reason}" if reason else str(state)] += number
            if state == ActionState.DONE:
                by_template[str(template)] += number
        assert len(emails) == by_template.total(), "an email was lost or kept twice"
        return Played(
            tuple(sorted(emails)),
            {without_date(one): date_of(one) for one in raw},
            first_reported,
            deeds,
            self.deliveries,
            self.checks,
            reads["total"] + reads["token_grants"],
            dict(sorted(by_template.items())),
            dict(sorted(outcomes.items())),
        )


def work_off(context: Context, now: datetime) -> tuple[datetime | None, ...]:
    """Do all that is due now, as workers do; return when the next lookup and action are due."""
    lookup_context = context.lookup_context
    for _ in range(_MOST_ROUNDS):
        lookup_at, action_at = due(context, now)
        if lookup_at is not None and lookup_at <= now:
            drain_batch(lookup_context)
        elif action_at is not None and action_at <= now:
            perform_batch(context.delivery, lookup_context.source)
        else:
            return lookup_at, action_at
    raise AssertionError("the work never ends")


def due(context: Context, now: datetime) -> tuple[datetime | None, datetime | None]:
    """Return when the next lookup and the next action are due."""
    with reading(context.engine) as connection:
        return next_lookup_at(connection, now, lease_s=60), next_action_at(
            connection, now, lease_s=60
        )


def grid_point(moment: datetime) -> datetime:
    """Return when the next check is: at that moment, or as soon after it as they come."""
    past = (moment - _EPOCH) % CHECK_EVERY
    return moment if not past else moment - past + CHECK_EVERY


def _first_reported() -> Select[str]:
    first = select(func.min(notifications.c.id)).group_by(
        notifications.c.entity, notifications.c.record_id
    )
    return select(notifications.c.origin).where(notifications.c.id.in_(first))


def date_of(raw: bytes) -> datetime:
    """Return when an email was written, by its head."""
    return parsedate_to_datetime(str(message_from_bytes(raw)["Date"]))


def without_date(raw: bytes) -> bytes:
    """Return an email without what says when it was written; nothing else may differ."""
    head, gap, body = raw.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"date:")]
    assert len(lines) == len(head.split(b"\r\n")) - 1, "an email has one date"
    return b"\r\n".join(lines) + gap + body
