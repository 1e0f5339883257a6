"""A session at Nexudus that knows notes and tasks only, in memory.

tests/contract/test_staff_records.py holds it to the real one against the stand-in.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from schemas.errors import SourceUnavailable
from workers.source.answers import Missing


class StaffSession:
    """The interface of `ApiSession`. `written` is what was written, in order: path and fields."""

    def __init__(self) -> None:
        self.written: list[tuple[str, dict[str, Any]]] = []
        self.errors: list[Exception] = []  # raised instead of the next writes
        self.lost_answers = 0  # so many next writes are done and not answered
        self.failing_for: int | None = None  # a coworker for whom every write fails
        self.created_at: datetime | None = None  # of all records; None: after any date asked for

    def get_json(self, path: str, query: Mapping[str, str]) -> object | Missing:
        """Return a page of the records of one coworker from a date on, the newest first."""
        [whose] = [value for name, value in query.items() if name.endswith("_Coworker")]
        [since] = [value for name, value in query.items() if name.endswith("_CreatedOn")]
        is_older = self.created_at is not None and self.created_at < datetime.fromisoformat(
            since
        ).replace(tzinfo=UTC)
        rows = [] if is_older else self._rows(path, whose)
        size, end = int(query["size"]), len(rows) - int(query["size"]) * (int(query["page"]) - 1)
        page = rows[max(end - size, 0) : max(end, 0)][::-1]
        return {"Records": page, "HasNextPage": end > size, "TotalItems": len(rows)}

    def _rows(self, path: str, whose: str) -> list[dict[str, Any]]:
        return [
            {"Id": number, **fields}
            for number, (at, fields) in enumerate(self.written, start=1)
            if at == path and str(fields["CoworkerId"]) == whose
        ]

    def send(self, method: str, path: str, value: object) -> object:
        """Write a record."""
        assert method == "POST"
        assert isinstance(value, dict)
        if self.errors:
            raise self.errors.pop(0)
        if value["CoworkerId"] == self.failing_for:
            raise SourceUnavailable("the source answered 500")
        self.written.append((path, value))
        if self.lost_answers:
            self.lost_answers -= 1
            raise SourceUnavailable("no answer from the source: it closed the connection")
        return {"Id": len(self.written)}
