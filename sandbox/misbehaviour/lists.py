"""How lists behave when the switches about lists are on."""

from sandbox.listing import LARGEST_SIZE, Ways
from sandbox.misbehaviour.board import Board
from sandbox.misbehaviour.spelling import row_maker
from sandbox.tenant import Tenant
from sandbox.wire import Record
from schemas.entity import Entity


def ways_of(board: Board, entity: Entity) -> Ways:
    """Return how the lists of this kind of record behave now."""
    ignoring, endless = board.now("ignore-filters"), board.now("never-ending-list")
    cut, shifting = board.now("cut-size"), board.now("shifting-pages")
    never_ends = endless is not None and endless.is_about(entity)
    shift = 0
    if shifting is not None and shifting.is_about(entity):
        shift = 1 if shifting.text("way") == "repeat" else -1
    return Ways(
        show=row_maker(board, entity, "partial-rows"),
        knows_filters=ignoring is None or not ignoring.is_about(entity),
        knows_numbers=board.now("words-for-direction") is None,
        knows_order=board.now("ignore-order") is None,
        largest_size=LARGEST_SIZE if cut is None else max(1, cut.whole("rows")),
        never_ends=never_ends,
        repeats_last_page=never_ends and endless is not None and endless.flag("repeat"),
        shift=shift,
    )


def without_the_newest(
    board: Board, tenant: Tenant, entity: Entity, rows: list[Record]
) -> list[Record]:
    """Return the rows that lists know of already."""
    lagging = board.now("lagging-lists")
    if lagging is None or not lagging.is_about(entity):
        return rows
    seconds = lagging.number("seconds")
    return [row for row in rows if tenant.age_s(entity, row["Id"]) >= seconds]
