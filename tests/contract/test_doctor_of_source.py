"""The doctor against the stand-in: each verdict occurs, and each has its fix."""

import socket
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ledger.clock import SYSTEM_CLOCK
from ledger.controls import begin_with
from ledger.engine import Engine, reading, writing
from ledger.people import accept_person
from ledger.records import accept_record
from ledger.source_state import proofs, sign_in_of, store_sign_in
from schemas.actions import Mode
from schemas.checkup import Check, Topic, Verdict
from schemas.entity import Entity
from schemas.records import Coworker
from schemas.settings import API_URL, load_settings
from tests.contract.source_rig import HandClock, reads, serving, sqlite_ledger, tell_the_truth
from tests.sandbox.sandbox_rig import PASSWORD, SECRET, USERNAME, Running, running
from workers.source.auth import Credentials, credentials_of
from workers.source.budget import Budget
from workers.source.client import Gone, Source, Sources
from workers.source.doctor import CheckUp, check_up, languages_check
from workers.source.doctor_rights import LIST, NEEDS, READ, role
from workers.source.doctor_sign_in import address_notes
from workers.source.limits import BudgetState, Patience, Urgency

OURS = "http://127.0.0.1:9"  # nothing listens there
HOOKS = (1_416_050_000, 1_416_050_001)
NEEDED = [role(need.entity, way) for need in NEEDS if need.without is None for way in need.ways]


@dataclass
class Doctor:
    """Asks for a check-up with a ledger of its own, in a hurry: no pace is kept."""

    sandbox: Running
    engine: Engine | None
    clock: HandClock
    counts_nexudus: bool = False

    def checks(self, **settings: str) -> dict[str, Check]:
        """Return what was found, by name; a name that comes twice is by topic too."""
        environment = {
            "COURSEBELL_NEXUDUS_URL": self.sandbox.addresses["api"],
            "COURSEBELL_NEXUDUS_USERNAME": USERNAME,
            "COURSEBELL_NEXUDUS_PASSWORD": PASSWORD,
            "COURSEBELL_PUBLIC_URL": OURS,
        }
        stated = load_settings({**environment, **settings})
        user = credentials_of(stated)
        with closing(Budget("1000/minute", None, shares=1, clock=SYSTEM_CLOCK)) as budget:
            sources = None
            if self.engine is not None:
                engine = self.engine
                sources = Sources(
                    lambda: Source(stated.nexudus_url, engine, user, self.clock, budget)
                )
            place = CheckUp(
                stated, budget, self.clock, self.engine, sources, counts_nexudus=self.counts_nexudus
            )
            found = list(check_up(place))
            if sources is not None:
                sources.close()
        return {check.name: check for check in found}

    def known(self) -> Engine:
        assert self.engine is not None
        return self.engine

    def problems(self, **settings: str) -> dict[str, Check]:
        found = self.checks(**settings)
        return {name: one for name, one in found.items() if one.verdict is Verdict.PROBLEM}


@pytest.fixture(scope="module")
def shared() -> Iterator[Running]:
    """Yield a stand-in with records of every kind, whose deliveries are not received."""
    sign_in = ("--username", USERNAME, "--password", PASSWORD)
    with running("--deliver-to", OURS, "--retry-after", "3600", *sign_in) as sandbox:
        member_id = sandbox.enrol("Joël", "Freelance Finance", deliver=False)
        sandbox.post("/sandbox/finish-lesson", course_member_id=member_id, deliver=False)
        yield sandbox


@pytest.fixture
def doctor(shared: Running, tmp_path: Path) -> Iterator[Doctor]:
    with sqlite_ledger(tmp_path) as engine:
        with writing(engine) as connection:
            begin_with(connection, Mode.OBSERVE, SYSTEM_CLOCK.now(), SYSTEM_CLOCK.new_id())
        yield Doctor(shared, engine, HandClock(SYSTEM_CLOCK.now()))
    tell_the_truth(shared)
    shared.web.delete(shared.addresses["api"] + "/sandbox/misbehaviours", timeout=10)


