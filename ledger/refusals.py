"""How many deliveries were refused, and why: one row for each hour and reason.

Senders who prove nothing can cause these rows, so their number is bounded by the two keys.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, exists, func, select

from ledger.intake import BEARER
from ledger.tables import deliveries, refusals
from ledger.upsert import insert_into
from schemas.refusals import LIKELY_OURS, OF_HOOKS, OF_RELAYS, REFUSALS, Refusal

REFUSED_FOR = timedelta(days=1)  # how long a refusal is shown


@dataclass(frozen=True, slots=True)
class Refused:
    """How many deliveries were refused for one reason.

    `is_over` says that another from the same kind of sender was accepted after the last of them.
    """

    reason: Refusal
    count: int
    last_at: datetime
    is_over: bool

    @property
    def needs_person(self) -> bool:
        """Say whether a secret or a token is likely wrong."""
        return self.reason in LIKELY_OURS and not self.is_over

    @property
    def found(self) -> str:
        """Say how many were refused, when last, and why."""
        what = "1 delivery was" if self.count == 1 else f"{self.count} deliveries were"
        return (
            f"{what} refused within a day, the last {self.last_at:%Y-%m-%d %H:%M} UTC: "
            f"{REFUSALS[self.reason].cause}"
        )

    @property
    def sentence(self) -> str:
        """Say so, and what to do."""
        return f"{self.found}; {REFUSALS[self.reason].advice}"


def count_refusals(connection: Connection, counts: Mapping[Refusal, int], now: datetime) -> None:
    """Add to the counts of this hour."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    for reason, count in sorted(counts.items()):
        statement = insert_into(connection, refusals).values(
            hour=hour, reason=reason, count=count, last_at=now
        )
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=[refusals.c.hour, refusals.c.reason],
                set_={"count": refusals.c.count + count, "last_at": now},
            )
        )


def refused_since(connection: Connection, since: datetime) -> list[Refused]:
    """Return what was refused since then, the most frequent reason first."""
    count, last_at = func.sum(refusals.c.count), func.max(refusals.c.last_at)
    rows = connection.execute(
        select(refusals.c.reason, count.label("number"), last_at.label("last_at"))
        .where(refusals.c.last_at >= since, refusals.c.reason.in_(list(Refusal)))
        .group_by(refusals.c.reason)
        .order_by(count.desc(), refusals.c.reason)
    ).all()
    return [
        Refused(
            Refusal(row.reason),
            int(row.number),
            row.last_at,
            _accepted_after(connection, Refusal(row.reason), row.last_at),
        )
        for row in rows
    ]


def _accepted_after(connection: Connection, reason: Refusal, moment: datetime) -> bool:
    later = [deliveries.c.received_at > moment]
    if reason in OF_RELAYS:
        later.append(deliveries.c.signature_form == BEARER)
    elif reason in OF_HOOKS:
        later.append(deliveries.c.signature_form != BEARER)
    return bool(connection.scalar(select(exists().where(*later))))
