"""One backfill under way: what it looked at, what of it is news, and the run it is written as.

Where to look is decided by `workers.check.backfill`.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from ledger.checks import CheckKind, begin_check, end_check, fail_check, note_page
from ledger.engine import Connection, lock_decisions, reading, writing
from ledger.intake import Origin, keep_notifications
from ledger.records import SeenVersion, note_seen
from schemas.entity import Entity
from schemas.errors import SourceError
from schemas.notification import Notification
from workers.check.check import reason_of
from workers.check.tools import Checking
from workers.source.records import Row

# Where a row says who and what it is about.
_NAMES = {
    Entity.COURSE_MEMBER: ("CoworkerFullName", "CourseTitle"),
    Entity.COMPLETED_LESSON: ("CourseMemberCoworkerFullName", "CourseLessonTitle"),
}

_log = structlog.get_logger("backfill")


@dataclass(frozen=True, slots=True)
class FoundRow:
    """One record that is news, as its row tells: when, whose (`name`) and what about (`title`)."""

    entity: Entity
    record_id: int
    at: datetime
    name: str | None
    title: str | None


@dataclass(frozen=True, slots=True)
class Found:
    """What came of it, by kind of record. Only so many `rows` are kept as were wanted.

    `asked_about` is the news, and `enrolments` are the Ids of those that anything seen belongs to.
    """

    looked_at: Mapping[Entity, int]
    news: Mapping[Entity, int]
    rows: tuple[FoundRow, ...]
    asked_about: frozenset[tuple[Entity, int]] = frozenset()
    enrolments: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Seen:
    """Some rows of one kind of record, and which of them are to be asked about."""

    entity: Entity
    rows: Sequence[tuple[SeenVersion, Row]]
    choose: Callable[[Connection, Sequence[SeenVersion]], Collection[int]]


@dataclass(slots=True)
class Search:
    """One backfill. `check_id` None: nothing is written."""

    checking: Checking
    origins: Sequence[Origin]
    keep: int
    check_id: int | None = None
    _looked_at: Counter[Entity] = field(default_factory=Counter)
    _news: Counter[Entity] = field(default_factory=Counter)
    _rows: list[FoundRow] = field(default_factory=list)
    _asked_about: set[tuple[Entity, int]] = field(default_factory=set)
    _enrolments: set[int] = field(default_factory=set)

    @contextmanager
    def recorded(self, entities: Collection[Entity], since: datetime | None) -> Iterator[None]:
        """Write down that this is done, and how it went."""
        engine, clock = self.checking.engine, self.checking.clock
        one = next(iter(entities)) if len(entities) == 1 else None
        with writing(engine) as connection:
            run = begin_check(connection, CheckKind.BACKFILL, one, clock.now(), since=since)
        self.check_id = run.check_id
        try:
            yield
        except SourceError as error:
            with writing(engine) as connection:
                fail_check(connection, run.check_id, reason_of(error), str(error))
            raise
        with writing(engine) as connection:
            end_check(connection, run.check_id, clock.now(), {"news": dict(self._news)})
        _log.info("backfill.ended", check_id=run.check_id, news=self._news.total())

    def ask_about(self, *together: Seen) -> None:
        """Have what is chosen read and decided on, in one transaction."""
        if self.check_id is None:
            with reading(self.checking.engine) as connection:
                for seen in together:
                    self._choose(connection, seen)
            return
        with writing(self.checking.engine) as connection:
            # In one order with those who decide: nobody waits in a circle.
            lock_decisions(connection)
            before = self._news.total()
            self._make_news(connection, together)
            note_page(
                connection,
                self.check_id,
                rows=sum(len(seen.rows) for seen in together),
                news=self._news.total() - before,
                reached=None,
            )

    def _make_news(self, connection: Connection, together: Sequence[Seen]) -> None:
        now = self.checking.clock.now()
        said: list[Notification] = []
        for seen in together:
            chosen = self._choose(connection, seen)
            note_seen(connection, seen.entity, chosen, now)
            said += [Notification(seen.entity, one.record_id) for one in chosen]
        # All at once: over all kinds, look-ups are asked for in the one order of everybody.
        for origin in self.origins:
            keep_notifications(connection, said, origin, now)

    def _choose(self, connection: Connection, seen: Seen) -> list[SeenVersion]:
        wanted = seen.choose(connection, [version for version, _ in seen.rows])
        chosen = [(one, row) for one, row in seen.rows if one.record_id in wanted]
        self._looked_at[seen.entity] += len(seen.rows)
        self._news[seen.entity] += len(chosen)
        self._asked_about |= {(seen.entity, one.record_id) for one, _ in chosen}
        self._enrolments |= {_enrolment_of(seen.entity, one) for one, _ in seen.rows}
        room = max(0, self.keep - len(self._rows))
        self._rows += [_told(seen.entity, *one) for one in chosen[:room]]
        return [one for one, _ in chosen]

    @property
    def found(self) -> Found:
        """What came of it so far."""
        return Found(
            dict(self._looked_at),
            dict(self._news),
            tuple(self._rows),
            frozenset(self._asked_about),
            frozenset(self._enrolments),
        )


def _enrolment_of(entity: Entity, one: SeenVersion) -> int:
    """Return whose news this is; 0 where a partial row does not say it."""
    return one.record_id if entity is Entity.COURSE_MEMBER else one.course_member_id or 0


def _told(entity: Entity, one: SeenVersion, row: Row) -> FoundRow:
    name, title = (_text(row.get(field_name)) for field_name in _NAMES[entity])
    return FoundRow(entity, one.record_id, one.changed_at, name, title)


def _text(value: object) -> str | None:
    return (value.strip() or None) if isinstance(value, str) else None