def misbehave(sandbox: Running, switch: str, **parameters: object) -> None:
    sandbox.post("/sandbox/misbehaviours", name=switch, **parameters)


def change_hook(sandbox: Running, **fields: Any) -> None:  # noqa: ANN401 - any JSON
    for hook_id in HOOKS:
        sandbox.post("/sandbox/change", entity="WebHook", id=hook_id, fields=fields, deliver=False)


def test_without_problems_every_role_has_a_line_and_none_is_a_problem(
    doctor: Doctor,
) -> None:
    found = doctor.checks()
    assert {name for name, one in found.items() if one.verdict is Verdict.PROBLEM} == set()
    roles = {role(need.entity, way) for need in NEEDS for way in need.ways}
    assert {name for name, one in found.items() if one.topic is Topic.RIGHTS} == roles
    assert {found[name].verdict for name in roles} == {Verdict.OK}
    assert {found[name].verdict for name in ("credentials", "address", "clock", "sign-in")} == {
        Verdict.OK
    }
    assert "renewed until" in found["sign-in"].found
    assert found["course webhooks"].verdict is Verdict.OK
    assert found["time zones"].verdict is Verdict.OK


def test_the_check_of_languages_names_the_missing_roles_and_what_is_used_instead(
    doctor: Doctor,
) -> None:
    assert doctor.checks()["languages"].verdict is Verdict.OK
    misbehave(doctor.sandbox, "missing-right", entity="User")
    found = doctor.checks()["languages"]
    assert found.verdict is Verdict.NOTE
    assert found.found == (
        "members are written to in the language of their location, because our user lacks the role"
        " User-Read"
    )
    misbehave(doctor.sandbox, "missing-right", entity="Business")
    found = doctor.checks(COURSEBELL_LANGUAGE="es")["languages"]
    assert found.found == (
        "members who chose none in the portal are written to in the language of COURSEBELL_LANGUAGE"
        " (es), because our user lacks the role Business-Read"
    )
    both = languages_check([], {"User-Read", "Language-Read", "Business-Read"}, "en")
    assert both.found.startswith(
        "members are written to in the language of COURSEBELL_LANGUAGE (en)"
    )
    assert both.found.endswith("lacks the roles User-Read, Language-Read and Business-Read")
    assert "give our user the roles User-Read" in (both.fix or "")
    misbehave(doctor.sandbox, "missing-right")
    untried = doctor.checks()["languages"]
    assert untried.verdict is Verdict.NOTE
    assert untried.found.endswith("if our user has the roles for that")


def test_a_run_costs_few_requests_and_writes_nothing_there(doctor: Doctor) -> None:
    before = reads(doctor.sandbox)
    doctor.checks()
    asked = {path: times - before.get(path, 0) for path, times in reads(doctor.sandbox).items()}
    assert sum(asked.values()) < 25  # and the probes, which need records we know


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("way", ["list", "read"])
def test_listing_and_reading_are_distinguished_and_the_role_is_named(
    doctor: Doctor, way: str, status: int
) -> None:
    misbehave(doctor.sandbox, "missing-right", entity="Course", way=way, status=status)
    found = doctor.problems()
    missing = role(Entity.COURSE, {"list": LIST, "read": READ}[way])
    assert list(found) == [missing]
    assert str(status) in found[missing].found
    assert missing in (found[missing].fix or "")


def test_a_missing_optional_role_is_a_note_that_says_what_is_lost(doctor: Doctor) -> None:
    for entity, way in (
        ("WebHook", "both"),
        ("SimpleTimeZone", "both"),
        ("User", "both"),
        ("Language", "read"),
        ("Business", "both"),
    ):
        misbehave(doctor.sandbox, "missing-right", entity=entity, way=way)
        found = doctor.checks()
        lines = [one for name, one in found.items() if name.startswith(f"{entity}-")]
        assert Verdict.PROBLEM not in {one.verdict for one in found.values()}
        assert lines[0].verdict is Verdict.NOTE
        assert "without it" in lines[0].found
        assert lines[0].name in (lines[0].fix or "")
    misbehave(doctor.sandbox, "missing-right", entity="SimpleTimeZone")
    assert doctor.checks()["time zones"].verdict is Verdict.NOTE


