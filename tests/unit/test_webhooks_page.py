"""The page about webhooks is right: its files load, its example is what is posted, its types."""

import json
import re
from textwrap import dedent

from schemas.actions import RECORD, STAFF
from schemas.endpoints import Endpoint, Personal, load_endpoints
from schemas.events import ABOUT_GONE, EventKind
from schemas.rules import load_rules
from tests.builders.records import NOON, course, course_member, lesson
from tests.builders.rules import event
from tests.builders.send_context import person
from tests.house.source_tree import ROOT, table_rows
from workers.actions.base import ActionContext
from workers.actions.registry import kinds_for_rules
from workers.actions.webhook.message import TYPES, event_of, message_id
from workers.decide.completion import progress

PAGE = (ROOT / "docs" / "webhooks.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^ *```(\w+)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
BLOCKS = [(language, dedent(text)) for language, text in BLOCK.findall(PAGE)]


def test_the_files_on_the_page_load_and_fit_each_other() -> None:
    endpoints, rules, staff = (text for language, text in BLOCKS if language == "yaml")
    named = {one.name for one in load_endpoints(endpoints, "endpoints.yaml")}
    loaded = load_rules(rules, "rules.yaml", actions=kinds_for_rules(), endpoints=named)
    assert {to for rule in loaded.rules for to in rule.audiences} == {
        f"endpoint:{name}" for name in named
    }
    for_staff = load_rules(staff, "rules.yaml", actions=kinds_for_rules())
    assert [rule.audiences for rule in for_staff.rules] == [(RECORD,), (STAFF,)]


def test_the_example_on_the_page_is_what_is_posted() -> None:
    [example] = (json.loads(text) for language, text in BLOCKS if language == "json")
    lessons = tuple(lesson(number) for number in (1, 2, 3))
    context = ActionContext(
        action_key="tell-crm/lesson:1",
        template=None,
        events=(event(),),
        enrolment=course_member(),
        course=course(),
        person=person(coworker_id=77, full_name="Ana López", email="ana@people.example"),
        lessons=lessons,
        progress=progress(list(lessons), {1}, frozenset(one.completion_type for one in lessons)),
        first_lesson=lessons[0],
        started_at=NOON,
        now=NOON,
    )
    all_of_it = Endpoint("crm", "https://crm.example", include=frozenset(Personal))
    assert event_of(context, all_of_it) == example
    member = event_of(context, Endpoint("crm", "https://crm.example"))["data"]["member"]
    assert member == {"id": 77}


def test_the_page_has_the_type_of_every_event_that_a_rule_may_be_about() -> None:
    rows = {row[0].strip("`"): row[1].strip("`") for row in table_rows("webhooks.md")}
    assert TYPES.keys() == frozenset(EventKind) - ABOUT_GONE
    assert {kind: rows.get(kind) for kind in TYPES} == TYPES


def test_the_id_of_a_message_follows_from_its_action_alone() -> None:
    assert message_id("a/b") == message_id("a/b") != message_id("a/b/resend-1")
    assert re.fullmatch(r"msg_[0-9a-f]{32}", message_id("a/b"))
