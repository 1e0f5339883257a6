"""A session at Nexudus that knows notes and tasks only, in memory.

tests/contract/test_staff_records.py holds it to the real one against the stand-in.
"""

from collections.abc import Mapping
from typing import Any

from schemas.errors import SourceUnavailable
from workers.source.answers import Missing


class StaffSession:
    """The interface of `ApiSession`. `written` is what was written, in order: path and fields."""

    def __init__(self) -> None:
        self.written: list[tuple[str, dict[str, Any]]] = []
        self.errors: list[Exception] = []  # raised instead of the next writes
        self.lost_answers = 0  # so many next writes are done and not answered

    def get_json(self, path: str, query: Mapping[str, str]) -> object | Missing:
        """Return a page of the records of one coworker, the newest first."""
        [whose] = [value for name, value in query.items() if name.endswith("_Coworker")]
        rows = [
            {"Id": number, **fields}
            for number, (at, fields) in enumerate(self.written, start=1)
            if at == path and str(fields["CoworkerId"]) == whose
        ]
        return {"Records": rows[::-1], "HasNextPage": False, "TotalItems": len(rows)}

    def send(self, method: str, path: str, value: object) -> object:
        """Write a record."""
        assert method == "POST"
        assert isinstance(value, dict)
        if self.errors:
            raise self.errors.pop(0)
        self.written.append((path, value))
        if self.lost_answers:
            self.lost_answers -= 1
            raise SourceUnavailable("no answer from the source: it closed the connection")
        return {"Id": len(self.written)}