def test_the_role_to_list_messages_is_checked_only_if_a_rule_counts_them(doctor: Doctor) -> None:
    name = role(Entity.MESSAGE, LIST)
    misbehave(doctor.sandbox, "missing-right", entity="CoworkerMessage")
    assert name not in doctor.checks()
    counting = replace(doctor, counts_nexudus=True)
    missing = counting.checks()[name]
    assert missing.verdict is Verdict.PROBLEM
    assert "without it reminders with `count_nexudus` in the rules wait" in missing.found
    assert name in (missing.fix or "")
    misbehave(doctor.sandbox, "missing-right", on=False)
    assert counting.checks()[name].verdict is Verdict.NOTE, "there is none yet"
    doctor.sandbox.post("/sandbox/message", coworker_id=doctor.sandbox.person("Joël"))
    assert counting.checks()[name].verdict is Verdict.OK


def test_without_a_list_reading_is_tried_with_ids_from_the_ledger(doctor: Doctor) -> None:
    misbehave(doctor.sandbox, "missing-right", way="list")
    found = doctor.checks()
    assert found["CourseMember-List"].verdict is Verdict.PROBLEM
    assert found["CourseMember-Read"].verdict is Verdict.NOTE
    misbehave(doctor.sandbox, "missing-right", on=False)
    remember(doctor, Entity.COURSE_MEMBER)
    misbehave(doctor.sandbox, "missing-right", way="list")
    found = doctor.checks()
    assert found["CourseMember-Read"].verdict is Verdict.OK
    # An enrolment names course and person, so these are found without a list as well.
    assert found["Course-Read"].verdict is Verdict.OK
    assert found["Coworker-Read"].verdict is Verdict.OK


def test_when_everything_is_refused_the_switch_for_access_is_named_first(doctor: Doctor) -> None:
    misbehave(doctor.sandbox, "missing-right")
    found = doctor.problems()
    assert next(iter(found)) == "API access"
    assert found.keys() == {"API access"} | {name for name in NEEDED if name.endswith(LIST)}
    assert doctor.checks()["sign-in"].verdict is Verdict.OK


def test_an_empty_list_proves_nothing_and_is_a_note(doctor: Doctor) -> None:
    with running("--no-deliver", "--username", USERNAME, "--password", PASSWORD) as empty:
        found = Doctor(empty, doctor.engine, doctor.clock).checks()
    for name in ("CourseMember-List", "CourseMember-Read"):
        assert found[name].verdict is Verdict.NOTE
        assert "the list is empty" in found[name].found or "no record" in found[name].found


def test_an_outage_of_one_kind_does_not_stop_the_others(doctor: Doctor) -> None:
    misbehave(doctor.sandbox, "outage-500", path="/api/content/courselessons", status=503)
    found = doctor.checks()
    assert found["CourseLesson-List"].verdict is Verdict.PROBLEM
    assert "503" in found["CourseLesson-List"].found
    assert found["WebHook-Read"].verdict is Verdict.OK


def test_a_record_with_unexpected_fields_is_a_problem_that_names_them(
    doctor: Doctor,
) -> None:
    courses = doctor.sandbox.get("/sandbox/courses").json()
    fields = {"DisplayOrder": 1, "Active": "perhaps"}
    doctor.sandbox.post(
        "/sandbox/change", entity="Course", id=courses[0]["id"], fields=fields, deliver=False
    )
    found = doctor.problems()
    doctor.sandbox.post(
        "/sandbox/change",
        entity="Course",
        id=courses[0]["id"],
        fields={"Active": True},
        deliver=False,
    )
    assert list(found) == ["Course-Read"]
    assert "Active" in found["Course-Read"].found
    assert "perhaps" not in found["Course-Read"].found


