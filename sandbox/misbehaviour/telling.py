"""How the world is told of a change when the switches about deliveries are on."""

import queue
import time
from dataclasses import dataclass
from datetime import UTC
from zoneinfo import ZoneInfo

from sandbox.hook import Letter
from sandbox.misbehaviour.board import Board
from sandbox.misbehaviour.spelling import changed
from sandbox.signing import signature_in_form
from sandbox.wire import Record, delivery_body
from schemas.entity import Entity


@dataclass(frozen=True, slots=True)
class Waiting:
    """A record that is to be delivered, not before `not_before` of the steady clock."""

    record: Record
    not_before: float = 0.0


def copies(board: Board, record: Record, business_id: int | None) -> list[Waiting]:
    """Return what is to be delivered because of one change: once, more often, later or never."""
    one_location = board.now("hooks-for-one-location")
    is_elsewhere = (
        one_location is not None
        and business_id is not None
        and business_id != one_location.whole("business_id")
    )
    if is_elsewhere or board.now("no-deliveries") is not None:
        return []
    late, twice = board.now("late-deliveries"), board.now("duplicate-deliveries")
    not_before = 0.0
    if late is not None:
        pause_s = late.number("seconds") + board.spread(late.number("jitter"))
        not_before = time.monotonic() + pause_s
    return [Waiting(record, not_before)] * (1 if twice is None else twice.whole("times_each"))


def next_together(board: Board, waiting: "queue.Queue[Waiting]") -> list[Waiting]:
    """Return what is delivered next, once there is anything: one, or some of them backwards."""
    first = waiting.get()
    mixed = board.now("out-of-order-deliveries")
    if mixed is None:
        return [first]
    together = [first]
    until = time.monotonic() + mixed.number("seconds")
    while len(together) < mixed.whole("together"):
        try:
            together.append(waiting.get(timeout=max(0.0, until - time.monotonic())))
        except queue.Empty:
            break
    return together[::-1]


def letter(board: Board, entity: Entity, record: Record, secret: str) -> Letter:
    """Return the delivery of a record, as it is written and signed now."""
    local, form = board.now("local-times-in-deliveries"), board.now("signature-form")
    body = delivery_body(
        changed(board, entity, record),
        zone=UTC if local is None else ZoneInfo(local.text("zone")),
        is_bare=board.now("bare-object-deliveries") is not None,
    )
    way = "utf16-units" if form is None else form.text("form")
    return Letter(entity, body, signature_in_form(secret, body, way))
