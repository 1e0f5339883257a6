"""Notes and tasks for the staff, which Coursebell writes over the API (contract, section 6).

As at the source, nothing recognises a repeated write, an unknown filter is ignored, and a mistake
is answered 400 with the status 500 in its body, or 200 without success.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from flask import Blueprint, Response, request

from sandbox.misbehaviour.answers import answered, envelope
from sandbox.records import EDITOR, Record
from sandbox.tenant import Tenant, WorldClock
from sandbox.wire import as_created
from schemas.entity import Entity

_LARGEST_PAGE = 1_000
_DEFAULT_PAGE = 25


@dataclass(frozen=True, slots=True)
class StaffTable:
    """A kind of record: its name at the source, and its required fields with their types."""

    name: str
    required: Mapping[str, type]


TABLES: Mapping[str, StaffTable] = {
    "spaces/coworkernotes": StaffTable("CoworkerNote", {"CoworkerId": int, "Notes": str}),
    "crm/coworkertasks": StaffTable(
        "CoworkerTask", {"BusinessId": int, "CoworkerId": int, "Name": str, "ResponsibleId": int}
    ),
}
_PARENTS = {"CoworkerId": Entity.COWORKER, "BusinessId": Entity.BUSINESS}


@dataclass
class StaffRecords:
    """The notes and tasks of a run, by path, in the order in which they were written."""

    tenant: Tenant
    clock: WorldClock
    _rows: dict[str, list[Record]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def report(self) -> list[Record]:
        """Return everything that was written, with the name of its kind."""
        with self._lock:
            return [
                {"kind": TABLES[path].name, **_spelled(row)}
                for path, rows in self._rows.items()
                for row in rows
            ]

    def reset(self) -> None:
        """Forget everything."""
        with self._lock:
            self._rows.clear()

    def routes(self) -> Blueprint:
        """Return the route below /sandbox, ready to be registered."""
        routes = Blueprint("staff records", __name__, url_prefix="/sandbox")
        routes.add_url_rule("/staff-records", view_func=self.report)
        return routes

    def add_routes(self, routes: Blueprint) -> None:
        """Add the routes below /api."""
        for path in TABLES:
            routes.add_url_rule(
                f"/{path}", f"create {path}", self.create, methods=["POST"], defaults={"path": path}
            )
            for tail in ("", "/"):
                routes.add_url_rule(
                    f"/{path}{tail}", f"list {path}{tail}", self.listed, defaults={"path": path}
                )

    def create(self, path: str) -> Response:
        """Write a record."""
        table, fields = TABLES[path], request.get_json(force=True, silent=True)
        if not isinstance(fields, dict):
            fields = {}
        mistakes = [
            name
            for name, kind in table.required.items()
            if not isinstance(fields.get(name), kind) or not str(fields[name]).strip()
        ]
        if mistakes:
            errors = [_error(name, f"{name} is a required field.") for name in mistakes]
            return answered(envelope(500, str(errors[0]["Message"]), Errors=errors), 400)
        for name, entity in _PARENTS.items():
            if name in table.required and self.tenant.find(entity, fields[name]) is None:
                errors = [_error(name, f"There is no such {entity}.")]
                return answered(envelope(200, str(errors[0]["Message"]), Errors=errors))
        now = self.clock()
        times = {"CreatedOn": now, "UpdatedOn": now, "UpdatedBy": EDITOR}
        record = {"Id": self.tenant.new_id(), **fields, **times}
        with self._lock:
            self._rows.setdefault(path, []).append(record)
        done = {"Value": {"Id": record["Id"]}, "UpdatedOn": as_created(now), "UpdatedBy": EDITOR}
        message = f"{table.name} was successfully created."
        return answered(envelope(200, message, **done, WasSuccessful=True))

    def listed(self, path: str) -> Response:
        """Answer with a page, the newest first if asked so; only the coworker is filtered by."""
        asked, name = request.args, TABLES[path].name
        with self._lock:
            rows = list(self._rows.get(path, ()))
        wanted = asked.get(f"{name}_Coworker", "")
        if wanted.isdecimal():
            rows = [row for row in rows if row["CoworkerId"] == int(wanted)]
        if asked.get("dir") == "-1":
            rows.reverse()
        size = min(asked.get("size", _DEFAULT_PAGE, int) or _DEFAULT_PAGE, _LARGEST_PAGE)
        page = max(asked.get("page", 1, int), 1)
        start, total = (page - 1) * size, len(rows)
        return answered(
            {
                "Records": [_spelled(row) for row in rows[start : start + size]],
                "CurrentPage": page,
                "CurrentPageSize": size,
                "TotalItems": total,
                "TotalPages": -(-total // size),
                "HasNextPage": start + size < total,
                "HasPreviousPage": page > 1,
            }
        )


def _error(name: str, sentence: str) -> Record:
    return {"AttemptedValue": None, "Message": sentence, "PropertyName": name}


def _spelled(row: Record) -> Record:
    return {
        name: value.astimezone(UTC).isoformat(timespec="seconds")
        if isinstance(value, datetime)
        else value
        for name, value in row.items()
    }