def test_a_request_to_slow_down_is_waited_for_once_and_then_reported(doctor: Doctor) -> None:
    misbehave(
        doctor.sandbox, "throttle", path="/api/content/coursesections", retry_after="1", times=1
    )
    assert doctor.checks()["CourseSection-List"].verdict is Verdict.OK
    misbehave(doctor.sandbox, "throttle", path="/api/spaces", retry_after="3000")
    found = doctor.checks()
    assert found["Coworker-Read"].verdict is Verdict.NOTE
    assert "409" in found["Coworker-Read"].found or "used up" in found["Coworker-Read"].found
    assert "50 minutes" in found["quiet"].found


def test_a_refused_password_is_distinguished_from_a_pause_and_an_outage(
    doctor: Doctor,
) -> None:
    misbehave(doctor.sandbox, "throttle", path="/api/token", retry_after="45")
    busy = doctor.problems()["sign-in"]
    misbehave(doctor.sandbox, "throttle", on=False)
    misbehave(doctor.sandbox, "outage-500", path="/api/token", status=503)
    down = doctor.problems()["sign-in"]
    misbehave(doctor.sandbox, "outage-500", on=False)
    misbehave(doctor.sandbox, "refuse-sign-in")
    wrong = doctor.problems()["sign-in"]
    again = doctor.problems()["sign-in"]
    assert "45 seconds" in (busy.fix or "")
    assert "password may be right" in busy.found
    assert "password may be right" in down.found
    assert "503" in down.found
    assert "password may be right" not in wrong.found
    assert "COURSEBELL_NEXUDUS_PASSWORD" in (wrong.fix or "")
    assert again.found == "Nexudus refused our sign-in a moment ago"
    assert "coursebell login" in (again.fix or "")
    assert "tries again at" in (again.fix or "")


@pytest.mark.parametrize(
    ("switch", "words"),
    [("edge-block", "edge"), ("html-errors", "502"), ("truncated-body", "no answer from")],
)
def test_a_stored_sign_in_is_not_reported_as_ok_without_an_answer(
    doctor: Doctor, switch: str, words: str
) -> None:
    doctor.checks()
    misbehave(doctor.sandbox, switch, path="/api/content")
    found = doctor.checks()
    assert found["address"].verdict is Verdict.OK
    assert found["sign-in"].verdict is Verdict.PROBLEM
    assert words in found["sign-in"].found
    assert "the source" not in found["sign-in"].found
    assert "not checked" in found["the rest"].found


def test_without_a_sign_in_the_dependent_checks_are_skipped_and_named_once(
    doctor: Doctor,
) -> None:
    misbehave(doctor.sandbox, "refuse-sign-in")
    found = doctor.checks()
    assert found["the rest"].verdict is Verdict.NOTE
    assert "not checked, as the sign-in failed" in found["the rest"].found
    assert {one.topic for one in found.values()} == {Topic.SIGN_IN, Topic.LIMITS}


def test_without_credentials_the_settings_are_named(doctor: Doctor) -> None:
    found = doctor.checks(COURSEBELL_NEXUDUS_PASSWORD="")
    assert found["credentials"].verdict is Verdict.PROBLEM
    assert "COURSEBELL_NEXUDUS_PASSWORD" in found["credentials"].found
    assert "sign-in" not in found
    found = doctor.checks(COURSEBELL_NEXUDUS_USERNAME="", COURSEBELL_NEXUDUS_PASSWORD="")
    assert "COURSEBELL_NEXUDUS_USERNAME" in found["credentials"].found


