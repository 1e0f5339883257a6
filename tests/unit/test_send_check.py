"""Whether an action may be performed now: every check, passing and failing."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from schemas.actions import ActionState, Mode, Outcome, PersonNeeds
from schemas.events import EventKind
from schemas.reasons import Reason
from schemas.records import Message
from schemas.rules import Flood, Stream, Timing
from tests.builders.records import COWORKER_ID, NOON, course, course_member
from tests.builders.rules import ANY_TIME, event, gathering_rule, rule
from tests.builders.send_context import person, send_context
from workers.decide.send_check import SentReminder, check_send, needs_messages

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
NIGHT = NOON + 10 * HOUR  # ten in the evening
MORNING = NOON + 20 * HOUR  # eight
REMINDER = rule(stream=Stream.REMINDER)
BRAKED = rule(timing=Timing(brake=Decimal(2)))
SMALL_FLOOD = rule(timing=Timing(flood=Flood(3, 600)))
WELCOME = event(EventKind.ENROLLED, lesson_id=None)
REQUEST = event(EventKind.ENROLMENT_REQUESTED, lesson_id=None)
FINISH = event(EventKind.COURSE_COMPLETED)
THREE_THIS_WEEK = [NOON - 2 * DAY, NOON - 3 * DAY, NOON - 4 * DAY]
FOUR_THIS_WEEK = [NOON - DAY, *THREE_THIS_WEEK]


def test_a_usual_action_may_be_performed() -> None:
    assert check_send(send_context()) is None


NO_OBJECTIONS: dict[str, dict[str, Any]] = {
    "a request is about a missing approval": {
        "enrolment": course_member(approved=False),
        "events": [REQUEST],
    },
    "yes to everything": {"choices": {"all": True, "service": True}},
    "no to another kind": {"choices": {"reminder": False}},
    "one email a week, but an operator asked for this one": {
        "choices": {"weekly": True},
        "asked": True,
    },
    "one email a week, and it is a later one of a sequence": {
        "choices": {"weekly": True},
        "step": 1,
    },
    "one email a week, which is about lessons only": {
        "choices": {"weekly": True},
        "events": [WELCOME],
    },
    "one email a week, where choices do not count": {
        "choices": {"weekly": True},
        "needs": PersonNeeds(),
    },
    "yes to reminders": {"rule": REMINDER, "choices": {"reminder": True}},
    "happened when sending began": {"sending_started_at": NOON},
    "one of its lessons happened after sending began": {
        "sending_started_at": NOON,
        "events": [event(at=NOON - HOUR), event(at=NOON, lesson_id=2)],
    },
    "found just in time": {"events": [event(at=NOON - 48 * HOUR)]},
    "due just long enough ago": {"due_at": NOON - 48 * HOUR},
    "waited on purpose": {
        "rule": rule(delay_s=7 * 86_400),
        "events": [event(at=NOON - 8 * DAY)],
        "planned_at": NOON,
    },
    "nothing is ever too old": {
        "rule": rule(timing=ANY_TIME),
        "events": [event(at=NOON - 999 * DAY)],
        "due_at": NOON - 99 * DAY,
    },
    "as many as are no flood": {"rule": SMALL_FLOOD, "planned_nearby": 3},
    "floods are welcome": {"rule": rule(timing=ANY_TIME), "planned_nearby": 9_999},
    "gathered long enough": {
        "rule": gathering_rule(),
        "events": [event(at=NOON - 40 * MINUTE), event(at=NOON - 30 * MINUTE, lesson_id=2)],
    },
    "gathered as long as may be": {
        "rule": gathering_rule(),
        "events": [event(at=NOON - 3 * HOUR), event(at=NOON - MINUTE, lesson_id=2)],
    },
    "no night for this rule": {"rule": rule(timing=ANY_TIME), "now": NIGHT},
    "happened after the ledger was restored": {"restored_at": NOON - MINUTE},
    "not due before the ledger was restored": {
        "rule": rule(delay_s=86_400),
        "events": [event(at=NOON - DAY + MINUTE)],
        "restored_at": NOON,
    },
    "released after the ledger was restored": {"restored_at": NOON, "released_at": NOON},
    "a place approved long after the ledger was restored": {
        "restored_at": NOON - DAY,
        "enrolment": course_member(created_at=NOON - 3 * DAY),
        "events": [WELCOME],
    },
    "released, old, and one of many": {
        "rule": SMALL_FLOOD,
        "events": [event(at=NOON - 99 * DAY)],
        "due_at": NOON - 99 * DAY,
        "planned_nearby": 9_999,
        "released_at": NOON,
    },
    "released although it happened before sending began": {
        "sending_started_at": NOON + DAY,
        "released_at": NOON,
    },
    "no address, where none is needed": {"needs": PersonNeeds(), "person": person(email=None)},
    "no to all, where that is not asked": {
        "needs": PersonNeeds(address=True),
        "choices": {"all": False, "service": False},
    },
    "no word on reminders, where that is not asked": {"needs": PersonNeeds(), "rule": REMINDER},
    "snoozed, where that is not asked": {"needs": PersonNeeds(), "is_snoozed": True},
    "one email today": {"sent_at": [NOON - HOUR]},
    "two emails yesterday": {"sent_at": [NOON - DAY] * 2},
    "three emails this week": {"sent_at": THREE_THIS_WEEK},
    "fewer than the brake allows": {"rule": BRAKED, "forecast_per_day": 3, "sent_today": 5},
    "five that are always allowed": {"rule": BRAKED, "forecast_per_day": 0, "sent_today": 4},
    "a brake without a forecast": {"rule": BRAKED, "sent_today": 999},
    "a forecast without a brake": {"forecast_per_day": 3, "sent_today": 999},
    "released beyond the forecast": {
        "rule": BRAKED,
        "forecast_per_day": 3,
        "sent_today": 999,
        "released_at": NOON,
    },
    "no cap": {"rule": rule(timing=ANY_TIME), "sent_at": [NOON] * 99},
    "a welcome goes beyond the week's cap": {"events": [WELCOME], "sent_at": FOUR_THIS_WEEK},
    "the end of a course goes beyond it too": {"events": [FINISH], "sent_at": FOUR_THIS_WEEK},
}


@pytest.mark.parametrize("different", NO_OBJECTIONS.values(), ids=NO_OBJECTIONS.keys())
def test_the_action_may_be_performed(different: dict[str, Any]) -> None:
    assert check_send(send_context(**different)) is None


OBJECTIONS: dict[str, tuple[dict[str, Any], Outcome]] = {
    "the rule is no more": ({"rule": None}, Outcome.skipped(Reason.KIND_OFF)),
    "the rule is off": ({"rule": rule(enabled=False)}, Outcome.skipped(Reason.KIND_OFF)),
    "the enrolment is gone": ({"enrolment": None}, Outcome.skipped(Reason.RECORD_GONE)),
    "the course is gone": ({"course": None}, Outcome.skipped(Reason.RECORD_GONE)),
    "the person was never seen": ({"person": None}, Outcome.skipped(Reason.RECORD_GONE)),
    "the person is gone": ({"person": person(gone_at=NOON)}, Outcome.skipped(Reason.RECORD_GONE)),
    "no event holds any more": ({"events": []}, Outcome.skipped(Reason.RECORD_GONE)),
    "blocked": ({"enrolment": course_member(blocked=True)}, Outcome.skipped(Reason.BLOCKED)),
    "a blocked request": (
        {"enrolment": course_member(blocked=True, approved=False), "events": [REQUEST]},
        Outcome.skipped(Reason.BLOCKED),
    ),
    "not approved": (
        {"enrolment": course_member(approved=False)},
        Outcome.skipped(Reason.NOT_APPROVED),
    ),
    "course inactive": ({"course": course(active=False)}, Outcome.skipped(Reason.COURSE_INACTIVE)),
    "member inactive": ({"person": person(active=False)}, Outcome.skipped(Reason.MEMBER_INACTIVE)),
    "no email": ({"person": person(email=None)}, Outcome.skipped(Reason.NO_EMAIL)),
    "an address that bounced": (
        {"suppressed_on": date(2026, 11, 2)},
        Outcome.skipped(Reason.BOUNCED_BEFORE, "since 2026-11-02"),
    ),
    "no to all": ({"choices": {"all": False}}, Outcome.skipped(Reason.OPTED_OUT_ALL)),
    "no to all, though yes to this": (
        {"choices": {"all": False, "service": True}},
        Outcome.skipped(Reason.OPTED_OUT_ALL),
    ),
    "no to this kind": ({"choices": {"service": False}}, Outcome.skipped(Reason.OPTED_OUT_KIND)),
    "no to reminders": (
        {"rule": REMINDER, "choices": {"reminder": False}},
        Outcome.skipped(Reason.OPTED_OUT_KIND),
    ),
    "no word on reminders": (
        {"rule": REMINDER, "choices": {"all": True, "service": True}},
        Outcome.skipped(Reason.NO_CONSENT),
    ),
    "snoozed": ({"is_snoozed": True}, Outcome.skipped(Reason.SNOOZED)),
    "no to all, on a day": (
        {"choices": {"all": False}, "chosen_on": {"all": NOON.date(), "service": date(2020, 1, 1)}},
        Outcome.skipped(Reason.OPTED_OUT_ALL, f"since {NOON:%Y-%m-%d}"),
    ),
    "snoozed, on a day": (
        {"is_snoozed": True, "chosen_on": {"snooze": NOON.date()}},
        Outcome.skipped(Reason.SNOOZED, f"since {NOON:%Y-%m-%d}"),
    ),
    "before sending began": (
        {"sending_started_at": NOON + MINUTE},
        Outcome.skipped(Reason.BEFORE_START),
    ),
    "sending has not begun": ({"mode": Mode.OBSERVE}, Outcome.held(Reason.OBSERVE)),
    "old when it was found": (
        {"events": [event(at=NOON - 48 * HOUR - MINUTE)]},
        Outcome.held(Reason.TOO_OLD),
    ),
    "due too long ago": ({"due_at": NOON - 48 * HOUR - MINUTE}, Outcome.held(Reason.TOO_OLD)),
    "old beyond its own delay": (
        {"rule": rule(delay_s=86_400), "events": [event(at=NOON - 73 * HOUR)]},
        Outcome.held(Reason.TOO_OLD),
    ),
    "a flood": ({"rule": SMALL_FLOOD, "planned_nearby": 4}, Outcome.held(Reason.FLOOD_GUARD)),
    "as many as the brake allows": (
        {"rule": BRAKED, "forecast_per_day": 3, "sent_today": 6},
        Outcome.held(Reason.OVER_FORECAST),
    ),
    "beyond the five that are always allowed": (
        {"rule": BRAKED, "forecast_per_day": 0, "sent_today": 5},
        Outcome.held(Reason.OVER_FORECAST),
    ),
    "asked for, beyond the forecast": (
        {"rule": BRAKED, "forecast_per_day": 3, "sent_today": 6, "asked": True},
        Outcome.held(Reason.OVER_FORECAST),
    ),
    "still gathering": (
        {"rule": gathering_rule(), "events": [event(at=NOON - MINUTE)]},
        Outcome.waiting(NOON + 29 * MINUTE, Reason.GATHERING),
    ),
    "night": (
        {"now": NIGHT, "events": [event(at=NIGHT)]},
        Outcome.waiting(MORNING, Reason.QUIET_HOURS),
    ),
    "two emails today": (
        {"sent_at": [NOON - HOUR, NOON - 2 * HOUR]},
        Outcome.waiting(MORNING, Reason.CAP_DAY),
    ),
    "a welcome after two emails today": (
        {"events": [WELCOME], "sent_at": [NOON - HOUR] * 2},
        Outcome.waiting(MORNING, Reason.CAP_DAY),
    ),
    "four emails this week": (
        {"sent_at": FOUR_THIS_WEEK},
        Outcome.waiting(NOON + 3 * DAY, Reason.CAP_WEEK),
    ),
    "happened before the ledger was restored": (
        {"restored_at": NOON},
        Outcome.held(Reason.RESTORED),
    ),
    "one of its lessons happened before the ledger was restored": (
        {"restored_at": NOON, "events": [event(), event(at=NOON + MINUTE, lesson_id=2)]},
        Outcome.held(Reason.RESTORED),
    ),
    "could have been gathered by other rules before the ledger was restored": (
        {"restored_at": NOON, "rule": gathering_rule(), "now": NOON + HOUR},
        Outcome.held(Reason.RESTORED),
    ),
    "was due before the ledger was restored, late as its rule is": (
        {
            "rule": rule(delay_s=86_400),
            "events": [event(at=NOON - DAY)],
            "restored_at": NOON,
        },
        Outcome.held(Reason.RESTORED),
    ),
    "a place that may have been approved before the ledger was restored": (
        {
            "restored_at": NOON - MINUTE,
            "enrolment": course_member(created_at=NOON - HOUR),
            "events": [WELCOME],
        },
        Outcome.held(Reason.RESTORED),
    ),
    "released, and waited for too long again": (
        {"released_at": NOON - 49 * HOUR, "due_at": NOON - 49 * HOUR},
        Outcome.held(Reason.TOO_OLD),
    ),
    "released in observe mode": (
        {"released_at": NOON, "mode": Mode.OBSERVE},
        Outcome.held(Reason.OBSERVE),
    ),
    "a request after four this week": (
        {"events": [REQUEST], "sent_at": FOUR_THIS_WEEK},
        Outcome.waiting(NOON + 3 * DAY, Reason.CAP_WEEK),
    ),
}


@pytest.mark.parametrize(("different", "outcome"), OBJECTIONS.values(), ids=list(OBJECTIONS.keys()))
def test_the_action_may_not_be_performed(different: dict[str, Any], outcome: Outcome) -> None:
    assert check_send(send_context(**different)) == outcome


def test_gathered_lessons_of_the_night_wait_for_the_morning() -> None:
    late = [event(at=NIGHT - 40 * MINUTE)]
    waits = check_send(send_context(rule=gathering_rule(), events=late, now=NIGHT))
    assert waits == Outcome.waiting(MORNING, Reason.QUIET_HOURS)


def test_an_email_of_the_evening_is_ready_before_quiet_hours() -> None:
    by, events = gathering_rule(), [event(at=NOON + 7 * HOUR + 50 * MINUTE)]
    last_minute = NOON + 7 * HOUR + 59 * MINUTE
    early = check_send(send_context(rule=by, events=events, now=last_minute - MINUTE))
    assert early == Outcome.waiting(last_minute, Reason.GATHERING)
    assert check_send(send_context(rule=by, events=events, now=last_minute)) is None


_REMINDING = gathering_rule(stream=Stream.REMINDER, timing=Timing(spread_s=None, brake=Decimal(2)))
_ALL_WRONG: dict[str, Any] = {
    "rule": gathering_rule(stream=Stream.REMINDER, enabled=False),
    "events": [],
    "enrolment": course_member(blocked=True, approved=False),
    "course": course(active=False),
    "person": person(active=False, email=None),
    "choices": {"all": False, "reminder": False},
    "is_snoozed": True,
    "sending_started_at": NOON + 99 * DAY,
    "restored_at": NIGHT,
    "mode": Mode.OBSERVE,
    "suppressed_on": date(2026, 11, 2),
    "is_paused": True,
    "due_at": NOON - 99 * DAY,
    "planned_nearby": 9_999,
    "now": NIGHT,
    "sent_at": [MORNING - MINUTE] * 4,
    "forecast_per_day": 3,
    "sent_today": 6,
}
# Each reason in its turn, and what puts right what it objects to.
_IN_ORDER: list[tuple[Reason, dict[str, Any]]] = [
    (Reason.KIND_OFF, {"rule": _REMINDING}),
    (Reason.RECORD_GONE, {"events": [event(at=NIGHT)]}),
    (Reason.BLOCKED, {"enrolment": course_member(approved=False)}),
    (Reason.NOT_APPROVED, {"enrolment": course_member()}),
    (Reason.COURSE_INACTIVE, {"course": course()}),
    (Reason.MEMBER_INACTIVE, {"person": person(email=None)}),
    (Reason.NO_EMAIL, {"person": person()}),
    (Reason.BOUNCED_BEFORE, {"suppressed_on": None}),
    (Reason.OPTED_OUT_ALL, {"choices": {"reminder": False}}),
    (Reason.OPTED_OUT_KIND, {"choices": {}}),
    (Reason.NO_CONSENT, {"choices": {"reminder": True}}),
    (Reason.SNOOZED, {"is_snoozed": False}),
    (Reason.BEFORE_START, {"sending_started_at": NOON}),
    (Reason.OBSERVE, {"mode": Mode.SENDING}),
    (Reason.PAUSED, {"is_paused": False}),
    (Reason.RESTORED, {"restored_at": None}),
    (Reason.TOO_OLD, {"due_at": NIGHT}),
    (Reason.FLOOD_GUARD, {"planned_nearby": 1}),
    (Reason.GATHERING, {"events": [event(at=NIGHT - HOUR)]}),
    (Reason.QUIET_HOURS, {"now": MORNING}),
    (Reason.CAP_DAY, {"sent_at": FOUR_THIS_WEEK}),
    (Reason.CAP_WEEK, {"sent_at": []}),
    (Reason.OVER_FORECAST, {"sent_today": 5}),
]


def test_permanent_obstacles_come_before_holds_and_holds_before_waits_and_the_brake_is_last() -> (
    None
):
    state = dict(_ALL_WRONG)
    states = []
    for reason, fix in _IN_ORDER:
        outcome = check_send(send_context(**state))
        assert outcome is not None
        assert outcome.reason is reason
        states.append(outcome.state)
        state |= fix
    assert check_send(send_context(**state)) is None
    ordered = [ActionState.SKIPPED, ActionState.HELD, ActionState.WAITING]
    assert states[:-1] == sorted(states[:-1], key=ordered.index)
    assert states[-1] is ActionState.HELD


def test_an_action_about_a_block_is_for_members_who_still_are_blocked() -> None:
    about = {"events": [event(EventKind.ENROLMENT_BLOCKED, lesson_id=None)]}
    assert check_send(send_context(enrolment=course_member(blocked=True), **about)) is None
    let_in = check_send(send_context(**about))
    assert let_in == Outcome.skipped(Reason.CHANGED_MEANWHILE)


COUNTING = rule(
    stream=Stream.REMINDER, timing=Timing(spread_s=None, count_nexudus=True, reminders_per_week=2)
)
ABSENT = event(EventKind.STALLED, lesson_id=None)
COUNTED: dict[str, Any] = {"rule": COUNTING, "choices": {"reminder": True}}


def message(at: datetime, *, reminder: bool = False) -> Message:
    """Build what Nexudus itself sent to the usual person."""
    return Message(1, at, at, COWORKER_ID, reminder_id="3b0c" if reminder else None)


REMINDED = message(NOON - DAY, reminder=True)
COUNTED_CASES: dict[str, tuple[dict[str, Any], Outcome | None]] = {
    "nothing was sent": ({"messages": []}, None),
    "it was not read": ({"messages": None}, None),
    "one message today": ({"messages": [message(NOON - HOUR)]}, None),
    "two messages today": (
        {"messages": [message(NOON - HOUR), message(NOON - 2 * HOUR)]},
        Outcome.waiting(MORNING, Reason.CAP_DAY, "counting what Nexudus itself sent"),
    ),
    "one of ours and one message today": (
        {"messages": [message(NOON - HOUR)], "sent_at": [NOON - HOUR]},
        Outcome.waiting(MORNING, Reason.CAP_DAY, "counting what Nexudus itself sent"),
    ),
    "two of ours today, whatever Nexudus sent": (
        {"messages": [REMINDED], "events": [ABSENT], "sent_at": [NOON - HOUR] * 2},
        Outcome.waiting(MORNING, Reason.CAP_DAY),
    ),
    "three of ours and one message this week": (
        {"messages": [message(NOON - DAY)], "sent_at": THREE_THIS_WEEK},
        Outcome.waiting(NOON + 3 * DAY, Reason.CAP_WEEK, "counting what Nexudus itself sent"),
    ),
    "three of ours this week and one message before": (
        {"messages": [message(NOON - 7 * DAY)], "sent_at": THREE_THIS_WEEK},
        None,
    ),
    "two reminders of Nexudus": (
        {"messages": [REMINDED, message(NOON - 2 * DAY, reminder=True)]},
        Outcome.waiting(NOON + 5 * DAY, Reason.CAP_WEEK, "counting what Nexudus itself sent"),
    ),
    "a reminder of each": (
        {"messages": [REMINDED], "reminders": [SentReminder(NOON - 3 * DAY, 5)]},
        Outcome.waiting(NOON + 4 * DAY, Reason.CAP_WEEK, "counting what Nexudus itself sent"),
    ),
    "a reminder of ours and a message that is none": (
        {"messages": [message(NOON - DAY)], "reminders": [SentReminder(NOON - 3 * DAY, 5)]},
        None,
    ),
    "a message ahead of our clock": (
        {"messages": [message(NOON + 9 * DAY)], "sent_at": [NOON - HOUR]},
        Outcome.waiting(MORNING, Reason.CAP_DAY, "counting what Nexudus itself sent"),
    ),
    "an absence after a reminder of Nexudus": (
        {"messages": [REMINDED], "events": [ABSENT]},
        Outcome.skipped(Reason.NEXUDUS_REMINDED),
    ),
    "an absence after that and more than enough messages": (
        {"messages": [REMINDED, *[message(NOON)] * 9], "events": [ABSENT]},
        Outcome.skipped(Reason.NEXUDUS_REMINDED),
    ),
    "an absence seven days after a reminder of Nexudus": (
        {"messages": [message(NOON - 7 * DAY, reminder=True)], "events": [ABSENT]},
        None,
    ),
    "an absence after another message": (
        {"messages": [message(NOON - DAY)], "events": [ABSENT]},
        None,
    ),
    "an absence, and the rule does not count Nexudus": (
        {
            "messages": [REMINDED, *[message(NOON)] * 9],
            "events": [ABSENT],
            "rule": rule(stream=Stream.REMINDER),
        },
        None,
    ),
    "no reminder": (
        {
            "messages": [REMINDED, *[message(NOON)] * 9],
            "rule": rule(timing=Timing(count_nexudus=True)),
        },
        None,
    ),
}


@pytest.mark.parametrize(
    ("different", "outcome"), COUNTED_CASES.values(), ids=list(COUNTED_CASES.keys())
)
def test_what_nexudus_itself_sent_counts_for_reminders(
    different: dict[str, Any], outcome: Outcome | None
) -> None:
    assert check_send(send_context(**COUNTED | different)) == outcome


def test_messages_are_needed_once_for_reminders_that_count_them() -> None:
    assert needs_messages(send_context(**COUNTED))
    assert not needs_messages(send_context(**COUNTED, messages=[]))
    assert not needs_messages(send_context(rule=REMINDER))
    assert not needs_messages(send_context(rule=rule(timing=Timing(count_nexudus=True))))
    assert not needs_messages(send_context(rule=None))


EVENING_IN_TOKYO = NOON - 70 * MINUTE  # 19:50; in London it is 10:50
TOKYO = ZoneInfo("Asia/Tokyo")


def test_gathering_quiet_hours_and_days_are_those_where_the_person_is() -> None:
    last_minute = EVENING_IN_TOKYO + 9 * MINUTE
    lesson_of_the_evening = [event(at=EVENING_IN_TOKYO)]
    here: dict[str, Any] = {"zone": TOKYO, "rule": gathering_rule()}
    assert check_send(
        send_context(**here, events=lesson_of_the_evening, now=EVENING_IN_TOKYO)
    ) == Outcome.waiting(last_minute, Reason.GATHERING)
    assert check_send(send_context(zone=TOKYO)) == Outcome.waiting(
        NOON + 11 * HOUR, Reason.QUIET_HOURS
    )
    # Two emails of the same day in London, and of two days in Tokyo.
    awake = rule(timing=Timing(quiet_hours=None, spread_s=None))
    sent_at = [NOON, NOON + 2 * HOUR]
    later = NOON + 6 * HOUR
    assert check_send(send_context(rule=awake, sent_at=sent_at, now=later)) == Outcome.waiting(
        MORNING, Reason.CAP_DAY
    )
    at_night = send_context(rule=awake, sent_at=[NOON, NOON + 4 * HOUR], now=later, zone=TOKYO)
    assert check_send(at_night) is None


@pytest.mark.parametrize("now", [NOON, NIGHT])
def test_every_wait_ends_later_than_now(now: datetime) -> None:
    for different, _ in OBJECTIONS.values():
        outcome = check_send(send_context(**{**different, "now": now}))
        if outcome is not None and outcome.until is not None:
            assert outcome.until > now
