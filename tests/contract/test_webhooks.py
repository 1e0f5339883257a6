"""What rules post to endpoints: its form, and what follows from each answer."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import select
from standardwebhooks import Webhook
from structlog.testing import capture_logs

from ledger.clock import SYSTEM_CLOCK
from ledger.engine import Engine, reading, writing
from ledger.outages import note_outage, outages_now
from ledger.outbox import begin_action, claim_actions, commit_action
from ledger.pauses import PauseScope, begin_pause
from ledger.tables import actions, copies
from schemas.actions import Mode
from schemas.endpoints import Endpoint, Personal, Shape
from schemas.entity import Entity
from schemas.reasons import Reason
from service.cli.main import commands
from tests.builders.records import course
from tests.contract.desk_rig import Desk
from tests.contract.ledger_rig import BOTH
from tests.contract.study_rig import Space, rules_of
from tests.doubles.endpoint import Posted, ReceivingEndpoint, receiving
from workers.actions.webhook.action import WebhookAction
from workers.actions.webhook.exchange import Exchange, Timeouts
from workers.deliver.claim import sweep
from workers.deliver.context import DeliveryTools
from workers.endpoints import endpoint_needs

pytestmark = pytest.mark.engines("sqlite")  # see conftest.py

NEW, OLD = "whsec_" + "QUJD" * 8, "whsec_" + "WFla" * 8
HERE = (ip_network("127.0.0.0/8"),)
TIMING = "timing: {flood: none, cap_per_day: 1, cap_per_week: none}"
FILE = f"""version: 1
{TIMING}
rules:
  - {{name: tell, event: enrolled, action: webhook, endpoint: [crm, chat]}}
  - {{name: welcome, event: enrolled, action: email, template: welcome, quiet_hours: none}}
"""
LESSONS = f"""version: 1
{TIMING}
rules:
  - {{name: lesson, event: lesson_completed, action: webhook, endpoint: crm, gather: 10m}}
  - {{name: course, event: course_completed, action: webhook, endpoint: crm}}
