"""How long things are kept: bodies of deliveries 30 days, copies of emails and our checks 90.

What was decided stays; a person's name and address stay with it until somebody asks to be erased.
"""

from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, update

from ledger.checks import forget_checks
from ledger.tables import copies, deliveries

BODIES = timedelta(days=30)
COPIES = timedelta(days=90)
CHECKS = timedelta(days=90)


def forget_old(connection: Connection, now: datetime) -> tuple[int, int]:
    """Empty old bodies and delete old copies; return how many of each."""
    bodies = connection.execute(
        update(deliveries)
        .where(deliveries.c.received_at < now - BODIES, deliveries.c.body.is_not(None))
        .values(body=None)
    )
    forget_checks(connection, now - CHECKS)
    old_copies = connection.execute(delete(copies).where(copies.c.written_at < now - COPIES))
    return bodies.rowcount, old_copies.rowcount
