"""Webhook health without a source: which are ours, what was missed, how one is switched on."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ledger.hooks import Alarm, KnownHook, SilenceCause, alarm_sentence
from schemas.entity import FOLLOWED, Entity
from schemas.errors import SourceRefused, SourceThrottled, SourceUnavailable
from schemas.records import WebHook
from workers.source.answers import Missing
from workers.source.webhooks import (
    NewHook,
    SwitchOutcome,
    address_for,
    calls_us,
    create_webhook,
    entities_of,
    is_for_us,
    switch_on,
    webhook_actions,
)
from workers.sync.webhook_state import (
    MARGIN,
    SHOWN_FOR,
    is_settled,
    request_missed,
    seen,
    with_alarm,
)

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
BEFORE = NOW - timedelta(minutes=10)
PUBLIC = "https://bell.example.org/x"
OURS = f"{PUBLIC}/hooks/nexudus/course-members"
HOOK = WebHook(
    7,
    BEFORE - timedelta(days=9),
    1,
    "Courses",
    91,
    OURS,
    active=True,
    error_count=0,
    last_error=None,
    last_trigger_at=None,
)
WHOLE: dict[str, Any] = {
    "Id": 7,
    "BusinessId": 1,
    "Name": "Courses",
    "Action": 91,
    "Description": "Kept",
    "URL": OURS,
    "Active": False,
    "ErrorCount": 10,
    "NewerField": [1.50],
}


def off(**fields: Any) -> WebHook:  # noqa: ANN401 - any field
    return replace(HOOK, active=False, **fields)


def missed(known: KnownHook | None, hook: WebHook) -> datetime:
    alarm = seen(known, hook, NOW).alarm
    assert alarm is not None
    return alarm.missed_from


@pytest.mark.parametrize(
    ("url", "calls", "is_ours"),
    [
        (OURS, True, True),
        ("https://BELL.example.org:443/x/hooks/nexudus?resource=CourseMember", True, True),
        ("https://bell.example.org/hooks/nexudus", True, False),
        ("https://bell.example.org/x/hooksnexudus", True, False),
        ("http://bell.example.org/x/hooks/nexudus", False, False),
        ("https://bell.example.org:8443/x/hooks/nexudus", False, False),
        ("https://bell.example.org.evil.example/x/hooks/nexudus", False, False),
        ("https://[broken/x/hooks/nexudus", False, False),
        (None, False, False),
        ("", False, False),
    ],
)
def test_a_webhook_is_ours_by_its_origin_and_written_to_by_its_path(
    url: str | None,
    calls: bool,  # noqa: FBT001 - a column of the table above
    is_ours: bool,  # noqa: FBT001 - same
) -> None:
    assert calls_us(url, PUBLIC) is calls
    assert is_for_us(url, PUBLIC) is is_ours


@pytest.mark.parametrize(
    ("url", "entities"),
    [
        (OURS, (Entity.COURSE_MEMBER,)),
        (OURS + "/?key=1", (Entity.COURSE_MEMBER,)),
        (f"{PUBLIC}/hooks/nexudus/course-completed-lessons", (Entity.COMPLETED_LESSON,)),
        (f"{PUBLIC}/hooks/nexudus?a=1&resource=coursecompletedlessons", (Entity.COMPLETED_LESSON,)),
        (f"{PUBLIC}/hooks/nexudus?resource=HelpDeskMessage", FOLLOWED),
        (f"{PUBLIC}/hooks/nexudus", FOLLOWED),
        ("https://[broken", FOLLOWED),
        (None, FOLLOWED),
    ],
)
def test_an_address_names_the_kinds_it_reports(
    url: str | None, entities: tuple[Entity, ...]
) -> None:
    assert entities_of(url) == entities


def test_missed_changes_begin_at_the_last_call_or_the_last_healthy_check_before_it() -> None:
    call = BEFORE - timedelta(hours=3)
    # Never seen before: the last call, else the last edit, is all there is to go by.
    assert missed(None, off(last_trigger_at=call)) == call
    assert missed(None, off()) == HOOK.updated_at
    well = seen(None, HOOK, BEFORE)
    assert missed(well, off()) == BEFORE
    # The tenth failure is itself a call: what failed before it was missed too.
    assert missed(well, off(last_trigger_at=NOW)) == BEFORE
    failing = seen(well, replace(HOOK, error_count=4), NOW - timedelta(minutes=5))
    assert missed(failing, off(last_trigger_at=NOW)) == BEFORE
    # Without a time when all was well it is when it was last seen on.
    never_well = seen(None, replace(HOOK, error_count=4), BEFORE)
    assert missed(never_well, off()) == BEFORE
    assert missed(never_well, off(last_trigger_at=call)) == call


def test_an_alarm_is_raised_once_and_its_window_never_moves() -> None:
    first = seen(None, off(last_trigger_at=BEFORE), BEFORE)
    later = seen(first, off(last_trigger_at=NOW), NOW)
    assert later.alarm == first.alarm
    gone = with_alarm(later, SilenceCause.GONE, NOW, NOW)
    assert gone.alarm is not None
    assert first.alarm is not None
    assert gone.alarm == replace(first.alarm, silence=SilenceCause.GONE)


def test_a_gone_webhook_is_shown_for_a_week_or_until_it_has_a_successor() -> None:
    known = with_alarm(seen(None, HOOK, BEFORE), SilenceCause.GONE, NOW, NOW)
    assert not is_settled(known, [known], NOW + SHOWN_FOR)  # missed changes were not requested yet
    covered, _, _ = request_missed(known, lambda *_: 2, NOW)
    assert not is_settled(covered, [covered], NOW)
    assert is_settled(covered, [covered], NOW + SHOWN_FOR)
    successor = seen(None, replace(HOOK, record_id=8), NOW)
    assert is_settled(covered, [covered, successor], NOW)
    assert not is_settled(covered, [replace(successor, entities=FOLLOWED)], NOW)
    off_again = seen(None, off(), NOW)
    assert not is_settled(off_again, [successor], NOW + SHOWN_FOR)


def test_requested_changes_are_not_requested_again() -> None:
    asked: list[tuple[datetime, datetime]] = []

    def backfill(since: datetime, until: datetime, _: tuple[Entity, ...]) -> int:
        asked.append((since, until))
        return 2

    known = seen(None, off(last_trigger_at=BEFORE), BEFORE)
    once, _, _ = request_missed(known, backfill, NOW)
    twice, asked_for, trouble = request_missed(once, backfill, NOW + timedelta(hours=1))
    assert asked == [
        (BEFORE - MARGIN, NOW + MARGIN),
        (NOW - MARGIN, NOW + timedelta(hours=1) + MARGIN),
    ]
    assert (asked_for, trouble) == (2, None)
    assert twice.alarm is not None
    assert twice.alarm.asked_for == 4
    assert request_missed(replace(known, alarm=None), backfill, NOW)[0].alarm is None
    assert len(asked) == 2


@pytest.mark.parametrize("silence", list(SilenceCause))
def test_every_alarm_has_its_sentence(silence: SilenceCause) -> None:
    known = with_alarm(seen(None, HOOK, NOW), silence, NOW, NOW)
    assert alarm_sentence(seen(None, HOOK, NOW)) is None
    assert "not been requested yet" in (alarm_sentence(known) or "")
    assert "on again" in (alarm_sentence(replace(known, active=True)) or "")
    left = replace(known, alarm=Alarm(silence, NOW, NOW, NOW, 3, "why"))
    assert (alarm_sentence(left) or "").endswith("3 records; not switched on: why")


@dataclass
class Paper:
    """A source with one webhook, as `ApiSession` has it; `fails` is raised by the next write."""

    hook: dict[str, Any] | None
    fails: Exception | None = None
    does: bool = True
    sent: list[tuple[str, str, object]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    answers: object = None

    def get_json(self, path: str, query: Mapping[str, str]) -> object | Missing:
        self.asked.append(path)
        assert not query or self.answers is not None
        if self.answers is not None:
            return self.answers
        return Missing(certain=True) if self.hook is None else dict(self.hook)

    def send(self, method: str, path: str, value: object) -> object:
        self.sent.append((method, path, value))
        if self.does and self.hook is not None:
            assert isinstance(value, dict)
            self.hook = {**value, "UpdatedOn": "later"}
        if self.fails is not None:
            raise self.fails
        return {"Id": 7}


def try_it(paper: Paper, noted: list[str] | None = None) -> SwitchOutcome:
    notes = [] if noted is None else noted
    return switch_on(paper, 7, PUBLIC, lambda: notes.append("before")).outcome


def test_the_whole_record_is_sent_back_with_one_field_changed() -> None:
    paper, noted = Paper(WHOLE), list[str]()
    assert try_it(paper, noted) is SwitchOutcome.ON
    assert paper.sent == [("PUT", "sys/webhooks", {**WHOLE, "Active": True})]
    assert noted == ["before"]
    assert paper.asked == ["sys/webhooks/7"] * 2


@pytest.mark.parametrize(
    ("hook", "came"),
    [
        ({**WHOLE, "Active": True}, SwitchOutcome.ALREADY),
        ({**WHOLE, "URL": "https://bell.example.org/desk"}, SwitchOutcome.NOT_OURS),
        ({**WHOLE, "URL": None}, SwitchOutcome.NOT_OURS),
        (None, SwitchOutcome.NOT_THERE),
    ],
)
def test_a_webhook_that_needs_no_change_is_not_written_to(
    hook: dict[str, Any] | None, came: SwitchOutcome
) -> None:
    paper, noted = Paper(hook), list[str]()
    assert try_it(paper, noted) is came
    assert paper.sent == []
    assert noted == []


@pytest.mark.parametrize("missing", ["BusinessId", "Name", "Action", "Description", "Active"])
def test_a_record_without_one_of_its_fields_is_not_sent_back(missing: str) -> None:
    paper = Paper({name: value for name, value in WHOLE.items() if name != missing})
    noted: list[str] = []
    with pytest.raises(SourceRefused, match=missing):
        try_it(paper, noted)
    assert (paper.sent, noted) == ([], [])


def test_a_record_other_than_the_requested_one_is_not_sent_back() -> None:
    paper = Paper({**WHOLE, "Id": 8})
    with pytest.raises(SourceRefused):
        try_it(paper)
    assert paper.sent == []


def test_after_no_answer_the_webhook_is_read_and_never_written_again() -> None:
    lost = SourceUnavailable("no answer")
    done = Paper(WHOLE, fails=lost)
    assert try_it(done) is SwitchOutcome.ON
    not_done = Paper(WHOLE, fails=lost, does=False)
    with pytest.raises(SourceUnavailable, match="no answer"):
        try_it(not_done)
    assert len(done.sent) == len(not_done.sent) == 1


@pytest.mark.parametrize("error", [SourceRefused("no"), SourceThrottled("later")])
def test_a_refusal_is_passed_on(error: Exception) -> None:
    with pytest.raises(type(error)):
        try_it(Paper(WHOLE, fails=error, does=False))


def test_a_reported_success_without_effect_is_distinguished() -> None:
    assert try_it(Paper(WHOLE, does=False)) is SwitchOutcome.STILL_OFF


def test_fields_that_the_source_cleared_are_named() -> None:
    class Clearing(Paper):
        def send(self, method: str, path: str, value: object) -> object:
            done = super().send(method, path, value)
            self.hook = {**(self.hook or {}), "Description": None, "UpdatedOn": "later"}
            return done

    done = switch_on(Clearing(WHOLE), 7, PUBLIC, lambda: None)
    assert (done.outcome, list(done.lost)) == (SwitchOutcome.ON, ["Description"])


@pytest.mark.parametrize(
    ("value", "record_id"), [({"Id": 7}, 7), ({"Id": "7"}, None), (None, None), (7, None)]
)
def test_a_new_webhook_may_be_answered_without_its_id(value: object, record_id: int | None) -> None:
    class Answering(Paper):
        def send(self, method: str, path: str, value_: object) -> object:
            super().send(method, path, value_)
            return value

    assert create_webhook(Answering(None), NewHook(1, "Courses", 91, OURS)) == record_id


@pytest.mark.parametrize(
    ("action", "tail"),
    [
        ("CourseMemberCreate", "?resource=CourseMember"),
        ("EnrolmentUpdated", "?resource=CourseMember"),
        ("CourseCompletedLessonCreate", "?resource=CourseCompletedLesson"),
        ("CourseLessonUpdate", ""),  # a lesson's Id is not a completion's
        ("CourseUpdate", ""),
        ("CoworkerUpdate", ""),
    ],
)
def test_an_address_names_a_kind_of_record_only_if_the_action_does(action: str, tail: str) -> None:
    assert address_for(PUBLIC, action) == f"{PUBLIC}/hooks/nexudus{tail}"


def test_unreadable_entries_of_the_list_of_actions_are_skipped() -> None:
    items = [{"Id": 1, "Name": "None"}, {"Id": "2", "Name": "x"}, {"Name": "y"}, 7]
    assert webhook_actions(Paper(None, answers=items)) == {"None": 1}
    with pytest.raises(SourceUnavailable):
        webhook_actions(Paper(None, answers=Missing(certain=False)))
