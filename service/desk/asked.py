"""Ask Nexudus now about one person: progress, what differs, and how to bring it in."""

from dataclasses import dataclass
from functools import partial

import structlog
from flask import Response

from ledger.engine import reading
from schemas.entity import FOLLOWED, Entity
from schemas.settings import Settings
from service.cli.common import command_clock, with_own_broker
from service.cli.source_access import open_sync
from service.desk.visit import Visit
from service.people_search import known_person
from workers.source.limits import Patience, Urgency
from workers.sync.backfill import REVIEWED, backfill_person
from workers.sync.compare import Compared, Comparison, Difference, DifferenceKind, Scope
from workers.sync.person_check import PersonCheck, check_person
from workers.sync.reconcile import ReconcileMode, request_differences

PATIENCE_S = 30.0  # no request to Nexudus starts later than this
_AGAIN_S = "2"  # after which the page of an open question loads itself again
_log = structlog.get_logger("desk")


@dataclass(frozen=True, slots=True)
class DifferenceShown:
    """One difference: what Nexudus says, and what we have."""

    theirs: str
    ours: str


def ask(visit: Visit, coworker_id: int) -> Response:
    """Begin to ask Nexudus about a person."""
    question = partial(_check, visit.pages.settings, coworker_id)
    say = visit.language.say
    if not visit.pages.inquiries.ask(coworker_id, question):
        notice = say("Many questions to Nexudus are waiting. Please try again in a minute.")
        return visit.see_other(f"/people/{coworker_id}", notice)
    return visit.see_other(f"/people/{coworker_id}/asked")


def show(visit: Visit, coworker_id: int) -> Response:
    """Show the progress of the question, then what differs."""
    found = visit.pages.inquiries.of(coworker_id)
    with reading(visit.pages.engine) as connection:
        match = known_person(connection, coworker_id)
    check = None if found is None else found.check
    response = visit.page(
        "asked.html",
        coworker_id=coworker_id,
        name=(match.full_name if match else "") or visit.member_name(coworker_id),
        found=found,
        counted=_counted(visit, check) if check else "",
        differences=[_difference(visit, one) for one in check.differences] if check else [],
    )
    if found is not None and found.is_open:
        response.headers["Refresh"] = _AGAIN_S
    return response


def bring(visit: Visit, coworker_id: int) -> Response:
    """Bring in what differs: with its emails held for a person, or without any."""
    is_emailed = visit.field("emails") == "held"
    settings, say = visit.pages.settings, visit.language.say
    work = partial(_bring_held if is_emailed else _bring_silently, settings, coworker_id)
    notice = ""
    if visit.pages.inquiries.bring(coworker_id, work, is_emailed=is_emailed):
        _log.info(
            "person.brought_in",
            coworker_id=coworker_id,
            operator_id=visit.operator.operator_id,
            is_emailed=is_emailed,
        )
    else:
        notice = say("There is nothing to bring in, or it was brought in already.")
    return visit.see_other(f"/people/{coworker_id}/asked", notice)


def _check(settings: Settings, coworker_id: int) -> PersonCheck:
    patience = Patience(Urgency.PERSON, command_clock().monotonic() + PATIENCE_S, lambda: None)
    with open_sync(with_own_broker(settings)) as sync:
        return check_person(sync, coworker_id, patience)


def _bring_held(settings: Settings, coworker_id: int, _: PersonCheck) -> int:
    """Request everything of the person, as `coursebell backfill --person ID` does."""
    with open_sync(with_own_broker(settings)) as sync:
        found = backfill_person(sync, coworker_id, origins=REVIEWED, for_s=PATIENCE_S)
    return sum(found.news.values())


def _bring_silently(settings: Settings, _: int, check: PersonCheck) -> int:
    """Request what differs without emails, as `coursebell reconcile --import` does."""
    kinds = tuple(Compared(entity, 0, 0, 0, 0, tuple(_of(check, entity))) for entity in FOLLOWED)
    with open_sync(with_own_broker(settings)) as sync:
        return request_differences(sync, Comparison(Scope(), kinds), ReconcileMode.IMPORT)


def _of(check: PersonCheck, entity: Entity) -> list[Difference]:
    return [one for one in check.differences if one.row.entity is entity]


def _counted(visit: Visit, check: PersonCheck) -> str:
    say_n = visit.language.say_n
    enrolments = say_n("{number} enrolment", "{number} enrolments", check.enrolments)
    lessons = say_n("{number} finished lesson", "{number} finished lessons", check.completions)
    text = visit.language.say("Nexudus has {enrolments} and {lessons}.")
    return text.format(enrolments=enrolments, lessons=lessons)


def _difference(visit: Visit, one: Difference) -> DifferenceShown:
    say, row = visit.language.say, one.row
    if row.entity is Entity.COURSE_MEMBER:
        what = say("enrolled in {course}").format(course=row.course or say("a course"))
    else:
        what = say("finished {lesson}").format(lesson=row.lesson or say("a lesson"))
    what = say("{time}: {what}").format(time=visit.times.words(row.at), what=what)
    match one.way:
        case DifferenceKind.MISSING:
            return DifferenceShown(what, say("Nothing. We never heard of it."))
        case DifferenceKind.GONE:
            return DifferenceShown(say("Nothing. It was deleted there."), what)
    return DifferenceShown(what, say("An older version of it."))
