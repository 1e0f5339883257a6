"""Conditions on actions by the channel they go through: a kind of action, or one endpoint.

The names of channels are those of `schemas.actions.channel_of`.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, func, or_, select, true

from ledger.controls import set_value, value_of
from ledger.tables import UNDECIDED_ACTIONS, actions, attempts
from schemas.actions import ENDPOINT, ActionState, channel_of, endpoint_of
from schemas.events import TOLERANCE
from schemas.reasons import Reason

_A_ROW_LASTS = timedelta(days=7)
_TESTED = "tested:"  # in the name of a control, before the channel


def goes_through(channels: Collection[str]) -> ColumnElement[bool]:
    """Match the actions that go through one of these channels."""
    kinds, pairs = _split(channels)
    of_kinds = actions.c.kind.in_(kinds)
    if not pairs:
        return of_kinds
    to_endpoints = [
        and_(actions.c.kind == kind, actions.c.audience == audience) for kind, audience in pairs
    ]
    return or_(of_kinds, *to_endpoints)


def goes_around(channels: Collection[str]) -> ColumnElement[bool]:
    """Match the actions that go through none of these channels."""
    kinds, pairs = _split(channels)
    rest: list[ColumnElement[bool]] = [actions.c.kind.not_in(kinds)] if kinds else []
    if pairs:
        closed = {audience for _, audience in pairs}
        rest.append(or_(actions.c.audience.is_(None), actions.c.audience.not_in(closed)))
    return and_(true(), *rest)


def _split(channels: Iterable[str]) -> tuple[set[str], set[tuple[str, str]]]:
    """Return the whole kinds among the channels, and the kind and audience of each endpoint."""
    kinds, pairs = set(), set()
    for channel in channels:
        kind, _, name = channel.partition(":")
        if name:
            pairs.add((kind, f"{ENDPOINT}{name}"))
        else:
            kinds.add(kind)
    return kinds, pairs


@dataclass(frozen=True, slots=True)
class LastRefusal:
    """When an endpoint refused a message, and what it answered."""

    at: datetime
    answer: str


def gone_endpoints(connection: Connection) -> dict[str, datetime]:
    """Return the endpoints that said they are gone, with the time of the last such answer.

    One that accepted something since, or whose failures were all resolved, is left out.
    """
    return {name: at for name, _, at in _failing(connection, Reason.ENDPOINT_GONE)}


def refusing_endpoints(connection: Connection) -> dict[str, LastRefusal]:
    """Return the endpoints that refused a message and accepted none since, with the last refusal.

    One whose failures were all resolved is left out.
    """
    found = {}
    for name, audience, at in _failing(connection, Reason.DELIVERY_REFUSED):
        answer = connection.scalar(
            select(attempts.c.detail)
            .join(actions, actions.c.id == attempts.c.action_id)
            .where(actions.c.audience == audience, actions.c.finished_at == at)
            .order_by(attempts.c.id.desc())
            .limit(1)
        )
        found[name] = LastRefusal(at, answer or "")
    return found


def _failing(connection: Connection, reason: Reason) -> Iterator[tuple[str, str, datetime]]:
    """Yield name, audience and last time of each endpoint that failed so and accepted nothing."""
    rows = connection.execute(_failed(), {"why": reason}).all()
    for kind, audience, at in rows:
        accepted = select(actions.c.id).where(
            actions.c.audience == audience,
            actions.c.state == ActionState.DONE,
            actions.c.finished_at > at,
        )
        tested_at = _tested_at(connection, channel_of(kind, audience))
        is_tested = tested_at is not None and tested_at >= at
        name = endpoint_of(audience)
        if name and not is_tested and connection.scalar(accepted.limit(1)) is None:
            yield name, audience, at


@cache
def _failed() -> Select[Any]:
    return (
        select(actions.c.kind, actions.c.audience, func.max(actions.c.finished_at).label("at"))
        .where(
            UNDECIDED_ACTIONS,
            actions.c.state == ActionState.FAILED,
            actions.c.reason == bindparam("why"),
            actions.c.closed_at.is_(None),
            actions.c.audience.startswith(ENDPOINT, autoescape=True),
        )
        .group_by(actions.c.kind, actions.c.audience)
    )


def refused_in_a_row(connection: Connection, channel: str, now: datetime, *, number: int) -> bool:
    """Return whether the last `number` actions through this channel in a week were refused."""
    since = now - _A_ROW_LASTS
    tested_at = _tested_at(connection, channel)
    is_refused = and_(
        actions.c.state == ActionState.FAILED, actions.c.reason == Reason.DELIVERY_REFUSED
    )
    ended = connection.scalars(
        select(actions.c.state)
        .where(
            actions.c.finished_at > max(since, tested_at or since),
            actions.c.finished_at <= now + TOLERANCE,
            goes_through({channel}),
            or_(actions.c.state == ActionState.DONE, is_refused),
        )
        .order_by(actions.c.finished_at.desc(), actions.c.id.desc())
        .limit(number)
    ).all()
    return list(ended) == [ActionState.FAILED] * number


def note_tested(connection: Connection, channel: str, who: str, now: datetime) -> None:
    """Store that a test arrived through this channel, so that earlier failures count no more."""
    set_value(connection, f"{_TESTED}{channel}", now.isoformat(), who, now)


def _tested_at(connection: Connection, channel: str) -> datetime | None:
    stored = value_of(connection, f"{_TESTED}{channel}")
    return None if stored is None else datetime.fromisoformat(stored)