def test_a_stored_sign_in_is_enough_and_an_expired_one_is_a_problem(doctor: Doctor) -> None:
    assert doctor.problems() == {}
    found = doctor.checks(COURSEBELL_NEXUDUS_PASSWORD="")
    assert "coursebell login" in found["credentials"].found
    assert found["sign-in"].verdict is Verdict.OK
    with writing(doctor.known()) as connection:
        kept = sign_in_of(connection)
        store_sign_in(connection, type(kept)(kept.version, None, None, None, None))
    found = doctor.checks(COURSEBELL_NEXUDUS_PASSWORD="")
    assert found["sign-in"].verdict is Verdict.PROBLEM
    assert found["sign-in"].fix == "Run `coursebell login`."


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("http://127.0.0.1:{closed}", "nothing listens"),
        ("https://127.0.0.1:{sandbox}", "encrypted"),
        ("https://no.such.name.invalid", "resolved"),
    ],
)
def test_faults_of_the_address_are_distinguished(doctor: Doctor, address: str, words: str) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        ports = {
            "closed": bound.getsockname()[1],
            "sandbox": doctor.sandbox.addresses["api"].rpartition(":")[2],
        }
        found = doctor.checks(COURSEBELL_NEXUDUS_URL=address.format(**ports))
    assert words in found["address"].found
    assert "COURSEBELL_NEXUDUS_URL" in (found["address"].fix or "")
    assert found["the rest"].found.startswith("not checked, as Nexudus cannot be reached")


@pytest.mark.parametrize(
    ("ahead", "verdict", "words"),
    [
        (0, Verdict.OK, "agrees"),
        (-50, Verdict.OK, "agrees"),
        (180, Verdict.NOTE, "3 minutes ahead of"),
        (-240, Verdict.NOTE, "4 minutes behind"),
        (400, Verdict.PROBLEM, "7 minutes ahead of"),
        (-90_000, Verdict.PROBLEM, "25 hours behind"),
    ],
)
def test_clocks_that_differ_are_a_note_and_far_apart_a_problem(
    doctor: Doctor, ahead: int, verdict: Verdict, words: str
) -> None:
    doctor.clock.time = SYSTEM_CLOCK.now() + timedelta(seconds=ahead)
    found = doctor.checks()["clock"]
    assert found.verdict is verdict
    assert words in found.found
    assert (found.fix is None) == (verdict is Verdict.OK)


def test_without_a_ledger_the_checks_that_need_none_are_made(doctor: Doctor) -> None:
    found = Doctor(doctor.sandbox, None, doctor.clock).checks()
    assert {"credentials", "address", "clock", "requests", "the rest"} <= found.keys()
    assert "there is no ledger" in found["the rest"].found


def test_a_webhook_that_is_switched_off_is_a_problem_and_one_that_often_fails_a_note(
    doctor: Doctor,
) -> None:
    key = "https://user:pw@coursebell.example.org/hooks/nexudus?key=geheim"
    said = f"500 \x1b[31m from {key} for jo@example.org at /hooks/geheim, token=geheim {'x' * 200}"
    times = {"LastTrigger": "2026-03-04T10:00:00Z", "LastError": said}
    change_hook(doctor.sandbox, Active=False, ErrorCount=11, **times)
    off = doctor.problems()
    change_hook(doctor.sandbox, Active=True)
    change_hook(doctor.sandbox, ErrorCount=5, **times)
    failing = doctor.checks()
    change_hook(doctor.sandbox, ErrorCount=1, LastError=None, LastTrigger=None)
    well = doctor.checks()
    names = [f"webhook {hook_id}" for hook_id in HOOKS]
    assert list(off) == names
    for name in names:
        assert "switched off" in off[name].found
        assert "failures in a row: 11" in off[name].found
        assert "switch it on again in Nexudus: Settings > Integrations" in (off[name].fix or "")
        assert failing[name].verdict is Verdict.NOTE
        assert "last called 2026-03-04 10:00 UTC" in failing[name].found
        assert "500 [31m from https://coursebell.example.org for" in failing[name].found
        for secret in ("geheim", "pw@", "jo@", "\x1b"):
            assert secret not in failing[name].found + off[name].found
        assert len(failing[name].found) < 250
        assert well[name].verdict is Verdict.OK
        assert "for the action None, calls http://127.0.0.1:9, not called yet" in well[name].found


