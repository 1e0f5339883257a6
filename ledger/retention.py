"""How long things are kept.

Bodies of deliveries and counts of refused ones are kept for 30 days, copies of emails and our
checks for 90.

What was decided stays; a person's name and address stay with it until somebody asks to be erased.
"""

from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, or_, update

from ledger.checks import forget_checks
from ledger.refusals import forget_refusals
from ledger.tables import copies, deliveries

BODIES = timedelta(days=30)
REFUSALS = timedelta(days=30)
COPIES = timedelta(days=90)
CHECKS = timedelta(days=90)


def forget_old(connection: Connection, now: datetime) -> tuple[int, int]:
    """Empty old bodies and delete old copies; return how many of each."""
    bodies = connection.execute(
        update(deliveries)
        .where(
            deliveries.c.body.is_not(None),
            # Older versions also kept bodies that could not be read, which may hold anything.
            or_(deliveries.c.received_at < now - BODIES, deliveries.c.error.is_not(None)),
        )
        .values(body=None)
    )
    forget_checks(connection, now - CHECKS)
    forget_refusals(connection, now - REFUSALS)
    old_copies = connection.execute(delete(copies).where(copies.c.written_at < now - COPIES))
    return bodies.rowcount, old_copies.rowcount
