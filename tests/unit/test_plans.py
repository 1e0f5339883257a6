"""From an event to planned actions, or to the reason why nothing is done."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from schemas.actions import Plan
from schemas.entity import CoworkerKind
from schemas.events import EventKind
from schemas.reasons import Reason
from schemas.rules import Rule, Stream, Timing, Where
from tests.builders.records import (
    COURSE_ID,
    COURSE_MEMBER_ID,
    COWORKER_ID,
    NOON,
    course,
    course_member,
    lesson,
)
from tests.builders.rules import event, gathering_rule, rule, rules
from workers.decide.conditions import Subject
from workers.decide.rules import DecisionContext, plans_for

LONDON = ZoneInfo("Europe/London")
SUBJECT = Subject(course_member(), course(), lesson(1))
MINUTE = timedelta(minutes=1)
COMPANIES = Where(coworker_type=(CoworkerKind.COMPANY,))


def known(
    *these: Rule,
    completion_planned_at: datetime | None = None,
    watching_since: datetime | None = None,
) -> DecisionContext:
    announced_at: dict[str | None, datetime] = {}
    if completion_planned_at is not None:
        announced_at[None] = completion_planned_at
    return DecisionContext(rules(*these), LONDON, SUBJECT, announced_at, watching_since)


def test_a_rule_makes_one_complete_plan() -> None:
    by = rule(delay_s=600, stream=Stream.REMINDER)
    assert plans_for(event(), known(by)) == [
        Plan(
            key="congratulate-lesson/lesson_completed:1",
            kind="email",
            rule="congratulate-lesson",
            rules_version="digest-of-the-file",
            event_kind=EventKind.LESSON_COMPLETED,
            template="lesson-finished",
            stream="reminder",
            course_id=COURSE_ID,
            coworker_id=COWORKER_ID,
            course_member_id=COURSE_MEMBER_ID,
            happened_at=NOON,
            due_at=NOON + 10 * MINUTE,
            gather_until=None,
        )
    ]


def test_a_plan_without_delay_is_due_at_once_even_at_night() -> None:
    midnight = datetime(2026, 3, 3, 0, 0, tzinfo=UTC)
    plans = plans_for(event(at=midnight), known(rule()))
    assert isinstance(plans, list)
    assert plans[0].due_at == midnight


def test_a_gathering_plan_is_due_after_the_quiet_time_and_knows_its_end() -> None:
    plans = plans_for(event(), known(gathering_rule()))
    assert isinstance(plans, list)
    assert plans[0].due_at == NOON + 30 * MINUTE
    assert plans[0].gather_until == NOON + 180 * MINUTE


def test_a_gathering_plan_of_the_evening_is_due_before_quiet_hours() -> None:
    evening = datetime(2026, 3, 3, 19, 50, tzinfo=UTC)
    plans = plans_for(event(at=evening), known(gathering_rule()))
    assert isinstance(plans, list)
    assert plans[0].due_at == evening + 9 * MINUTE


def test_every_fitting_rule_makes_a_plan_in_the_order_of_the_file() -> None:
    plans = plans_for(
        event(),
        known(
            rule(name="first"),
            rule(name="off", enabled=False),
            rule(name="other", event=EventKind.ENROLLED),
            rule(name="companies", where=COMPANIES),
            rule(name="last", action="webhook", template=None),
        ),
    )
    assert isinstance(plans, list)
    assert [plan.rule for plan in plans] == ["first", "last"]
    assert len({plan.key for plan in plans}) == 2


@pytest.mark.parametrize(
    "these",
    [
        (),
        (rule(enabled=False),),
        (rule(event=EventKind.COURSE_COMPLETED),),
        (rule(where=COMPANIES),),
    ],
    ids=["no rule", "off", "another event", "for others"],
)
def test_an_event_without_a_fitting_rule_leads_to_nothing(these: tuple[Rule, ...]) -> None:
    assert plans_for(event(), known(*these)) is Reason.KIND_OFF


def test_a_request_waits_for_approval_if_no_rule_is_about_requests() -> None:
    request = event(EventKind.ENROLMENT_REQUESTED, lesson_id=None)
    assert plans_for(request, known(rule())) is Reason.NOT_APPROVED
    off = rule(event=EventKind.ENROLMENT_REQUESTED, enabled=False)
    assert plans_for(request, known(off)) is Reason.NOT_APPROVED
    others = rule(event=EventKind.ENROLMENT_REQUESTED, where=COMPANIES)
    assert plans_for(request, known(others)) is Reason.KIND_OFF
    about_it = rule(event=EventKind.ENROLMENT_REQUESTED)
    assert isinstance(plans_for(request, known(about_it)), list)


@pytest.mark.parametrize(
    ("started_at", "reason"),
    [(None, None), (NOON - MINUTE, None), (NOON, None), (NOON + MINUTE, Reason.BEFORE_START)],
)
def test_events_before_sending_began_lead_to_no_plan(
    started_at: datetime | None, reason: Reason | None
) -> None:
    plans = plans_for(event(), known(rule(), watching_since=started_at))
    assert plans is reason if reason else isinstance(plans, list)


@pytest.mark.parametrize(
    ("finished_at", "reason"),
    [
        (None, None),
        (NOON - MINUTE, None),  # a lesson added later counts again
        (NOON, Reason.SUPERSEDED),
        (NOON + MINUTE, Reason.SUPERSEDED),
    ],
)
def test_the_completion_of_a_course_replaces_emails_about_its_lessons(
    finished_at: datetime | None, reason: Reason | None
) -> None:
    plans = plans_for(event(), known(rule(), completion_planned_at=finished_at))
    assert plans is reason if reason else isinstance(plans, list)


@pytest.mark.parametrize(
    "kind", [EventKind.ENROLLED, EventKind.COURSE_STARTED, EventKind.COURSE_COMPLETED]
)
def test_the_completion_of_a_course_replaces_no_other_emails(kind: EventKind) -> None:
    plans = plans_for(event(kind), known(rule(event=kind), completion_planned_at=NOON + MINUTE))
    assert isinstance(plans, list)


def test_the_first_reason_is_the_one_that_no_rule_could_change() -> None:
    late, finished_at = NOON + MINUTE, NOON + MINUTE
    circumstances = known(rule(), watching_since=late, completion_planned_at=finished_at)
    assert plans_for(event(), circumstances) is Reason.BEFORE_START
    nothing = known(watching_since=late, completion_planned_at=finished_at)
    assert plans_for(event(), nothing) is Reason.KIND_OFF


def test_a_rules_own_timing_is_the_one_that_counts() -> None:
    evening = datetime(2026, 3, 3, 19, 50, tzinfo=UTC)
    awake = gathering_rule(timing=Timing(quiet_hours=None))
    plans = plans_for(event(at=evening), known(awake))
    assert isinstance(plans, list)
    assert plans[0].due_at == evening + 30 * MINUTE


def test_requested_events_are_planned_even_if_they_are_from_before_sending_began() -> None:
    late = known(rule(), watching_since=NOON + MINUTE)
    plans = plans_for(event(), replace(late, asked=True))
    assert isinstance(plans, list)
    assert plans[0].asked


def test_a_plan_has_the_reason_for_which_its_email_is_held() -> None:
    plans = plans_for(event(), replace(known(rule()), held_for=Reason.IMPORTED))
    assert isinstance(plans, list)
    assert plans[0].held_for is Reason.IMPORTED


def test_a_gathering_plan_is_due_before_the_quiet_hours_where_the_person_is() -> None:
    evening = datetime(2026, 3, 3, 10, 50, tzinfo=UTC)  # 19:50 in Tokyo
    in_tokyo = replace(known(gathering_rule()), zone=ZoneInfo("Asia/Tokyo"))
    plans = plans_for(event(at=evening), in_tokyo)
    assert isinstance(plans, list)
    assert plans[0].due_at == evening + 9 * MINUTE
