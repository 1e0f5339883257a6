"""Writes of several threads, committed together in one transaction.

While one transaction is being committed, the changes of other threads gather, and the next
transaction takes all of them. So the number of commits does not grow with the number of threads.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeVar, cast

from sqlalchemy import Connection, Engine

from ledger.engine import lock_decisions, writing
from schemas.errors import LedgerUnavailable

_MOST = 50  # changes in one transaction, so that other processes never wait for long

Written = TypeVar("Written")
Item = TypeVar("Item")


@dataclass(slots=True, eq=False)
class _Change:
    """One change, and how it ended."""

    order: tuple[str, int]
    item: object
    apply: Callable[[Connection, Sequence[Any]], Sequence[object]]
    is_done: bool = False
    result: object = None
    error: Exception | None = None

    def fail(self, error: Exception) -> None:
        self.is_done, self.error = True, error


class JointWriter:
    """Commits the changes of the threads that share it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiting: list[_Change] = []
        self._guard = threading.Lock()
        self._turn = threading.Lock()  # held by the thread that commits for all

    def __len__(self) -> int:
        """Return how many changes wait for the next transaction."""
        return len(self._waiting)

    def write(self, order: tuple[str, int], change: Callable[[Connection], Written]) -> Written:
        """Call `change` in a transaction, and return its result once that is committed.

        `change` may be called again after a rollback, and has no other effect than on the ledger.
        Changes are made in the order of `order`, and under `lock_decisions`, so that two
        transactions never deadlock.

        Raises:
            LedgerUnavailable: nothing was committed.
            Whatever `change` raises; then nothing of it is committed, but the others are.
        """
        return self.write_together(order, None, lambda connection, _: [change(connection)])

    def write_together(
        self,
        order: tuple[str, int],
        item: Item,
        apply: Callable[[Connection, Sequence[Item]], Sequence[Written]],
    ) -> Written:
        """Write one item as `write` does; neighbours that have the same `apply` in one call.

        `apply` returns a result for each item. If it raises, it is called again for each item
        alone.
        """
        mine = _Change(order, item, apply)
        with self._guard:
            self._waiting.append(mine)
        with self._turn:
            while not mine.is_done:
                self._write_waiting()
        if mine.error is not None:
            raise mine.error
        return cast("Written", mine.result)

    def _write_waiting(self) -> None:
        with self._guard:
            group, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
        group.sort(key=lambda change: change.order)
        try:
            self._write_group(group)
        finally:
            for change in group:
                if not change.is_done:  # this thread was ended; what it began is rolled back
                    change.fail(LedgerUnavailable("the thread that wrote to the ledger was ended"))

    def _write_group(self, group: Sequence[_Change]) -> None:
        try:
            self._write(group)
        except Exception as error:  # noqa: BLE001 - it is raised in the thread it belongs to
            is_for_all = isinstance(error, LedgerUnavailable) and not error.is_undone
            if is_for_all or len(group) == 1:
                for change in group:
                    change.fail(error)
            else:
                self._write_singly(group)

    def _write(self, group: Sequence[_Change]) -> None:
        with writing(self._engine) as connection:
            lock_decisions(connection)
            results = [
                result
                for apply, some in groupby(group, key=lambda change: change.apply)
                for result in apply(connection, [change.item for change in some])
            ]
        for change, result in zip(group, results, strict=True):
            change.is_done, change.result = True, result

    def _write_singly(self, group: Sequence[_Change]) -> None:
        """Write each change alone, since one of them failed; stop if the ledger is unavailable."""
        unavailable: LedgerUnavailable | None = None
        for change in group:
            if unavailable is not None:
                change.fail(unavailable)
                continue
            try:
                self._write([change])
            except LedgerUnavailable as error:
                unavailable = error
                change.fail(error)
            except Exception as error:  # noqa: BLE001 - it is raised in the thread it belongs to
                change.fail(error)
