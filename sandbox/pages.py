"""The sandbox's pages: act as a learner, read the emails, misbehave. They work without script."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, url_for
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from sandbox.misbehaviour.catalogue import DEFAULT_BEHAVIOUR, SWITCHES, switch_named
from sandbox.misbehaviour.switch import Group, Kind, Parameter, Refused
from sandbox.records import Record
from sandbox.stage import Stage, entity_named
from sandbox.tenant import Tenant
from schemas.entity import CoworkerKind, Entity

_SHOWN_DELIVERIES = 12
_SHOWN_MAILS = 8
_SHOWN_PROGRESS = 100
_BAD_REQUEST = 400
_NOT_FOUND = 404
_SEE_OTHER = 303
_SUCCESS = 2  # the first digit of a 2xx status

# The result of a button, by the word in the address; nothing else can be shown there.
_RESULTS = {
    "enrolled": "Enrolled. Nexudus has a new enrolment.",
    "lesson": "One lesson finished.",
    "course": "The course is finished.",
    "enrolled-already": "This person is already enrolled in this course.",
    "not-enrolled": "This person is not enrolled in this course. Enrol them first.",
    "nothing-left": "This person has already finished this course.",
}
_REFUSALS = frozenset({"enrolled-already", "not-enrolled", "nothing-left"})
_ENTITY_WORDS = {"CourseMember": "Enrolment", "CourseCompletedLesson": "Completed lesson"}


@dataclass(frozen=True, slots=True)
class Pages:
    """The routes of the pages."""

    stage: Stage

    def routes(self) -> Blueprint:
        """Return the routes, ready to be registered."""
        routes = Blueprint("pages", __name__, template_folder="templates", static_folder="static")
        routes.add_app_template_filter(time_of_day, "clock")
        routes.context_processor(lambda: {"coursebell_url": self.stage.coursebell_url})
        routes.add_url_rule("/", "front", self.front)
        routes.add_url_rule("/act", "act", self.act, methods=["POST"])
        routes.add_url_rule("/switch-on", "switch_on", self.switch_on, methods=["POST"])
        routes.add_url_rule("/mailbox", "mailbox", self.mailbox)
        routes.add_url_rule("/mailbox/<int:number>", "mail", self.mail)
        routes.add_url_rule("/mailbox/empty", "empty", self.empty, methods=["POST"])
        routes.add_url_rule("/misbehave", "misbehave", self.misbehave)
        routes.add_url_rule("/misbehave", "choose", self.choose, methods=["POST"])
        return routes

    def front(self) -> str:
        """Show the choices, the progress, the emails and the deliveries."""
        tenant, report = self.stage.tenant, self.stage.sender.report()
        result, mails = request.args.get("said", ""), self.stage.mailbox.mails()
        people = tenant.rows(Entity.COWORKER)
        chosen = [row for row in people if row["Id"] == request.args.get("coworker", type=int)]
        members = sorted(tenant.rows(Entity.COURSE_MEMBER), key=lambda row: -row["Id"])
        return render_template(
            "front.html",
            people=_options(people, request.args.get("coworker", type=int)),
            courses=_options(tenant.rows(Entity.COURSE), request.args.get("course", type=int)),
            result=_RESULTS.get(result),
            is_refusal=result in _REFUSALS,
            no_email=next(map(_why_no_email, chosen), None),
            progress=[_progress(tenant, member) for member in members[:_SHOWN_PROGRESS]],
            mails=mails[: -_SHOWN_MAILS - 1 : -1],
            mail_count=len(mails),
            deliveries=[
                _delivery(one) for one in report["deliveries"][: -_SHOWN_DELIVERIES - 1 : -1]
            ],
            hooks=[{**hook, "word": _ENTITY_WORDS[hook["entity"]]} for hook in report["hooks"]],
            is_automatic=report["automatic"],
        )

    def act(self) -> Response:
        """Perform the button for the chosen person and course, and show the page again."""
        course_id = request.form.get("course", type=int)
        coworker_id = request.form.get("coworker", type=int)
        act = _ACTS.get(request.form.get("act", ""))
        if act is None or course_id is None or coworker_id is None:
            abort(_BAD_REQUEST)
        try:
            result = act(self.stage, course_id, coworker_id)
        except Refused as refused:
            abort(refused.status)
        page = url_for("pages.front", coworker=coworker_id, course=course_id, said=result)
        return redirect(page, _SEE_OTHER)

    def switch_on(self) -> Response:
        """Switch a webhook on again."""
        try:
            self.stage.sender.switch_on(entity_named(request.form.get("entity")))
        except (Refused, KeyError):
            abort(_BAD_REQUEST)
        return redirect(url_for("pages.front"), _SEE_OTHER)

    def mailbox(self) -> str:
        """List the emails."""
        return render_template("mailbox.html", mails=self.stage.mailbox.mails()[::-1])

    def mail(self, number: int) -> str:
        """Show one email."""
        found = self.stage.mailbox.mail(number) or abort(404)
        return render_template("mail.html", mail=found, links=found.links())

    def empty(self) -> Response:
        """Delete the emails."""
        self.stage.mailbox.clear()
        return redirect(url_for("pages.mailbox"), _SEE_OTHER)

    def misbehave(self, mistake: str | None = None, mistaken: str | None = None) -> str:
        """Show every switch, those that are on first of all."""
        lines = [_with_fields(line) for line in self.stage.board.report()]
        return render_template(
            "misbehave.html",
            on=[line for line in lines if line["on"]],
            groups=[
                (group.value, [line for line in lines if line["group"] == group.value])
                for group in Group
            ],
            always=DEFAULT_BEHAVIOUR,
            mistake=mistake,
            mistaken=mistaken,
        )

    def choose(self) -> tuple[str, int] | Response:
        """Perform the button, and show the page again at the switch."""
        name, act, board = request.form.get("name", ""), request.form.get("act"), self.stage.board
        try:
            if act == "clear":
                board.clear()
                return redirect(url_for("pages.misbehave"), _SEE_OTHER)
            if act == "off":
                board.switch_off(name)
            else:
                parameters = switch_named(name).parameters
                texts = {one: request.form.get(one.name, "") for one in parameters}
                board.switch_on(name, {one.name: one.read_text(t) for one, t in texts.items()})
        except Refused as refused:
            return self.misbehave(refused.sentence, name), _BAD_REQUEST
        return redirect(url_for("pages.misbehave", _anchor=name), _SEE_OTHER)


def time_of_day(at: str) -> str:
    """Return the time of day, in UTC, of an ISO 8601 time."""
    return datetime.fromisoformat(at).astimezone(UTC).strftime("%H:%M:%S")


def _enrol(stage: Stage, course_id: int, coworker_id: int) -> str:
    if stage.tenant.enrolment(course_id, coworker_id) is not None:
        return "enrolled-already"
    stage.enrol(course_id, coworker_id)
    return "enrolled"


def _finish_lesson(stage: Stage, course_id: int, coworker_id: int) -> str:
    member = stage.tenant.enrolment(course_id, coworker_id)
    if member is None:
        return "not-enrolled"
    left = stage.tenant.lessons_left(member["Id"])
    if not left:
        return "nothing-left"
    stage.finish_lesson(member["Id"], left[0]["Id"])
    return "course" if len(left) == 1 else "lesson"


def _finish_course(stage: Stage, course_id: int, coworker_id: int) -> str:
    member = stage.tenant.enrolment(course_id, coworker_id)
    if member is None:
        return "not-enrolled"
    return "course" if stage.finish_course(member["Id"]) else "nothing-left"


_ACTS: dict[str, Callable[[Stage, int, int], str]] = {
    "enrol": _enrol,
    "finish-lesson": _finish_lesson,
    "finish-course": _finish_course,
}


def _options(rows: Sequence[Record], chosen: int | None) -> list[dict[str, Any]]:
    """Return the records as the options of a select; by default the first is chosen."""
    ids = [row["Id"] for row in rows]
    picked = chosen if chosen in ids else next(iter(ids), None)
    return [
        {"id": row["Id"], "label": _label(row), "is_chosen": row["Id"] == picked} for row in rows
    ]


def _label(row: Record) -> str:
    if "Title" in row:
        return str(row["Title"])
    remarks = [
        row["CompanyName"] if row["CoworkerType"] == CoworkerKind.COMPANY.value else None,
        None if row["Email"] else "no email address",
        None if row["Active"] else "inactive",
        "archived" if row["Archived"] else None,
    ]
    remark = ", ".join(text for text in remarks if text)
    return f"{row['FullName']} ({remark})" if remark else str(row["FullName"])


def _why_no_email(coworker: Record) -> str | None:
    """Return why Coursebell sends this person nothing, or None."""
    if not coworker["Active"]:
        return "inactive"
    if coworker["Archived"]:
        return "archived"
    return None if coworker["Email"] else "without an email address"


def not_found(error: HTTPException) -> tuple[str, int] | HTTPException:
    """Return the page for an address that does not exist; of the API, the error as it is."""
    if request.path.startswith(("/api/", "/sandbox/")):
        return error
    return render_template("not_found.html"), _NOT_FOUND


def _progress(tenant: Tenant, member: Record) -> dict[str, Any]:
    lessons = [row for row in tenant.lessons_of(member["CourseId"]) if tenant.counts(row)]
    completed = tenant.completed_lesson_ids(member["Id"])
    done = sum(row["Id"] in completed for row in lessons)
    if not member["Approved"]:
        state, tone = "Waiting for approval", "attention"
    elif done == len(lessons):
        state, tone = "Finished", "good"
    else:
        state, tone = ("In progress", "plan") if done else ("Enrolled", "neutral")
    return {
        "person": member["CoworkerFullName"],
        "course": member["CourseTitle"],
        "done": done,
        "of": len(lessons),
        "state": state,
        "tone": tone,
    }


def _delivery(one: dict[str, Any]) -> dict[str, Any]:
    status, attempt = one["status"], one["attempt"]
    if status is not None:
        answer = f"Answered {status}"
    else:
        answer = f"No answer ({one['error']})" if attempt else "Not sent, switched off"
    return {
        "at": one["at"],
        "what": _ENTITY_WORDS[one["entity"]],
        "record_id": one["id"],
        "answer": f"{answer}, attempt {attempt}" if attempt > 1 else answer,
        "tone": "good" if status is not None and status // 100 == _SUCCESS else "bad",
    }


def _with_fields(line: dict[str, Any]) -> dict[str, Any]:
    chosen = line["settings"] or {}
    parameters = SWITCHES[line["name"]].parameters
    fields = [_field(one, chosen.get(one.name, one.default)) for one in parameters]
    return {**line, "fields": fields}


def _field(parameter: Parameter, value: object) -> dict[str, Any]:
    choices: list[str] = [str(choice) for choice in parameter.choices]
    if parameter.kind is Kind.FLAG:
        choices = ["true", "false"]
    if parameter.kind is Kind.ENTITY:
        choices = ["", *Entity]
    shown = "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
    return {
        "name": parameter.name,
        "words": parameter.name.replace("_", " "),
        "value": shown.lower() if isinstance(value, bool) else shown,
        "choices": choices,
        "is_number": parameter.kind in {Kind.WHOLE, Kind.NUMBER},
        "is_needed": not parameter.may_be_none,
    }
