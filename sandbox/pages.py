"""The sandbox's pages: be a learner, and see what becomes of it. They work without script."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from sandbox.refused import Refused
from sandbox.stage import Stage
from sandbox.story import entity_named
from sandbox.views import (
    REFUSALS,
    SAID,
    clock,
    delivery_lines,
    hook_word,
    options,
    progress_of_all,
)
from schemas.entity import Entity

_SHOWN_DELIVERIES = 12
_SHOWN_MAILS = 8


@dataclass(frozen=True, slots=True)
class Pages:
    """The routes a person looks at."""

    stage: Stage

    def routes(self) -> Blueprint:
        """Return the routes, ready to be registered."""
        routes = Blueprint("pages", __name__, template_folder="templates", static_folder="static")
        routes.add_app_template_filter(clock, "clock")
        routes.add_url_rule("/", "front", self.front)
        routes.add_url_rule("/act", "act", self.act, methods=["POST"])
        routes.add_url_rule("/switch-on", "switch_on", self.switch_on, methods=["POST"])
        routes.add_url_rule("/mailbox", "mailbox", self.mailbox)
        routes.add_url_rule("/mailbox/<int:number>", "mail", self.mail)
        routes.add_url_rule("/mailbox/empty", "empty", self.empty, methods=["POST"])
        return routes

    def front(self) -> str:
        """Show the choices, the progress, the emails and the deliveries."""
        tenant, report = self.stage.tenant, self.stage.sender.report()
        said = request.args.get("said", "")
        mails = self.stage.mailbox.mails()
        return self._page(
            "front.html",
            people=options(tenant.rows(Entity.COWORKER), request.args.get("coworker", type=int)),
            courses=options(tenant.rows(Entity.COURSE), request.args.get("course", type=int)),
            said=SAID.get(said),
            is_refusal=said in REFUSALS,
            progress=progress_of_all(tenant),
            mails=mails[: -_SHOWN_MAILS - 1 : -1],
            mail_count=len(mails),
            deliveries=delivery_lines(report["deliveries"][-_SHOWN_DELIVERIES:]),
            hooks=[{**hook, "word": hook_word(hook["entity"])} for hook in report["hooks"]],
            is_automatic=report["automatic"],
        )

    def act(self) -> Response:
        """Do what the button says for the person and course chosen, and show the page again."""
        course_id = request.form.get("course", type=int)
        coworker_id = request.form.get("coworker", type=int)
        act = _ACTS.get(request.form.get("act", ""))
        if act is None or course_id is None or coworker_id is None:
            abort(400)
        try:
            said = act(self.stage, course_id, coworker_id)
        except Refused as refused:
            abort(refused.status)
        return redirect(
            url_for("pages.front", coworker=coworker_id, course=course_id, said=said), 303
        )

    def switch_on(self) -> Response:
        """Switch a hook on again."""
        try:
            self.stage.sender.switch_on(entity_named(request.form.get("entity")))
        except (Refused, KeyError):
            abort(400)
        return redirect(url_for("pages.front"), 303)

    def mailbox(self) -> str:
        """List the emails."""
        return self._page("mailbox.html", mails=self.stage.mailbox.mails()[::-1])

    def mail(self, number: int) -> str:
        """Show one email."""
        found = self.stage.mailbox.mail(number) or abort(404)
        return self._page("mail.html", mail=found, links=found.links())

    def empty(self) -> Response:
        """Throw the emails away."""
        self.stage.mailbox.clear()
        return redirect(url_for("pages.mailbox"), 303)

    def _page(self, template: str, **shown: Any) -> str:  # noqa: ANN401 - a template takes anything
        return render_template(template, coursebell_url=self.stage.coursebell_url, **shown)


def _enrol(stage: Stage, course_id: int, coworker_id: int) -> str:
    if stage.tenant.enrolment(course_id, coworker_id) is not None:
        return "enrolled-already"
    stage.story().enrol(course_id, coworker_id)
    return "enrolled"


def _finish_lesson(stage: Stage, course_id: int, coworker_id: int) -> str:
    member = stage.tenant.enrolment(course_id, coworker_id)
    if member is None:
        return "not-enrolled"
    left = stage.tenant.lessons_left(member["Id"])
    if not left:
        return "nothing-left"
    stage.story().finish_lesson(member["Id"], left[0]["Id"])
    return "course" if len(left) == 1 else "lesson"


def _finish_course(stage: Stage, course_id: int, coworker_id: int) -> str:
    member = stage.tenant.enrolment(course_id, coworker_id)
    if member is None:
        return "not-enrolled"
    return "course" if stage.story().finish_course(member["Id"]) else "nothing-left"


_ACTS: dict[str, Callable[[Stage, int, int], str]] = {
    "enrol": _enrol,
    "finish-lesson": _finish_lesson,
    "finish-course": _finish_course,
}