@pytest.mark.parametrize(
    ("switch", "parameters"),
    [
        ("partial-rows", {"entity": "WebHook", "fields": "URL"}),
        ("cut-size", {"rows": 1}),
        ("other-fields", {}),
    ],
)
def test_webhooks_are_found_on_any_kind_of_list(
    doctor: Doctor, switch: str, parameters: dict[str, object]
) -> None:
    misbehave(doctor.sandbox, switch, **parameters)
    found = doctor.checks()
    assert {f"webhook {hook_id}" for hook_id in HOOKS} <= found.keys()
    assert found["time zones"].found.startswith("all ")


def test_webhooks_of_others_are_not_ours_and_none_is_a_note_with_the_relay(
    doctor: Doctor,
) -> None:
    found = doctor.checks(COURSEBELL_PUBLIC_URL="https://courses.example.org")
    assert found["webhooks"].verdict is Verdict.NOTE
    assert "3 call others" in found["webhooks"].found
    assert "https://courses.example.org/hooks/relay" in (found["webhooks"].fix or "")
    assert "desk.example.org" not in str(found)
    nowhere = doctor.checks(COURSEBELL_PUBLIC_URL="http://127.0.0.1:8000")
    assert "Set COURSEBELL_PUBLIC_URL" in (nowhere["webhooks"].fix or "")


def test_a_new_webhook_action_about_courses_is_reported(doctor: Doctor) -> None:
    misbehave(doctor.sandbox, "course-actions")
    found = doctor.checks()["course webhooks"]
    assert found.verdict is Verdict.NOTE
    assert "CourseMemberCreate, CourseCompletedLessonCreate" in found.found
    assert f"{OURS}/hooks/nexudus" in (found.fix or "")


def test_the_probes_are_repeated_and_stored(doctor: Doctor) -> None:
    assert "too few" in doctor.checks()["Coworker"].found
    remember(doctor, Entity.COWORKER)
    found = doctor.checks()["Coworker"]
    assert found.verdict in {Verdict.OK, Verdict.NOTE}
    assert f"tried {doctor.clock.time:%Y-%m-%d %H:%M} UTC" in found.found
    assert "too few" not in found.found
    with reading(doctor.known()) as connection:
        assert proofs(connection)[Entity.COWORKER].probed_at == doctor.clock.time


def test_unknown_time_zones_are_counted(doctor: Doctor) -> None:
    listed = doctor.sandbox.get("/api/sys/simpletimezones", headers=signed_in(doctor)).json()
    fields = {"Name": "Moon Standard Time"}
    where: Mapping[str, object] = {"entity": "SimpleTimeZone", "id": listed["Records"][0]["Id"]}
    doctor.sandbox.post("/sandbox/change", **where, fields=fields, deliver=False)
    found = doctor.checks()["time zones"]
    fields = {"Name": listed["Records"][0]["Name"]}
    doctor.sandbox.post("/sandbox/change", **where, fields=fields, deliver=False)
    assert found.verdict is Verdict.NOTE
    assert 'such as "Moon Standard Time"' in found.found


def test_the_usage_of_the_limits_is_reported(doctor: Doctor) -> None:
    found = doctor.checks(COURSEBELL_NEXUDUS_LIMITS="5/second;1000/minute")
    assert found["requests"].found.startswith("5/second, 1000/minute; used now: ")
    assert "of 1000 per minute" in found["requests"].found
    assert found["counted"].verdict is Verdict.NOTE


def test_a_shared_budget_says_so(doctor: Doctor, broker_url: str) -> None:
    stated = load_settings({"COURSEBELL_NEXUDUS_URL": doctor.sandbox.addresses["api"]})
    with closing(
        Budget("20/minute", broker_url, shares=1, clock=SYSTEM_CLOCK, space="checkup:")
    ) as budget:
        for _ in range(18):
            budget.take(Patience(Urgency.PERSON, float("inf"), lambda: None))
        found = {one.name: one for one in check_up(CheckUp(stated, budget, SYSTEM_CLOCK))}
    assert found["counted"].verdict is Verdict.OK
    assert found["requests"].verdict is Verdict.NOTE  # almost nothing is left