"""


@dataclass
class PostingSpace(Space):
    """A space whose workers also post to the endpoints `crm` and `chat`, which it serves."""

    crm: ReceivingEndpoint = field(default_factory=ReceivingEndpoint)
    chat: ReceivingEndpoint = field(default_factory=ReceivingEndpoint)
    endpoints: dict[str, Endpoint] = field(default_factory=dict)

    @property
    def delivery(self) -> DeliveryTools:
        tools = super().delivery
        posts = WebhookAction(self.endpoints.values(), Exchange(HERE, Timeouts(5, 5)))
        actions = {**tools.actions, posts.kind: posts}
        return replace(tools, setup=replace(tools.setup, actions=actions))

    def ends(self) -> dict[str, list[tuple[str, str | None]]]:
        """Return state and reason of each action, by whom it is to."""
        found: dict[str, list[tuple[str, str | None]]] = {}
        with reading(self.engine) as connection:
            for row in connection.execute(select(actions).order_by(actions.c.id)):
                found.setdefault(row.audience or "member", []).append((row.state, row.reason))
        return found


@contextmanager
def serving(engine: Engine, rules: str = FILE) -> Iterator[PostingSpace]:
    with ExitStack() as stack:
        space = PostingSpace(engine, rules_of(rules))
        for name in ("crm", "chat"):
            url = stack.enter_context(receiving(getattr(space, name)))
            space.endpoints[name] = Endpoint(name, f"{url}/{name}", Shape.STANDARD, (NEW, OLD))
        yield space


@pytest.fixture
def space(ledger_engine: Engine) -> Iterator[PostingSpace]:
    with serving(ledger_engine) as found:
        yield found


def event_in(posted: Posted, secret: str) -> dict[str, Any]:
    """Return the event, if the library that receivers use makes the same signature of it.

    Its check of the time is left out, as the clock of these tests stands still.
    """
    identity, at = posted.headers["webhook-id"], int(posted.headers["webhook-timestamp"])
    expected = Webhook(secret).sign(identity, datetime.fromtimestamp(at, UTC), posted.body.decode())
    assert expected in posted.headers["webhook-signature"].split(" ")
    found: dict[str, Any] = json.loads(posted.body)
    return found


SENT = ("done", None)


@pytest.mark.engines(*BOTH)
def test_an_event_arrives_signed_by_every_secret_and_names_nobody(space: PostingSpace) -> None:
    space.enrol(1)
    space.work()
    [posted], [other] = space.crm.arrived, space.chat.arrived
    assert event_in(posted, NEW) == event_in(posted, OLD)
    assert event_in(posted, NEW) == {
        "type": "course.enrolled",
        "timestamp": "2026-03-03T12:00:00Z",
        "data": {
            "enrolment_id": 9001,
            "member": {"id": 1},
            "course": {"id": 1234, "title": "Freelance Finance"},
            "lessons": [],
            "lesson_count": 0,
            "progress": {"done": 0, "of": 3, "finished": False},
        },
    }
    assert b"Person" not in posted.body
    assert b"@" not in posted.body
    assert posted.headers["content-type"] == "application/json"
    assert posted.headers["webhook-id"] != other.headers["webhook-id"]
    assert space.ends() == {"endpoint:crm": [SENT], "endpoint:chat": [SENT], "member": [SENT]}
    with reading(space.engine) as connection:
        receipts = connection.scalars(select(actions.c.receipt)).all()
    assert receipts.count("answered 200") == 2


def test_an_endpoint_learns_what_its_setting_says(space: PostingSpace) -> None:
    every = frozenset(Personal)
    space.endpoints["crm"] = replace(space.endpoints["crm"], include=every)
    space.enrol(1)
    space.work()
    [posted] = space.crm.arrived
    assert event_in(posted, NEW)["data"]["member"] == {
        "id": 1,
        "name": "Person 1",
        "email": "person1@example.org",
    }


def chatting(space: PostingSpace, shape: Shape, *include: Personal) -> dict[str, Any]:
    """Enrol a person whose course has a title of bad taste; return what the chat got."""
    plain = space.endpoints["chat"]
    space.endpoints["chat"] = Endpoint("chat", plain.url, shape, (), frozenset(include))
    space.enrol(1)
    space.work()
    [posted] = space.chat.arrived
    assert "webhook-signature" not in posted.headers
    found: dict[str, Any] = json.loads(posted.body)
    return found


def test_slack_gets_one_sentence_that_can_mention_nobody(space: PostingSpace) -> None:
    space.source.have(*titled("<!channel> & **More**"))
    found = chatting(space, Shape.SLACK, Personal.NAME)
    words = "Person 1 has a place on <!channel> & **More**"
    escaped = "Person 1 has a place on &lt;!channel&gt; &amp; **More**"
    plain = {"type": "plain_text", "text": words, "emoji": False}
    assert found == {"text": escaped, "blocks": [{"type": "section", "text": plain}]}


def test_a_sentence_that_is_too_long_for_a_chat_is_cut(space: PostingSpace) -> None:
    space.source.have(*titled("<long> " * 500))
    found = chatting(space, Shape.SLACK)
    assert len(found["blocks"][0]["text"]["text"]) <= 1_000
    assert found["text"].endswith("&lt;long&gt;…")


def test_teams_gets_an_adaptive_card_without_markdown(space: PostingSpace) -> None:
    space.source.have(*titled("[More](https://evil.example)"))
    [attachment] = chatting(space, Shape.TEAMS)["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    [block] = attachment["content"]["body"]
    words = "#1 has a place on [More](https://evil.example)"
    assert block == {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": words}]}


def titled(title: str) -> tuple[Any, ...]:
    return Entity.COURSE, course(title=title)


def test_quiet_hours_and_limits_of_the_file_do_not_delay_what_is_posted(
    ledger_engine: Engine,
) -> None:
    with serving(ledger_engine) as space:
        space.at(space.clock.now().replace(hour=23))
        for number in (1, 2):
            space.enrol(number)
        space.work()
        assert len(space.crm.arrived) == 2
    # It was no email to anybody, so the limit of a day is not used up.
    assert space.ends()["member"] == [SENT, SENT]


def test_lessons_are_gathered_and_the_last_is_posted_beside_the_end_of_the_course(
    ledger_engine: Engine,
) -> None:
    with serving(ledger_engine, LESSONS) as space:
        member = space.enrol(1)
        space.finish(member, 1, 2)
        space.later(minutes=11)
        space.finish(member, 3)
        space.later(minutes=11)
        events = [event_in(one, NEW) for one in space.crm.arrived]
    assert [one["type"] for one in events] == [
        "lesson.completed",
        "course.completed",
        "lesson.completed",
    ]
    assert [[lesson["id"] for lesson in one["data"]["lessons"]] for one in events] == [
        [1, 2],
        [3],
        [3],
    ]
    assert events[1]["data"]["progress"] == {"done": 3, "of": 3, "finished": True}


@pytest.mark.engines(*BOTH)
def test_an_endpoint_that_fails_stops_neither_others_nor_emails(space: PostingSpace) -> None:
    space.crm.answer(500)
    for number in (1, 2, 3):
        space.enrol(number)
    with capture_logs() as logs:
        space.work()
    [error] = [line for line in logs if line["log_level"] == "error"]
    assert (error["event"], error["kind"]) == ("channel.stopped", "webhook:crm")
    assert len(space.crm.arrived) == 1
    assert len(space.chat.arrived) == 3
    assert len(space.mailer.caught) == 3
    with reading(space.engine) as connection:
        [(channel, outage)] = outages_now(connection).items()
    assert (channel, outage.reason, outage.answer) == ("webhook:crm", Reason.DELIVERY_DOWN, "500")
    with capture_logs() as logs:
        space.later(minutes=1)
    assert "channel.restored" in {line["event"] for line in logs}
    assert space.ends()["endpoint:crm"] == [SENT] * 3
    ids = [one.headers["webhook-id"] for one in space.crm.arrived]
    assert (len(ids), len(set(ids))) == (4, 3)  # the repeat has the id of the first try


def test_an_endpoint_that_asks_to_wait_is_left_alone_as_long(space: PostingSpace) -> None:
    space.crm.answer(429, Retry_After="600")
    space.enrol(1)
    space.work()
    assert space.ends()["endpoint:crm"] == [("waiting", Reason.DELIVERY_BUSY)]
    space.later(minutes=9)
    assert len(space.crm.arrived) == 1
    space.later(minutes=2)
    assert space.ends()["endpoint:crm"] == [SENT]


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (410, Reason.ENDPOINT_GONE),
        (400, Reason.DELIVERY_REFUSED),
        (401, Reason.DELIVERY_REFUSED),
        (404, Reason.DELIVERY_REFUSED),
        (302, Reason.DELIVERY_REFUSED),
    ],
)
def test_a_refusal_is_final(space: PostingSpace, status: int, reason: Reason) -> None:
    space.crm.answer(status, Location="http://127.0.0.1:1/")
    space.enrol(1)
    space.work()
    space.later(days=1)
    assert space.ends()["endpoint:crm"] == [("failed", reason)]
    assert len(space.crm.arrived) == 1


@pytest.mark.parametrize("status", [408, 425, 500, 502, 503, 599])
def test_what_may_pass_is_tried_again(space: PostingSpace, status: int) -> None:
    space.crm.answer(status)
    space.enrol(1)
    space.work()
    assert space.ends()["endpoint:crm"] == [("waiting", Reason.DELIVERY_DOWN)]
    space.later(minutes=1)
    assert space.ends()["endpoint:crm"] == [SENT]


def test_one_message_that_alone_always_fails_ends_and_lets_the_others_through(
    space: PostingSpace,
) -> None:
    space.crm.failing = b'"enrolment_id":9001,'
    space.enrol(1)
    space.work()
    for number in range(2, 12):
        space.enrol(number)
        space.later(hours=1)
    found = space.ends()["endpoint:crm"]
    assert found[0] == ("failed", Reason.DELIVERY_REFUSED)
    assert found[1:] == [SENT] * 10


def test_a_gone_endpoint_is_shown_until_something_arrives_there(space: PostingSpace) -> None:
    space.crm.answer(410)
    space.enrol(1)
    space.work()
    with reading(space.engine) as connection:
        [needed] = endpoint_needs(connection, space.clock.now())
    assert needed.startswith("endpoint crm is gone: it answered 410 at 2026-03-03 12:00 UTC. Corr")
    space.clock.time += timedelta(minutes=1)
    space.enrol(2)
    space.work()
    with reading(space.engine) as connection:
        assert list(endpoint_needs(connection, space.clock.now())) == []


def test_an_outage_of_an_endpoint_needs_a_person_only_once_it_lasts(space: PostingSpace) -> None:
    for _ in range(9):
        space.crm.answer(500)
    space.enrol(1)
    space.work()
    with reading(space.engine) as connection:
        assert list(endpoint_needs(connection, space.clock.now())) == []
    space.later(minutes=16)
    with reading(space.engine) as connection:
        [needed] = endpoint_needs(connection, space.clock.now())
    assert "endpoint crm: nothing arrives since 2026-03-03 12:00 UTC" in needed
    assert "(500). Look at the receiver; `coursebell webhook test crm` tries it" in needed


def test_nothing_is_posted_in_observe_mode_or_while_paused(space: PostingSpace) -> None:
    space.choose(Mode.OBSERVE)
    space.enrol(1)
    space.work()
    assert space.ends()["endpoint:crm"] == [("held", Reason.OBSERVE)]
    with reading(space.engine) as connection:
        assert len(connection.scalars(select(copies.c.body)).all()) == 3
    space.choose(Mode.SENDING)
    with writing(space.engine) as connection:
        begin_pause(
            connection,
            PauseScope.RULE,
            "tell",
            until=None,
            note=None,
            who="a test",
            now=space.clock.now(),
        )
    space.enrol(2)
    space.work()
    assert space.ends()["endpoint:crm"] == [("held", Reason.PAUSED)] * 2
    assert space.crm.arrived == []


def test_many_at_once_are_held_for_each_endpoint(ledger_engine: Engine) -> None:
    flooding = FILE.replace("flood: none", "flood: 2/10m")
    with serving(ledger_engine, flooding) as space:
        for number in (1, 2, 3):
            space.enrol(number)
        space.work()
    assert space.ends()["endpoint:crm"] == [("held", Reason.FLOOD_GUARD)] * 3


@pytest.mark.engines(*BOTH)
def test_a_message_cut_off_at_any_step_is_posted_again_with_its_id(space: PostingSpace) -> None:
    space.enrol(1)
    space.look_up()
    now = space.clock.now()
    with writing(space.engine) as connection:
        for claimed in claim_actions(
            connection, now, SYSTEM_CLOCK.new_id(), lease_s=60, most=9, only={"webhook:crm"}
        ):
            assert begin_action(connection, claimed, now, lease_s=60, events=1)
            assert commit_action(connection, claimed, now, lease_s=60)
    space.work()
    assert space.ends()["endpoint:crm"] == [("performing", None)]
    space.clock.time += timedelta(minutes=5)
    assert sweep(space.delivery) == 1
    space.work()
    assert space.ends()["endpoint:crm"] == [SENT]
    assert len(space.crm.arrived) == 1


def test_an_endpoint_that_the_settings_lack_fails_its_messages(space: PostingSpace) -> None:
    del space.endpoints["crm"]
    space.enrol(1)
    space.work()
    assert space.ends()["endpoint:crm"] == [("failed", Reason.DELIVERY_REFUSED)]


def run_at(desk: Desk, monkeypatch: pytest.MonkeyPatch, url: str, *words: str) -> tuple[int, str]:
    """Run a command with one endpoint at this address."""
    file = desk.folder / "endpoints.yaml"
    file.write_text(f"crm:\n  url: {url}/secret-path\n  secrets: {NEW}\n", encoding="utf-8")
    file.chmod(0o600)
    monkeypatch.setenv("COURSEBELL_ENDPOINTS", str(file))
    result = CliRunner().invoke(commands, words)
    assert "secret-path" not in result.output
    assert NEW not in result.output
    return result.exit_code, result.output


def test_a_test_message_arrives_and_says_so(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COURSEBELL_ENDPOINT_NETWORKS", "127.0.0.1")
    endpoint = ReceivingEndpoint()
    with receiving(endpoint) as url:
        code, said = run_at(desk, monkeypatch, url, "webhook", "test", "crm")
        assert (code, said) == (0, "The endpoint crm answered 200. The test message arrived.\n")
        [posted] = endpoint.arrived
        assert Webhook(NEW).verify(posted.body, posted.headers)["type"] == "coursebell.test"
        endpoint.answer(404)
        code, said = run_at(desk, monkeypatch, url, "webhook", "test", "crm")
    assert code == 4
    assert said.startswith("It did not arrive: the endpoint refused it (it answered 404).\nCorrect")
    monkeypatch.delenv("COURSEBELL_ENDPOINT_NETWORKS")
    code, said = run_at(desk, monkeypatch, "https://127.0.0.1", "webhook", "test", "crm")
    assert (code, said.count("COURSEBELL_ENDPOINT_NETWORKS")) == (4, 1)
    code, said = run_at(desk, monkeypatch, "https://127.0.0.1", "webhook", "test", "cmr")
    assert (code, said) == (2, "There is no endpoint 'cmr'; there is: crm.\n")


@pytest.mark.parametrize(
    "content",
    [
        "{crm: {url: https://hooks.example/T0SECRET, shape: slack}}",
        "/etc/coursebell/T0SECRET.yaml",
        "crm:\n  url: https://hooks.example/T0SECRET\n  shape: slack\n",
    ],
)
def test_the_content_of_the_file_in_place_of_its_path_is_refused_and_not_repeated(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    file = desk.folder / "endpoints.yaml"
    file.write_text(content, encoding="utf-8")
    assert "its path in COURSEBELL_ENDPOINTS:" in desk.run("webhook", "list").output
    monkeypatch.setenv("COURSEBELL_ENDPOINTS_FILE", str(file))
    result = CliRunner().invoke(commands, ["webhook", "list"])
    assert result.exit_code
    assert "T0SECRET" not in f"{result.output}{result.exception}"
    assert "COURSEBELL_ENDPOINTS: expected the path of the file" in (
        f"{result.output}{result.exception}"
    )


def test_endpoints_are_listed_with_their_condition(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, said = run_at(desk, monkeypatch, "https://hooks.example", "webhook", "list")
    line = "crm: standard at hooks.example, learns Ids only; no rule posts to it\n"
    assert (code, said) == (0, line)
    with writing(desk.space.engine) as connection:
        now, wait_s = desk.space.clock.now() - timedelta(hours=1), lambda _: 30.0
        note_outage(connection, "webhook:crm", Reason.DELIVERY_DOWN, "500", now, wait_s)
    code, said = run_at(desk, monkeypatch, "https://hooks.example", "webhook", "list")
    assert "\n  ! nothing arrives since 2" in said
    code, said = run_at(desk, monkeypatch, "https://hooks.example", "status")
    assert "Needs attention: " in said
    assert "! endpoint crm: nothing arrives since 2" in said
    assert "no webhook to crm can be sent since 2" in said
    code, said = run_at(desk, monkeypatch, "https://hooks.example", "doctor")
    lines = {" ".join(line.split()) for line in said.splitlines()}
    assert any(line.startswith("problem crm nothing arrives since 2") for line in lines)
