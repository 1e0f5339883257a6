"""Conditions on actions by the channel they go through: a kind of action, or one endpoint.

The names of channels are those of `schemas.actions.channel_of`.
"""

from collections.abc import Collection, Iterable
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select, true

from ledger.tables import UNDECIDED_ACTIONS, actions
from schemas.actions import ENDPOINT, ActionState, endpoint_of
from schemas.reasons import Reason


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


def gone_endpoints(connection: Connection) -> dict[str, datetime]:
    """Return the endpoints that said they are gone, with the time of the last such answer.

    One that accepted something since, or whose failures were all resolved, is left out.
    """
    rows = connection.execute(
        select(actions.c.audience, func.max(actions.c.finished_at).label("at"))
        .where(
            UNDECIDED_ACTIONS,
            actions.c.state == ActionState.FAILED,
            actions.c.reason == Reason.ENDPOINT_GONE,
            actions.c.closed_at.is_(None),
        )
        .group_by(actions.c.audience)
    ).all()
    found = {}
    for audience, at in rows:
        accepted = select(actions.c.id).where(
            actions.c.audience == audience,
            actions.c.state == ActionState.DONE,
            actions.c.finished_at > at,
        )
        name = endpoint_of(audience)
        if name is not None and connection.scalar(accepted.limit(1)) is None:
            found[name] = at
    return found
