"""What needs a person: what `status` begins with and `/readyz` names, and what is left out."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import update

from ledger.checks import CheckKind, begin_check, end_check, fail_check, open_run
from ledger.clock import SYSTEM_CLOCK
from ledger.controls import begin_with
from ledger.engine import Engine, open_engine, reading, writing
from ledger.heartbeats import NO_BROKER, record_heartbeat
from ledger.interventions import close_ended, send_again
from ledger.lookups import fail_lookup
from ledger.monitoring import count_refusals
from ledger.outages import note_outage
from ledger.outbox import settle_action
from ledger.people import accept_person
from ledger.source_state import SignIn, store_sign_in
from ledger.tables import actions
from schemas.actions import ActionState, Mode, Outcome
from schemas.entity import FOLLOWED
from schemas.reasons import Reason, Refusal
from schemas.settings import load_settings
from service.app import make_web
from service.cli.status import status
from service.readiness import readiness
from tests.contract.ledger_rig import (
    ANA,
    BOTH,
    NOW,
    arrival,
    at,
    claim,
    claim_due,
    keep,
    lesson_done,
    planned,
)
from tests.contract.source_rig import HandClock
from tests.contract.study_rig import coworker
from tests.servers.ready_ledgers import sqlite_copy
from workers.attention import Need, needs_of
from workers.queues import SOURCE_CHECK
from workers.scheduler import BASELINE_EVERY, Scheduler
from workers.wakeup import Wakeup

pytestmark = pytest.mark.engines("sqlite")  # see conftest.py

WELL = {"ledger": "ok", "mail": "ok", "worker": "ok"}
SETTINGS = load_settings({"COURSEBELL_NEXUDUS_USERNAME": "a@b.example"})


def needs(engine: Engine, **parts: str) -> list[Need]:
    with reading(engine) as connection:
        found = needs_of(connection, WELL | parts, at(60))
    # These tests are of a day that is long past by the clock of a database server.
    return [need for need in found if need.code != "clocks"]


def codes(engine: Engine) -> list[str]:
    return [need.code for need in needs(engine)]


def ended(engine: Engine, lesson_id: int, outcome: Outcome, kind: str = "email") -> None:
    one = planned(engine, lesson_done(lesson_id), rule=f"rule-{lesson_id}")
    with writing(engine) as connection:
        is_it = actions.c.id == one.action_id
        connection.execute(update(actions).where(is_it).values(kind=kind))
        assert settle_action(connection, one, outcome, NOW)


def test_without_problems_nothing_needs_a_person(ledger_engine: Engine) -> None:
    ended(ledger_engine, 1, Outcome.done("250"))
    ended(ledger_engine, 2, Outcome.skipped(Reason.NO_EMAIL))
    ended(ledger_engine, 3, Outcome.waiting(at(600), Reason.QUIET_HOURS))
    assert needs(ledger_engine) == []


def test_emails_held_for_a_decision_need_a_person_and_those_of_observe_mode_do_not(
    ledger_engine: Engine,
) -> None:
    ended(ledger_engine, 1, Outcome.held(Reason.OBSERVE))
    ended(ledger_engine, 8, Outcome.held(Reason.BEFORE_START))
    assert needs(ledger_engine) == []
    ended(ledger_engine, 2, Outcome.held(Reason.TOO_OLD))
    ended(ledger_engine, 3, Outcome.held(Reason.TOO_OLD))
    ended(ledger_engine, 4, Outcome.held(Reason.RESTORED))
    ended(ledger_engine, 5, Outcome(ActionState.UNKNOWN, Reason.HANDOVER_UNKNOWN))
    ended(ledger_engine, 6, Outcome(ActionState.FAILED, Reason.MAIL_REJECTED))
    keep(ledger_engine, arrival(7))
    [lookup] = claim(ledger_engine)
    with writing(ledger_engine) as connection:
        assert fail_lookup(connection, lookup, Reason.UNREADABLE, "a field")
    assert {need.code: need.label for need in needs(ledger_engine)} == {
        "restored": "1 email held after a restore",
        "held": "2 emails held",
        "unknown": "1 email unknown",
        "failed": "1 email failed",
        "lookups-failed": "1 lookup failed",
    }


@pytest.mark.parametrize(
    ("kinds", "called"),
    [
        (["webhook"], "1 webhook"),
        (["nexudus-note", "nexudus-note"], "2 notes"),
        (["nexudus-task"], "1 task"),
        (["email", "webhook"], "2 messages"),
        (["of-another-program"], "1 message"),
    ],
)
def test_what_needs_a_person_is_called_what_it_is(
    ledger_engine: Engine, kinds: list[str], called: str
) -> None:
    for number, kind in enumerate(kinds):
        held, unknown = Outcome.held(Reason.TOO_OLD), Outcome.unknown("cut off")
        for at_once, outcome in enumerate((held, unknown, Outcome.failed(Reason.MAIL_REJECTED))):
            ended(ledger_engine, 10 * number + at_once + 1, outcome, kind)
    found = {need.code: need for need in needs(ledger_engine)}
    assert {one.label for one in found.values()} == {
        f"{called} held",
        f"{called} unknown",
        f"{called} failed",
    }
    assert not any("email" in one.says for one in found.values())
    late = needs(ledger_engine, actions="the oldest was due at noon")[0]
    noun = called.partition(" ")[2].rstrip("s")
    assert late.label == f"overdue {noun}s"


def test_what_was_closed_does_not_count_for_what_the_others_are_called(
    ledger_engine: Engine,
) -> None:
    ended(ledger_engine, 1, Outcome.failed(Reason.DELIVERY_REFUSED), "webhook")
    with writing(ledger_engine) as connection:
        assert close_ended(connection, [1], "ana", NOW) == [1]
    ended(ledger_engine, 2, Outcome.failed(Reason.MAIL_REJECTED))
    assert [need.label for need in needs(ledger_engine)] == ["1 email failed"]


def test_an_email_that_was_sent_again_needs_a_person_only_if_that_one_does(
    ledger_engine: Engine,
) -> None:
    one = planned(ledger_engine)
    with writing(ledger_engine) as connection:
        assert settle_action(connection, one, Outcome.failed(Reason.MAIL_REJECTED), NOW)
        accept_person(connection, coworker(ANA), NOW)
    assert codes(ledger_engine) == ["failed"]
    with writing(ledger_engine) as connection:
        [again] = send_again(connection, [one.action_id], "ana", NOW, checked=False).values()
    assert codes(ledger_engine) == []
    [claimed] = claim_due(ledger_engine, NOW)
    assert claimed.action_id == again
    with writing(ledger_engine) as connection:
        assert settle_action(connection, claimed, Outcome.failed(Reason.MAIL_REJECTED), NOW)
    [need] = needs(ledger_engine)
    assert need.label == "1 email failed"
    assert (
        "`coursebell resend --failed mail-rejected --since 365d --dry-run` lists them" in need.says
    )


def test_a_failing_part_needs_a_person_and_mail_has_the_answer_of_the_server(
    ledger_engine: Engine,
) -> None:
    with writing(ledger_engine) as connection:
        note_outage(connection, "email", Reason.MAIL_LOGIN, "535 no", NOW, lambda _: 60.0)
    [mail, worker] = needs(ledger_engine, mail="no email can be sent", worker="no heartbeat yet")
    assert (mail.code, worker.code) == ("mail", "worker")
    assert "mail-login" in mail.says
    assert "535 no" in mail.says


@pytest.mark.engines(*BOTH)
def test_refusals_of_our_own_senders_need_a_person_and_those_of_strangers_do_not(
    ledger_engine: Engine,
) -> None:
    with writing(ledger_engine) as connection:
        count_refusals(connection, {Refusal.UNSIGNED: 9, Refusal.UNKNOWN_ROUTE: 9}, NOW)
    assert codes(ledger_engine) == []
    with writing(ledger_engine) as connection:
        count_refusals(connection, {Refusal.WRONG_SIGNATURE: 1}, NOW)
    assert codes(ledger_engine) == ["refused"]
    keep(ledger_engine, arrival(7, received_at=at(1)))
    assert codes(ledger_engine) == []


def test_an_overloaded_receiver_needs_a_person_until_a_delivery_is_accepted(
    ledger_engine: Engine,
) -> None:
    with writing(ledger_engine) as connection:
        count_refusals(connection, {Refusal.OVERLOADED: 5}, at(1))
    [need] = needs(ledger_engine)
    assert need.code == "refused"
    assert "too many requests arrived at once; if this lasts" in need.says
    keep(ledger_engine, arrival(7, received_at=at(2)))
    assert codes(ledger_engine) == []


def nexudus(engine: Engine, sign_in: SignIn | None = None, **environ: str) -> str:
    if sign_in is not None:
        with writing(engine) as connection:
            store_sign_in(connection, sign_in)
    settings = load_settings(environ) if environ else SETTINGS
    return readiness(settings, engine, at(60))["nexudus"]


def test_it_is_not_ready_before_the_first_sign_in_and_stays_ready_in_a_short_outage(
    ledger_engine: Engine,
) -> None:
    assert "was not reached yet" in nexudus(ledger_engine)
    assert "COURSEBELL_NEXUDUS_USERNAME" in nexudus(ledger_engine, COURSEBELL_ZONE="UTC")
    refused = SignIn(0, None, None, None, None, refused_until=at(30))
    assert "refuses our sign-in" in nexudus(ledger_engine, refused)
    assert nexudus(ledger_engine, SignIn(1, "a", "r", NOW, at(600))) == "ok"
    # The token has ended, and Nexudus does not answer just now.
    assert nexudus(ledger_engine, SignIn(1, "a", "r", NOW, at(30))) == "ok"
    refused = SignIn(1, "a", "r", NOW, at(30), refused_until=at(50))
    assert "refuses our sign-in" in nexudus(ledger_engine, refused)


@pytest.mark.parametrize("last_beat_s", [None, -9_000])
def test_processes_that_start_together_are_not_reported_dead_at_once(
    ledger_engine: Engine, last_beat_s: float | None
) -> None:
    if last_beat_s is not None:
        with writing(ledger_engine) as connection:
            record_heartbeat(connection, "worker", "one", at(last_beat_s))

    def worker(seconds: float) -> str:
        return readiness(SETTINGS, ledger_engine, at(seconds), started_at=NOW)["worker"]

    assert worker(10).startswith("starting")
    assert "start it with `coursebell worker`" in worker(61)
    assert (
        "start it with `coursebell worker`" in (readiness(SETTINGS, ledger_engine, NOW)["worker"])
    )
    with writing(ledger_engine) as connection:
        record_heartbeat(connection, "worker", "one", at(60))
    assert worker(61) == "ok"


def test_the_baseline_is_due_until_it_has_ended_unless_nexudus_refuses(
    ledger_engine: Engine,
) -> None:
    clock, wakeup = HandClock(NOW), Wakeup(None, SYSTEM_CLOCK)
    ticking = Scheduler(ledger_engine, wakeup, clock, check_every_s=300)

    def asked(ticks: int = BASELINE_EVERY) -> int:
        return sum(SOURCE_CHECK in ticking.tick() for _ in range(ticks))

    try:
        assert asked(1) == 1
        assert asked() == 1
        check_of(ledger_engine, Reason.NEXUDUS_DOWN)
        assert asked() == 1
        check_of(ledger_engine, Reason.NEXUDUS_REFUSED)
        assert asked() == 0
        check_of(ledger_engine, None)
        assert asked() == 0
    finally:
        wakeup.close()


def check_of(engine: Engine, reason: Reason | None) -> None:
    """Let the baseline of each kind of record fail for a reason, or end."""
    for entity in FOLLOWED:
        with writing(engine) as connection:
            run = open_run(connection, [CheckKind.BASELINE], entity)
            run = run or begin_check(connection, CheckKind.BASELINE, entity, NOW)
            if reason is None:
                end_check(connection, run.check_id, NOW)
            else:
                fail_check(connection, run.check_id, reason, "an error")


@pytest.fixture
def here(tmp_path: Path) -> dict[str, str]:
    """Give the settings of a machine where all processes are alive and Nexudus let us in."""
    url = sqlite_copy(tmp_path / "ledger.db")
    engine, now = open_engine(url), SYSTEM_CLOCK.now()
    with writing(engine) as connection:
        begin_with(connection, Mode.SENDING, now, SYSTEM_CLOCK.new_id())
        for kind in ("worker", "clock", NO_BROKER):
            record_heartbeat(connection, kind, "one", now)
        store_sign_in(connection, SignIn(1, "a", "r", now, now + timedelta(hours=1)))
    engine.dispose()
    return {"COURSEBELL_DATA_DIR": str(tmp_path), "COURSEBELL_DATABASE_URL": url}


def run_status(here: dict[str, str], *words: str) -> Result:
    return CliRunner().invoke(status, words, env=here)


def test_status_begins_with_what_needs_a_person_and_its_exit_code_says_so(
    here: dict[str, str],
) -> None:
    well, plain = run_status(here), run_status(here, "--json")
    assert (well.exit_code, plain.exit_code) == (0, 0)
    assert well.output.startswith("Nothing needs attention.\nsending: 0 sent")
    assert json.loads(plain.output)["needs_attention"] == []
    engine = open_engine(here["COURSEBELL_DATABASE_URL"])
    ended(engine, 1, Outcome.held(Reason.FLOOD_GUARD))
    ended(engine, 2, Outcome(ActionState.UNKNOWN, Reason.HANDOVER_UNKNOWN))
    engine.dispose()
    ill, plain = run_status(here), run_status(here, "--json")
    assert (ill.exit_code, plain.exit_code) == (1, 1)
    assert ill.output.startswith("Needs attention: 1 email held; 1 email unknown.\nsending: 0 sent")
    assert "\n! 1 email held (1 flood-guard): `coursebell held` lists them\n" in ill.output
    assert "\n  1 email held, flood-guard: " in ill.output
    ended(engine, 9, Outcome.skipped(Reason.KIND_OFF))
    rules = here["COURSEBELL_RULES"] = str(Path(here["COURSEBELL_DATA_DIR"]) / "rules.yaml")
    note = "  - {name: note, event: enrolled, action: nexudus-note, text: Welcome}\n"
    Path(rules).write_text(f"version: 1\nrules:\n{note}", encoding="utf-8")
    assert "\n  1 message skipped, kind-off: " in run_status(here).output
    found: list[dict[str, Any]] = json.loads(plain.output)["needs_attention"]
    assert [need["code"] for need in found] == ["held", "unknown"]
    web = make_web(load_settings(here))
    answer = web.app.test_client().get("/readyz")
    web.close()
    assert answer.status_code == 200
    assert json.loads(answer.text)["attention"] == ["held", "unknown"]
