"""Whom a rule writes to: how the file says it, what is planned for each, and what stops it."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from schemas.actions import (
    HOST,
    MEMBER,
    KindForm,
    Mode,
    Outcome,
    Plan,
    audience_of,
    event_key_of,
    resend_key,
    step_of,
)
from schemas.errors import ConfigurationError
from schemas.events import EventKind
from schemas.reasons import Reason
from schemas.rules import Flood, Rule, Rules, Stream, Timing, doubtful_rules, load_rules
from tests.builders.records import NOON, course, course_member, lesson
from tests.builders.rules import event, gathering_rule, rule, rules
from tests.builders.send_context import person, send_context
from workers.actions.registry import kinds_for_rules
from workers.decide.conditions import Subject
from workers.decide.rules import DecisionContext, plans_for
from workers.decide.send_check import check_send, needs_messages

LONDON, SEOUL = ZoneInfo("Europe/London"), ZoneInfo("Asia/Seoul")
DESK, OFFICE = "desk@example.org", "office@example.org"
SUBJECT = Subject(course_member(), course(), lesson(1))
HEAD = "version: 1\nrules:\n  - name: a\n    event: enrolled\n    action: email\n"
RITA = person(coworker_id=88, full_name="Rita Okafor", email="rita@example.org")


def load(text: str) -> Rules:
    return load_rules(text, "rules.yaml", actions={**kinds_for_rules(), "diary": KindForm()})


def to_of(text: str) -> tuple[str, ...]:
    return load(f"{HEAD}    template: notice\n    to: {text}\n").rules[0].to


def mistakes_of(text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(text)
    return caught.value.mistakes


def test_a_rule_is_to_the_member_unless_it_says_otherwise() -> None:
    [quiet] = load(f"{HEAD}    template: welcome\n").rules
    [said] = load(f"{HEAD}    template: welcome\n    to: member\n").rules
    assert quiet.to == said.to == (MEMBER,)
    assert quiet.audiences == (None,)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("host", (HOST,)),
        (DESK, (DESK,)),
        (f"[{OFFICE}, {DESK}]", (OFFICE, DESK)),
        (f"[host, {DESK}]", (HOST, DESK)),
        ("desk@bücher.example", ("desk@xn--bcher-kva.example",)),
        ("désk@example.org", ("désk@example.org",)),  # for mail servers with SMTPUTF8
    ],
)
def test_a_rule_may_be_to_others(text: str, expected: tuple[str, ...]) -> None:
    assert to_of(text) == expected


EXPECTED = "expected member, host or an address such as desk@example.org"


@pytest.mark.parametrize(
    ("line", "mistake"),
    [
        ("to: someone", f"7:9: rules[0].to: {EXPECTED}"),
        ("to: [host, someone]", f"7:16: rules[0].to[1]: {EXPECTED}"),
        ("to: [a@b@c, desk@example.org]", f"7:10: rules[0].to[0]: {EXPECTED}"),
        ("to: Desk <desk@example.org>", f"7:9: rules[0].to: {EXPECTED}"),
        ("to: []", "7:9: rules[0].to: expected one value or a list of values"),
        ("to: [member, host]", "7:9: rules[0].to: expected member alone; "),
    ],
)
def test_a_mistake_in_whom_it_is_to_has_its_place(line: str, mistake: str) -> None:
    [said] = mistakes_of(f"{HEAD}    template: notice\n    {line}\n")
    assert said.startswith(f"rules.yaml:{mistake}")


def test_an_address_is_not_repeated_in_a_mistake_or_in_what_a_rule_prints() -> None:
    said = mistakes_of(f"{HEAD}    template: notice\n    to: [me, ana@example.org>]\n")
    assert "ana" not in " ".join(said)
    [one] = load(f"{HEAD}    template: notice\n    to: ana@example.org\n").rules
    assert "ana" not in repr(one)


def test_others_get_a_notice_and_the_member_gets_none() -> None:
    [said] = mistakes_of(f"{HEAD}    template: welcome\n    to: host\n")
    assert said == (
        "rules.yaml:6:15: rules[0].template: expected notice, the template for others than the"
        " member"
    )
    [said] = mistakes_of(f"{HEAD}    template: notice\n")
    assert said == (
        "rules.yaml:6:15: rules[0].template: notice is for others; say whom with `to`, or expected"
        " not-started or welcome"
    )
    requested = HEAD.replace("enrolled", "enrolment_requested")
    assert load(f"{requested}    template: notice\n    to: host\n").rules
    [said] = mistakes_of(f"{requested}    template: welcome\n")
    assert "expected another event, as no template fits this one" in said


def test_an_action_without_notices_reaches_no_others() -> None:
    hooked = HEAD.replace("action: email", "action: diary")
    assert mistakes_of(f"{hooked}    to: host\n") == [
        "rules.yaml:6:9: rules[0].to: expected member; the action diary reaches no others"
    ]
    assert load(f"{hooked}    to: member\n").rules


def test_two_rules_about_one_event_are_doubtful_if_they_reach_the_same() -> None:
    one = "  - {name: a, event: enrolled, action: email, template: notice, to: [host, a@x.org]}\n"
    other = "  - {name: b, event: enrolled, action: email, template: notice, to: A@X.org}\n"
    apart = "  - {name: c, event: enrolled, action: email, template: welcome}\n"
    [warning] = doubtful_rules(load(f"version: 1\nrules:\n{one}{other}{apart}"))
    assert warning.startswith("rules a and b: both act on enrolled, so the same recipient may get")


def plans(*these: Rule, **known: Any) -> list[Plan]:  # noqa: ANN401 - any field of the context
    kind = these[0].event
    found = plans_for(event(kind), DecisionContext(rules(*these), LONDON, SUBJECT, **known))
    assert isinstance(found, list)
    return found


def test_each_address_has_one_plan_whose_key_stays_when_the_list_is_reordered() -> None:
    keys = {}
    for order in ((DESK, OFFICE), (OFFICE, DESK), (DESK, "Desk@Example.org", OFFICE)):
        found = plans(rule(to=order))
        keys[order] = {one.audience: one.key for one in found}
        assert len(found) == 2
    assert len({tuple(sorted(one.values())) for one in keys.values()}) == 1
    for audience, key in keys[DESK, OFFICE].items():
        assert key == f"congratulate-lesson/lesson_completed:1/to-{audience}"
        assert "example" not in key
        assert event_key_of(key) == event_key_of(resend_key(key)) == "lesson_completed:1"


def test_the_key_of_what_is_to_the_member_is_as_before() -> None:
    [one] = plans(rule())
    assert (one.key, one.audience) == ("congratulate-lesson/lesson_completed:1", None)


def test_a_sequence_has_a_plan_for_each_step_and_recipient() -> None:
    text = HEAD.replace("action", "to: [host, desk@example.org]\n    action")
    [sequence] = load(f"{text}    steps: [0d, 3d]\n    template: notice\n").rules
    found = plans(sequence)
    assert [step_of(one.key) for one in found] == [0, 0, 1, 1]
    assert len({one.key for one in found}) == 4
    assert {event_key_of(one.key) for one in found} == {event(EventKind.ENROLLED).key}


def test_lessons_are_covered_by_the_end_of_the_course_for_each_recipient_alone() -> None:
    both = (rule(), rule(name="other", to=(HOST,)))
    found = plans(*both, announced_at={HOST: NOON})
    assert [one.audience for one in found] == [None]
    found = plans(*both, announced_at={None: NOON})
    assert [one.audience for one in found] == [HOST]
    known = DecisionContext(rules(*both), LONDON, SUBJECT, {None: NOON, HOST: NOON})
    assert plans_for(event(), known) is Reason.SUPERSEDED


def test_gathering_ends_before_the_night_of_the_recipient() -> None:
    late = NOON.replace(hour=10, minute=50)  # 19:50 in Seoul
    by = gathering_rule(to=(HOST, DESK))
    known = DecisionContext(rules(by), LONDON, SUBJECT, zones={None: LONDON, HOST: SEOUL})
    found = plans_for(event(at=late), known)
    assert isinstance(found, list)
    assert [one.due_at - late for one in found] == [timedelta(minutes=9), timedelta(minutes=30)]


NOTICE = rule(to=(HOST, DESK), template="notice")
REMINDER = rule(to=(HOST, DESK), template="notice", stream=Stream.REMINDER)
DESK_AUDIENCE = audience_of(DESK)


def notice(audience: str | None = HOST, **different: Any) -> Outcome | None:  # noqa: ANN401 - any field
    known = {"rule": NOTICE, "audience": audience, "host": RITA} | different
    return check_send(send_context(**known))


MEMBERS_ALONE: dict[str, dict[str, Any]] = {
    "the member has no address": {"person": person(email=None)},
    "the member reached the limit of the day": {"sent_at": [NOON] * 9},
    "reminders need the consent of the member": {"rule": REMINDER},
    "Nexudus wrote to the member": {
        "rule": replace(REMINDER, timing=Timing(count_nexudus=True)),
        "messages": None,
    },
}


@pytest.mark.parametrize("audience", [HOST, DESK_AUDIENCE])
@pytest.mark.parametrize("different", MEMBERS_ALONE.values(), ids=MEMBERS_ALONE.keys())
def test_what_is_about_the_member_as_a_recipient_does_not_stop_a_notice(
    audience: str, different: dict[str, Any]
) -> None:
    assert notice(audience, **different) is None
    assert not needs_messages(send_context(rule=REMINDER, audience=audience))


SKIPPED = {
    "the enrolment is gone": ({"enrolment": None}, Outcome.skipped(Reason.RECORD_GONE)),
    "nothing is left to tell": ({"events": []}, Outcome.skipped(Reason.RECORD_GONE)),
    "the member is blocked": (
        {"enrolment": course_member(blocked=True)},
        Outcome.skipped(Reason.BLOCKED),
    ),
    "the recipient wants no emails": (
        {"choices": {"all": False}},
        Outcome.skipped(Reason.OPTED_OUT_ALL),
    ),
    "observing": ({"mode": Mode.OBSERVE}, Outcome.held(Reason.OBSERVE)),
    "paused": ({"is_paused": True}, Outcome.held(Reason.PAUSED)),
    "too old": ({"due_at": NOON - timedelta(days=3)}, Outcome.held(Reason.TOO_OLD)),
    "a flood": (
        {"rule": replace(NOTICE, timing=Timing(flood=Flood(3, 600))), "planned_nearby": 4},
        Outcome.held(Reason.FLOOD_GUARD),
    ),
}


@pytest.mark.parametrize("audience", [HOST, DESK_AUDIENCE])
@pytest.mark.parametrize(("different", "outcome"), SKIPPED.values(), ids=SKIPPED.keys())
def test_everything_else_stops_a_notice_too(
    audience: str, different: dict[str, Any], outcome: Outcome
) -> None:
    assert notice(audience, **different) == outcome


@pytest.mark.parametrize(
    "host",
    [None, replace(RITA, email=None), replace(RITA, active=False), replace(RITA, gone_at=NOON)],
)
def test_a_host_who_cannot_be_reached_is_skipped(host: object) -> None:
    assert notice(host=host) == Outcome.skipped(Reason.NO_EMAIL)
    assert notice(DESK_AUDIENCE, host=host) is None


@pytest.mark.parametrize("audience", [None, audience_of(OFFICE)])
def test_who_is_no_longer_in_the_file_gets_nothing(audience: str | None) -> None:
    assert notice(audience) == Outcome.skipped(Reason.KIND_OFF)
    assert notice(rule=rule()) == Outcome.skipped(Reason.KIND_OFF)


def test_notices_to_one_recipient_are_spread_by_that_recipient() -> None:
    night = NOON.replace(hour=23)
    spread = replace(NOTICE, timing=Timing())
    waits = [
        notice(audience, rule=spread, now=night, person=person(coworker_id=number))
        for audience in (HOST, DESK_AUDIENCE)
        for number in (1, 2, 3)
    ]
    until = [one.until for one in waits if one is not None]
    assert len(until) == 6
    assert len(set(until[:3])) == len(set(until[3:])) == 1
    assert until[0] != until[3]
