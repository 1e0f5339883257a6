"""The day after a month: the nightly comparison, the certificate, and what it says of damage."""

import time
from dataclasses import dataclass, field

from sqlalchemy import Connection, and_, delete, select

from ledger.engine import reading, writing
from ledger.tables import action_events, decisions, events, records
from schemas.entity import Entity
from tests.month.month_rig import work_off
from tests.month.month_world import BEGINS
from workers.context import Context
from workers.sync.certificate import Certificate, certify
from workers.sync.evidence import window_of
from workers.sync.poll import poll_all
from workers.sync.reconcile import is_nightly_due, nightly

_EACH = 3  # rows that are removed of each kind


def run_check(context: Context) -> None:
    """Poll until nothing is left, and compare everything once a night."""
    while poll_all(context.sync, for_s=60).more:
        pass
    with reading(context.engine) as connection:
        zone = context.delivery.setup.zone
        due = is_nightly_due(connection, context.sync.clock.now(), zone)
    if due:
        assert nightly(context.sync, time.monotonic() + 60)


@dataclass
class Audit:
    """What the certificate said, as it was lived through and after rows were removed by hand.

    `removed` and `named_after_removal` are kinds of record and Ids.
    """

    certificates: list[Certificate] = field(default_factory=list)
    removed: list[tuple[Entity, int]] = field(default_factory=list)

    def make(self, context: Context) -> None:
        """Compare, certify; damage the ledger, certify again, and put all back."""
        run_check(context)
        work_off(context, context.sync.clock.now())
        self.certificates.append(_certificate(context))
        with writing(context.engine) as connection:
            self.removed = _remove(connection)
        self.certificates.append(_certificate(context))

    @property
    def certificate(self) -> Certificate:
        return self.certificates[0]

    @property
    def differences(self) -> list[str]:
        return [f"{one.kind} {one.entity} {one.detail}" for one in self.certificate.findings]

    @property
    def says(self) -> str:
        totals = self.certificate.totals
        there, here = totals.at_source.total(), totals.here.total()
        found = len(self.certificate.findings)
        return f"{there} rows there, {here} here, {totals.events.total()} events, {found} differ"

    @property
    def named_after_removal(self) -> list[tuple[Entity | None, int | None]]:
        return [(one.entity, one.record_id) for one in self.certificates[1].findings]


def _certificate(context: Context) -> Certificate:
    zone, now = context.delivery.setup.zone, context.sync.clock.now()
    window = window_of(BEGINS.astimezone(zone).date(), now.astimezone(zone).date(), zone, now)
    return certify(context.sync, window, context.lookup_context.deciding.rules)


def _remove(connection: Connection) -> list[tuple[Entity, int]]:
    """Remove what was read of some lessons, and what was decided on others; return of which."""
    shown_by = and_(
        records.c.entity == Entity.COMPLETED_LESSON,
        records.c.course_member_id == events.c.course_member_id,
        records.c.lesson_id == events.c.lesson_id,
        records.c.gone_at.is_(None),
    )
    found = connection.execute(
        select(events.c.id, records.c.record_id)
        .join(records, shown_by)
        .where(events.c.kind == "lesson_completed", events.c.reason.is_(None))
        .order_by(records.c.record_id)
    ).all()
    first, last = found[:_EACH], found[-_EACH:]
    read = [row.record_id for row in first]
    decided = [row.id for row in last]
    connection.execute(
        delete(records).where(
            records.c.entity == Entity.COMPLETED_LESSON, records.c.record_id.in_(read)
        )
    )
    connection.execute(delete(action_events).where(action_events.c.event_id.in_(decided)))
    connection.execute(delete(decisions).where(decisions.c.event_id.in_(decided)))
    connection.execute(delete(events).where(events.c.id.in_(decided)))
    return [(Entity.COMPLETED_LESSON, row.record_id) for row in (*first, *last)]
