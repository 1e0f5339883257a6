"""The JSON routes below /sandbox by which tests and the demo change the stand-in's world."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, jsonify

from sandbox.refused import Refused
from sandbox.stage import Stage
from sandbox.story import entity_named
from sandbox.wish import read_wish
from schemas.entity import Entity

if TYPE_CHECKING:
    from collections.abc import Callable


def refusal(refused: Refused) -> tuple[Response, int]:
    """Answer with the sentence and the status of a wish that was not granted."""
    return jsonify({"error": refused.sentence}), refused.status


@dataclass(frozen=True, slots=True)
class Control:
    """The routes about people, courses and what they do."""

    stage: Stage

    def routes(self) -> Blueprint:
        """Return the routes, ready to be registered."""
        routes = Blueprint("control", __name__, url_prefix="/sandbox")
        routes.register_error_handler(Refused, refusal)
        table: dict[str, Callable[[], Any]] = {
            "GET /people": self.people,
            "GET /courses": self.courses,
            "POST /enrol": self.enrol,
            "POST /approve": self.approve,
            "POST /finish-lesson": self.finish_lesson,
            "POST /finish-course": self.finish_course,
            "POST /change": self.change,
            "POST /delete": self.delete,
            "POST /deliver": self.deliver,
        }
        for line, view in table.items():
            method, path = line.split()
            routes.add_url_rule(path, view_func=view, methods=[method])
        return routes

    def people(self) -> list[dict[str, Any]]:
        """List the coworkers."""
        shown = ("Id", "FullName", "Email", "Active", "CoworkerType", "CompanyName")
        names = ("id", "name", "email", "active", "coworker_type", "company")
        return [
            {name: row[key] for name, key in zip(names, shown, strict=True)}
            for row in self.stage.tenant.rows(Entity.COWORKER)
        ]

    def courses(self) -> list[dict[str, Any]]:
        """List the courses with their lessons, in order."""
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

    def enrol(self) -> dict[str, Any]:
        """Enrol a person."""
        wish = read_wish()
        member = self.stage.story().enrol(
            wish.whole("course_id"),
            wish.whole("coworker_id"),
            approved=wish.flag("approved", otherwise=True),
            at=wish.maybe_moment("at"),
            deliver=wish.flag("deliver", otherwise=True),
        )
        return {"course_member_id": member["Id"]}

    def approve(self) -> dict[str, Any]:
        """Approve an enrolment."""
        wish = read_wish()
        member_id = wish.whole("course_member_id", wish.maybe_whole("id"))
        deliver = wish.flag("deliver", otherwise=True)
        self.stage.story().change(
            Entity.COURSE_MEMBER, member_id, {"Approved": True}, deliver=deliver
        )
        return {"course_member_id": member_id}

    def finish_lesson(self) -> dict[str, Any]:
        """Finish the next counting lesson, or the one named."""
        wish = read_wish()
        completed = self.stage.story().finish_lesson(
            wish.whole("course_member_id"),
            wish.maybe_whole("lesson_id"),
            at=wish.maybe_moment("at"),
            deliver=wish.flag("deliver", otherwise=True),
        )
        return {"completed_lesson_id": completed["Id"], "lesson_id": completed["CourseLessonId"]}

    def finish_course(self) -> dict[str, Any]:
        """Finish all counting lessons that are left."""
        wish = read_wish()
        done = self.stage.story().finish_course(
            wish.whole("course_member_id"),
            at=wish.maybe_moment("at"),
            deliver=wish.flag("deliver", otherwise=True),
        )
        return {
            "completed_lesson_ids": [row["Id"] for row in done],
            "lesson_ids": [row["CourseLessonId"] for row in done],
        }

    def change(self) -> dict[str, Any]:
        """Set some fields of any record, as its editor at the source would."""
        wish = read_wish()
        entity = entity_named(wish.fields.get("entity"))
        fields, deliver = wish.table("fields"), wish.flag("deliver", otherwise=True)
        record = self.stage.story().change(entity, wish.whole("id"), fields, deliver=deliver)
        return {"entity": entity.value, "id": record["Id"]}

    def delete(self) -> dict[str, Any]:
        """Delete a record. Nobody is told: deletes leave no trace (contract, section 8)."""
        wish = read_wish()
        entity, record_id = entity_named(wish.fields.get("entity")), wish.whole("id")
        self.stage.tenant.delete(entity, record_id)
        return {"entity": entity.value, "id": record_id}

    def deliver(self) -> dict[str, Any]:
        """Deliver a record again, so many times, and wait for the answers."""
        wish = read_wish()
        entity = entity_named(wish.fields.get("entity"))
        times = wish.whole("times", 1)
        statuses = self.stage.story().deliver_again(entity, wish.whole("id"), times)
        return {"statuses": statuses}
