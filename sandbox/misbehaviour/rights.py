"""What may not be read, or not yet, when the switches say so."""

import time
from collections.abc import Mapping

from flask import Response

from sandbox.answers import answered
from sandbox.misbehaviour.board import Board
from sandbox.tenant import Tenant
from schemas.entity import Entity

_WAYS: Mapping[str, frozenset[str]] = {
    "both": frozenset({"read", "list"}),
    **{way: frozenset({way}) for way in ("read", "list", "create", "edit")},
}


def refused_right(board: Board, entity: Entity, way: str) -> Response | None:
    """Return the answer of somebody who may not do this; `way` is read, list, create or edit."""
    found = board.now("missing-right")
    if found is None or not found.is_about(entity) or way not in _WAYS[found.text("way")]:
        return None
    sentence = "Authorization has been denied for this request."
    return answered({"Message": sentence}, found.whole("status"))


def is_still_late(board: Board, tenant: Tenant, entity: Entity, record_id: int) -> bool:
    """Whether this record cannot be read by Id yet."""
    late = board.now("late-links")
    if late is None or not late.is_about(entity):
        return False
    age_s = tenant.age_s(entity, record_id)
    if late.text("entity"):
        # Named by its kind, what was there before is as young as the switch.
        age_s = min(age_s, time.monotonic() - late.since)
    if age_s > time.monotonic() - late.since:
        return False
    if age_s < late.number("seconds"):
        return True
    return board.count_shown("late-links", entity, record_id) < late.whole("reads")
