"""The JSON routes below /sandbox with which tests and the demo control the stand-in."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from flask import Blueprint, Response, abort, jsonify, request

from sandbox.mailbox import Mail, MailAnswer
from sandbox.misbehaviour.switch import Refused
from sandbox.stage import Stage, entity_named
from schemas.entity import Entity

# For HTML of unknown origin: no script, no request, no access to our origin. Links open a window.
_MAIL_POLICY = (
    "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; "
    "style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"
)
_KINDS: Mapping[type, str] = {
    int: "a whole number",
    bool: "true or false",
    str: "a text",
    dict: "an object",
}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Fields:
    """The JSON object of a request."""

    values: Mapping[str, object]

    def get(self, name: str, kind: type[T], default: T | None = None) -> T:
        """Return the value of a field; without a default it is required.

        Raises:
            Refused: it is missing or of another kind.
        """
        found = self.values.get(name, default)
        if not isinstance(found, kind) or (isinstance(found, bool) and kind is not bool):
            raise Refused(f"{name} must be {_KINDS[kind]}.", 400)
        return found

    def maybe(self, name: str, kind: type[T]) -> T | None:
        """Return the value of a field, or None if it is missing or null."""
        return None if self.values.get(name) is None else self.get(name, kind)

    def time(self, name: str) -> datetime | None:
        """Return an aware time, or None."""
        text = self.values.get(name)
        if text is None:
            return None
        try:
            found = datetime.fromisoformat(str(text))
        except ValueError as error:
            raise Refused(f"{name} must be an ISO 8601 time.", 400) from error
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found

    def entity(self) -> Entity:
        """Return the kind of record that `entity` names."""
        return entity_named(self.values.get("entity"))

    def circumstances(self) -> dict[str, Any]:
        """Return when a change happens, and whether it is delivered."""
        return {"at": self.time("at"), "deliver": self.get("deliver", bool, default=True)}


def read_fields() -> Fields:
    """Return the fields of the current request; an empty body has none."""
    if not request.get_data():
        return Fields({})
    content = request.get_json(force=True, silent=True)
    if not isinstance(content, dict):
        raise Refused("The body must be one JSON object.", 400)
    return Fields(content)


@dataclass(frozen=True, slots=True)
class Control:
    """The routes; each method answers the one that `routes` names."""

    stage: Stage

    def routes(self) -> Blueprint:
        """Return the routes, ready to be registered."""
        routes = Blueprint("control", __name__, url_prefix="/sandbox")
        routes.register_error_handler(Refused, _refusal)
        stage = self.stage
        table: dict[str, Callable[..., Any]] = {
            "GET /people": self._people,
            "GET /courses": self._courses,
            "POST /enrol": self._enrol,
            "POST /approve": self._approve,
            "POST /finish-lesson": self._finish_lesson,
            "POST /finish-course": self._finish_course,
            "POST /message": self._message,
            "POST /change": self._change,
            "POST /delete": self._delete,
            "POST /deliver": self._deliver,
            "GET /deliveries": stage.sender.report,
            "POST /hooks/switch-on": _doing(self._switch_on_hook),
            "GET /clock": stage.clock.report,
            "POST /clock": self._set_clock,
            "GET /reads": stage.counts.report,
            "POST /reads/reset": self._reset_counts,
            "GET /quota": lambda: stage.quota.report(stage.limits()),
            "POST /reset": _doing(stage.reset),
            "POST /tokens/expire": lambda: {"expired": stage.tokens.expire()},
            "POST /faults": self._add_fault,
            "DELETE /faults": _doing(stage.faults.clear),
            "POST /faults/release": lambda: {"released": stage.faults.release()},
            "GET /holding": lambda: {"holding": stage.faults.holding()},
            "GET /misbehaviours": stage.board.report,
            "POST /misbehaviours": self._switch,
            "DELETE /misbehaviours": _doing(stage.board.clear),
            "GET /mails": lambda: [mail.report() for mail in stage.mailbox.mails()],
            "DELETE /mails": _doing(stage.mailbox.clear),
            "GET /mails/<int:number>.html": self._mail_html,
            "GET /mails/<int:number>.eml": self._mail_raw,
            "POST /mailbox": self._behave,
        }
        for line, view in table.items():
            method, path = line.split()
            routes.add_url_rule(path, line.replace(".", " "), view, methods=[method])  # no dots
        return routes

    def _people(self) -> list[dict[str, Any]]:
        shown = ("Id", "FullName", "Email", "Active", "CoworkerType", "CompanyName")
        names = ("id", "name", "email", "active", "coworker_type", "company")
        return [
            {name: row[key] for name, key in zip(names, shown, strict=True)}
            for row in self.stage.tenant.rows(Entity.COWORKER)
        ]

    def _courses(self) -> list[dict[str, Any]]:
        tenant = self.stage.tenant
        return [
            {
                "id": course["Id"],
                "title": course["Title"],
                "lessons": [
                    {"id": row["Id"], "title": row["Title"], "counts": tenant.counts(row)}
                    for row in tenant.lessons_of(course["Id"])
                ],
            }
            for course in tenant.rows(Entity.COURSE)
        ]

    def _enrol(self) -> dict[str, Any]:
        fields = read_fields()
        ids = fields.get("course_id", int), fields.get("coworker_id", int)
        approved = fields.get("approved", bool, default=True)
        member = self.stage.enrol(*ids, approved=approved, **fields.circumstances())
        return {"course_member_id": member["Id"]}

    def _approve(self) -> dict[str, Any]:
        fields = read_fields()
        member_id, deliver = fields.get("course_member_id", int), fields.circumstances()["deliver"]
        self.stage.change(Entity.COURSE_MEMBER, member_id, {"Approved": True}, deliver=deliver)
        return {"course_member_id": member_id}

    def _finish_lesson(self) -> dict[str, Any]:
        fields = read_fields()
        ids = fields.get("course_member_id", int), fields.maybe("lesson_id", int)
        completed = self.stage.finish_lesson(*ids, **fields.circumstances())
        return {"completed_lesson_id": completed["Id"], "lesson_id": completed["CourseLessonId"]}

    def _finish_course(self) -> dict[str, Any]:
        fields = read_fields()
        member_id = fields.get("course_member_id", int)
        done = self.stage.finish_course(member_id, **fields.circumstances())
        return {
            "completed_lesson_ids": [row["Id"] for row in done],
            "lesson_ids": [row["CourseLessonId"] for row in done],
        }

    def _message(self) -> dict[str, Any]:
        """Add a message that Nexudus sent to a person, perhaps as a reminder, or got from one."""
        fields = read_fields()
        coworker_id, at = fields.get("coworker_id", int), fields.time("at")
        incoming = fields.get("incoming", bool, default=False)
        reminder = fields.get("reminder", bool, default=False)
        written = self.stage.tenant.write_message(
            coworker_id, incoming=incoming, reminder=reminder, at=at
        )
        return {"message_id": written["Id"]}

    def _change(self) -> dict[str, Any]:
        fields = read_fields()
        changes, deliver = fields.get("fields", dict, {}), fields.circumstances()["deliver"]
        entity, record_id = fields.entity(), fields.get("id", int)
        self.stage.change(entity, record_id, changes, deliver=deliver)
        return {"entity": entity.value, "id": record_id}

    def _delete(self) -> dict[str, Any]:
        """Delete a record. Nothing is delivered: deletes leave no trace (contract, section 8)."""
        fields = read_fields()
        entity, record_id = fields.entity(), fields.get("id", int)
        self.stage.tenant.delete(entity, record_id)
        return {"entity": entity.value, "id": record_id}

    def _deliver(self) -> dict[str, Any]:
        fields = read_fields()
        entity, record_id = fields.entity(), fields.get("id", int)
        return {
            "statuses": self.stage.deliver_again(entity, record_id, fields.get("times", int, 1))
        }

    def _switch_on_hook(self) -> None:
        self.stage.sender.switch_on(read_fields().entity())

    def _set_clock(self) -> dict[str, Any]:
        fields = read_fields()
        moment = fields.time("now")
        if moment is None and not fields.get("real", bool, default=False):
            raise Refused("Give now, an ISO 8601 time, or real: true.", 400)
        self.stage.clock.fix(moment)
        return self.stage.clock.report()

    def _reset_counts(self) -> dict[str, Any]:
        self.stage.counts.reset()
        self.stage.quota.reset()
        return self.stage.counts.report()

    def _add_fault(self) -> dict[str, Any]:
        """Hold answers below a path back (`hold`), or replace them (`answer`)."""
        fields = read_fields()
        kind, path = fields.get("kind", str), fields.get("path", str)
        if kind not in {"hold", "answer"}:
            raise Refused("kind must be hold or answer.", 400)
        answer = partial(_fixed_answer, fields) if kind == "answer" else None
        if answer is not None:
            answer()  # refuses fields that do not fit
        self.stage.faults.add(path, answer, fields.maybe("times", int))
        return {"kind": kind}

    def _switch(self) -> dict[str, Any]:
        fields, board = read_fields(), self.stage.board
        name = fields.get("name", str)
        if fields.get("on", bool, default=True):
            chosen = {key: one for key, one in fields.values.items() if key not in {"name", "on"}}
            board.switch_on(name, chosen)
        else:
            board.switch_off(name)
        [line] = [line for line in board.report() if line["name"] == name]
        return line

    def _mail_html(self, number: int) -> Response:
        answer = Response(self._mail(number).html, content_type="text/html; charset=utf-8")
        answer.headers["Content-Security-Policy"] = _MAIL_POLICY
        return answer

    def _mail_raw(self, number: int) -> Response:
        return Response(self._mail(number).raw, content_type="text/plain; charset=utf-8")

    def _mail(self, number: int) -> Mail:
        return self.stage.mailbox.mail(number) or abort(404)

    def _behave(self) -> dict[str, Any]:
        """Choose the answer to the next emails."""
        fields = read_fields()
        try:
            answer = MailAnswer(fields.get("answer", str))
        except ValueError as error:
            raise Refused(f"answer must be one of: {', '.join(MailAnswer)}.", 400) from error
        times, keep = fields.get("times", int, 1), fields.get("keep", bool, default=False)
        self.stage.mailbox.behave(answer, times, keep=keep)
        return {"answer": answer.value, "times": times, "keep": keep}


def _doing(act: Callable[[], object]) -> Callable[[], dict[str, Any]]:
    def view() -> dict[str, Any]:
        act()
        return {}

    return view


def _refusal(refused: Refused) -> tuple[Response, int]:
    return jsonify({"error": refused.sentence}), refused.status


def _fixed_answer(fields: Fields) -> Response:
    body = fields.values.get("body", "")
    text = body if isinstance(body, str) else json.dumps(body)
    answer = Response(text, fields.get("status", int), content_type="application/json")
    for name, value in fields.get("headers", dict, {}).items():
        answer.headers[name] = str(value)
    return answer
