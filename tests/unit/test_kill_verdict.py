"""What `make kills` counts as lost, twice and wrongly unknown."""

from collections import Counter
from dataclasses import replace

import pytest

from schemas.entity import Entity
from tests.endurance.verdict import (
    DOMAIN,
    MOST_AT_DOT,
    Accepted,
    Kept,
    Told,
    judge,
    judge_told,
)
from workers.actions.email.message import message_id
from workers.actions.staff_record import marker_of
from workers.actions.webhook.message import message_id as webhook_id

RECORD = ("CourseMember", 1)
TOLD = Accepted(Entity.COURSE_MEMBER, 1, "event")
EMAIL = message_id("action", DOMAIN)
WELL = Kept(Counter([RECORD]), {RECORD: "done"}, {"event": "action"}, {"action": "done"}, 0)


def test_a_notification_that_was_stored_looked_up_and_sent_once_is_no_fault() -> None:
    verdict = judge([TOLD], WELL, [EMAIL], [])
    assert verdict.faults == []
    assert (verdict.answered, verdict.sent, verdict.unknown) == (1, 1, 0)


@pytest.mark.parametrize(
    ("kept", "taken", "fault"),
    [
        (replace(WELL, notifications=Counter()), [EMAIL], "1 notifications answered, 0 kept"),
        (replace(WELL, lookups={}), [EMAIL], "its lookup is missing"),
        (replace(WELL, lookups={RECORD: "waiting"}), [EMAIL], "its lookup is waiting"),
        (replace(WELL, lookups={RECORD: "failed"}), [EMAIL], "its lookup is failed"),
        (replace(WELL, planned={}), [EMAIL], "no email was planned about event"),
        (replace(WELL, actions={"action": "waiting"}), [], "the email of action is waiting"),
        (WELL, [], "the mail server never got the email of action"),
    ],
)
def test_unfinished_work_counts_as_lost(kept: Kept, taken: list[str], fault: str) -> None:
    [lost] = judge([TOLD], kept, taken, []).lost
    assert lost.startswith("lost: ")
    assert fault in lost


def test_an_email_received_completely_more_than_once_counts_as_twice() -> None:
    verdict = judge([TOLD], WELL, [EMAIL, EMAIL], [])
    assert verdict.twice == ["twice: the email of action came 2 times"]
    assert verdict.faults == verdict.twice


def test_an_email_is_unknown_only_if_its_final_dot_was_reached() -> None:
    unknown = replace(WELL, actions={"action": "unknown"})
    assert judge([TOLD], unknown, [EMAIL], []).faults == []
    assert judge([TOLD], unknown, [], []).faults == [
        "unknown: the email of action never came to its end"
    ]


def test_few_emails_may_be_cut_off_between_the_mark_and_the_final_dot() -> None:
    keys = [f"action {number}" for number in range(MOST_AT_DOT + 1)]
    undotted = [message_id(key, DOMAIN) for key in keys]
    few = replace(WELL, actions=dict.fromkeys(keys[1:], "unknown"))
    assert judge([], few, [], undotted).faults == []
    assert "(2 at the final dot, 0 before it)" in judge([], few, [], undotted).line
    many = replace(WELL, actions=dict.fromkeys(keys, "unknown"))
    assert len(judge([], many, [], undotted).faults) == len(keys)


KEYS = {"a": ("webhook", "done"), "b": ("nexudus-note", "done")}
ALL_TOLD = Told(KEYS, [webhook_id("a"), webhook_id("a")], [f"x [{marker_of('b')}]"])


def test_a_message_may_come_again_with_its_id_and_a_note_may_not() -> None:
    assert judge_told(ALL_TOLD).faults == []
    assert judge_told(ALL_TOLD).repeated == 1
    twice = replace(ALL_TOLD, notes=[*ALL_TOLD.notes, *ALL_TOLD.notes])
    assert judge_told(twice).faults == ["note: b is done, written 2 times"]


@pytest.mark.parametrize(
    ("told", "fault"),
    [
        (replace(ALL_TOLD, posts=[]), "lost: a is done and came 0 times"),
        (replace(ALL_TOLD, posts=["msg_1", *ALL_TOLD.posts]), "posted: msg_1 is the id of no"),
        (replace(ALL_TOLD, actions=KEYS | {"a": ("webhook", "unknown")}), "lost: a is unknown"),
        (replace(ALL_TOLD, notes=[]), "note: b is done, written 0 times"),
    ],
)
def test_what_was_not_told_or_is_of_no_action_is_a_fault(told: Told, fault: str) -> None:
    [found] = judge_told(told).faults
    assert found.startswith(fault)