def test_an_address_of_another_server_is_reached_and_refuses_the_sign_in(doctor: Doctor) -> None:
    with serving(lambda asked: asked.send_error(404)) as small:
        found = doctor.checks(COURSEBELL_NEXUDUS_URL=small.url)
    assert found["address"].verdict is Verdict.OK
    assert found["sign-in"].verdict is Verdict.PROBLEM
    assert "COURSEBELL_NEXUDUS_URL" in (found["sign-in"].fix or "")


def test_a_fault_of_ours_in_one_step_does_not_stop_the_others(doctor: Doctor) -> None:
    class Faulty(Budget):
        def state(self) -> BudgetState:
            raise RuntimeError("geheim")

    stated = load_settings({"COURSEBELL_NEXUDUS_URL": doctor.sandbox.addresses["api"]})
    user = Credentials(USERNAME, PASSWORD)
    with (
        closing(Faulty("1000/minute", None, shares=1, clock=SYSTEM_CLOCK)) as budget,
        closing(
            Sources(lambda: Source(stated.nexudus_url, doctor.known(), user, doctor.clock, budget))
        ) as sources,
    ):
        place = CheckUp(
            replace(stated, nexudus_username=USERNAME, nexudus_password=PASSWORD),
            *(budget, doctor.clock, doctor.engine, sources),
        )
        found = {one.name: one for one in check_up(place)}
    assert found["requests"].verdict is Verdict.PROBLEM
    assert "RuntimeError" in found["requests"].found
    assert "geheim" not in found["requests"].found
    assert found["time zones"].verdict is Verdict.OK


def test_no_secret_is_in_any_sentence(doctor: Doctor) -> None:
    misbehave(doctor.sandbox, "missing-right", entity="Course")
    said = str(doctor.checks(COURSEBELL_HOOK_SECRETS="an-ascii-secret"))
    with reading(doctor.known()) as connection:
        kept = sign_in_of(connection)
    for secret in (PASSWORD, USERNAME, SECRET, "an-ascii-secret", "@"):
        assert secret not in said
    assert kept.access_token is not None
    assert kept.access_token not in said


def signed_in(doctor: Doctor) -> Mapping[str, str | bytes]:
    doctor.checks()
    with reading(doctor.known()) as connection:
        token = sign_in_of(connection).access_token
    return {"Authorization": f"Bearer {token}"}


def remember(doctor: Doctor, entity: Entity) -> None:
    """Store some records of a kind, as lookups would."""
    user = credentials_of(
        load_settings(
            {"COURSEBELL_NEXUDUS_USERNAME": USERNAME, "COURSEBELL_NEXUDUS_PASSWORD": PASSWORD}
        )
    )
    engine = doctor.known()
    with (
        closing(Budget("1000/minute", None, shares=1, clock=SYSTEM_CLOCK)) as budget,
        closing(
            Source(doctor.sandbox.addresses["api"], engine, user, doctor.clock, budget)
        ) as source,
    ):
        ids = [row["Id"] for row in source.lists.whole(entity)][:3]
        records = [source.fetch(entity, record_id) for record_id in ids]
    with writing(engine) as connection:
        for record in records:
            assert not isinstance(record, Gone)
            if isinstance(record, Coworker):
                accept_person(connection, record, doctor.clock.time)
            else:
                accept_record(connection, entity, record, doctor.clock.time)


def test_an_address_other_than_the_apis_own_is_noted() -> None:
    for url in (API_URL, "http://127.0.0.1:9000", "http://localhost:9000"):
        assert address_notes(url) == []
    (note,) = address_notes("https://courses.example.org")
    assert note.verdict is Verdict.NOTE
    assert f"Set it to {API_URL}" in (note.fix or "")
