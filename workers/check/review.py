"""Reads what a backfill found, and says what would become of the emails that are held about it.

The emails are planned by the same decisions as any other, and held from the beginning, so that
what is listed here is what is sent after a person agreed.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from ledger.actions import look_at_actions
from ledger.controls import sending_of
from ledger.copies import keep_copies_of_held
from ledger.engine import Engine, reading, writing
from ledger.holding import held_for_enrolments
from ledger.lookups import states_among
from ledger.upsert import portions
from schemas.reasons import Reason
from schemas.states import LookupState
from workers.check.search import Found
from workers.deliver.context import SendSetup
from workers.deliver.forecast import Expected, forecast
from workers.lookup.drain import drain_batch
from workers.lookup.settling import LookingUp

_LOOK_EVERY_S = 0.2  # while a worker reads some of it
_UNREAD = (LookupState.DUE, LookupState.LEASED, LookupState.WAITING)


@dataclass(frozen=True, slots=True)
class Review:
    """What a person is asked to decide: what would become of each held email if it were released.

    `unread` is how many records could not be read yet; workers go on with them. `failed` is how
    many cannot be read until a person or a new notification comes.
    """

    expected: list[Expected]
    unread: int
    failed: int


def read_found(looking_up: LookingUp, found: Found, end: float) -> dict[LookupState, int]:
    """Read what was found, together with the workers, until `end` of the steady clock at most.

    Returns how many look-ups are in each state. What waits for Nexudus is not waited for.
    """
    while True:
        claimed, _ = drain_batch(looking_up)
        with reading(looking_up.engine) as connection:
            states = states_among(connection, found.asked_about)
        under_way = states.get(LookupState.DUE, 0) + states.get(LookupState.LEASED, 0)
        if not under_way or looking_up.clock.monotonic() > end:
            return states
        if not claimed:
            looking_up.clock.sleep(_LOOK_EVERY_S)


def review(
    engine: Engine,
    setup: SendSetup,
    found: Found,
    states: dict[LookupState, int],
    now: datetime,
) -> Review:
    """Return what releasing the held emails of these enrolments would do now.

    A copy of each is kept, so that it can be looked at before it goes.
    """
    with reading(engine) as connection:
        ids = held_for_enrolments(connection, Reason.IMPORTED, found.enrolments)
        wanted = [
            replace(one, due_at=now, released_at=now) for one in look_at_actions(connection, ids)
        ]
        wanted.sort(key=lambda one: one.action_id)
        started_at = sending_of(connection).started_at
        expected = forecast(connection, setup, wanted, now, started_at)
    prepared = {one.action.action_id: one.copy for one in expected if one.copy is not None}
    for some in portions(prepared):
        with writing(engine) as connection:
            keep_copies_of_held(connection, {one: prepared[one] for one in some}, now)
    unread = sum(states.get(one, 0) for one in _UNREAD)
    return Review(expected, unread, states.get(LookupState.FAILED, 0))
