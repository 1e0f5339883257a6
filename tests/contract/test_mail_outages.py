"""Outages of email: they use up no attempts, one worker retries, and how they end."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from ledger.engine import Engine, reading, writing
from ledger.heartbeats import take_lease
from ledger.outages import OUTAGE_REASONS, Outage, note_outage, outages_now, retry_outages_now
from ledger.tables import attempts
from schemas.errors import ChannelUnavailable, DeliveryUnavailable
from schemas.reasons import EXPLANATIONS, Reason
from schemas.settings import load_settings
from service.readiness import readiness
from tests.builders.records import NOON
from tests.contract.ledger_rig import BOTH, rows
from tests.contract.study_rig import SHIPPED, Space, rules_of
from tests.servers.ready_ledgers import quick_engine, sqlite_copy
from workers.deliver.claim import perform_batch

pytestmark = pytest.mark.engines("sqlite")  # see conftest.py

PATIENT = SHIPPED.replace("quiet_hours: 20:00-08:00", "quiet_hours: none").replace(
    "stale_after: 48h", "stale_after: none"
)
LOGIN = ChannelUnavailable(
    Reason.MAIL_LOGIN, "refused; see COURSEBELL_SMTP_URL", answer="535 5.7.8 no"
)
AWAY = ChannelUnavailable(Reason.MAIL_UNREACHABLE, "away", answer="connection refused")
BROKE = ChannelUnavailable(Reason.MAIL_INTERRUPTED, "the connection was lost", answer="reset")


@pytest.fixture
def space(ledger_engine: Engine) -> Space:
    return Space(ledger_engine, rules_of(PATIENT))


def outage(space: Space) -> Outage | None:
    with reading(space.engine) as connection:
        return outages_now(connection).get("email")


def test_a_fault_of_server_or_settings_holds_all_email_and_uses_up_no_attempt(space: Space) -> None:
    space.mailer.fail_next(*(LOGIN for _ in range(9)))
    for number in range(1, 6):
        space.enrol(number)
    space.work()
    assert space.mailer.asked == 1
    assert sorted(set(space.outcomes()), key=str) == [
        ("planned", None),
        ("waiting", Reason.MAIL_LOGIN),
    ]
    for _ in range(8):
        space.later(hours=7)
    assert (space.mailer.asked, space.mailer.caught) == (9, [])
    space.later(hours=7)
    assert len(space.mailer.caught) == 5
    assert outage(space) is None


def test_every_such_fault_holds_all_email(tmp_path: Path) -> None:
    for reason in sorted(OUTAGE_REASONS):
        engine = quick_engine(sqlite_copy(tmp_path / f"{reason}.db"))
        space = Space(engine, rules_of(PATIENT))
        stopped = ChannelUnavailable(reason, "a sentence", answer="a short answer")
        space.mailer.fail_next(stopped)
        space.enrol(1)
        space.enrol(2)
        space.work()
        assert space.mailer.asked == 1, reason
        assert sorted(set(space.outcomes()), key=str) == [("planned", None), ("waiting", reason)]
        space.later(hours=7)
        assert len(space.mailer.caught) == 2, reason
        assert outage(space) is None
        engine.dispose()


def test_every_outage_reason_has_a_sentence_of_its_own() -> None:
    sentences = {EXPLANATIONS[reason].sentence for reason in OUTAGE_REASONS}
    assert len(sentences) == len(OUTAGE_REASONS) > 10


def test_during_an_outage_one_email_is_tried_at_growing_intervals(space: Space) -> None:
    space.mailer.fail_next(*(AWAY for _ in range(4)))
    for number in (1, 2, 3):
        space.enrol(number)
    space.work()
    waits = []
    for _ in range(3):
        found = outage(space)
        assert found is not None
        assert found.since == NOON
        waits.append((found.until - space.clock.now()).total_seconds())
        space.at(found.until - timedelta(seconds=1))
        space.at(found.until)
    assert waits == [30, 60, 120]
    assert space.mailer.asked == 4
    tried = {row.action_id for row in rows(space.engine, attempts)}
    assert len(tried) == 3


def test_a_failure_that_was_already_under_way_does_not_move_the_next_try(space: Space) -> None:
    def fail(moment: datetime) -> None:
        with writing(space.engine) as connection:
            note_outage(connection, "email", Reason.MAIL_BUSY, "", moment, lambda tries: 60 * tries)

    fail(NOON)
    fail(NOON + timedelta(seconds=30))
    found = outage(space)
    assert found is not None
    assert (found.until, found.tries) == (NOON + timedelta(seconds=60), 1)


def test_emails_that_wait_for_the_end_of_an_outage_are_not_overdue(space: Space) -> None:
    def ready() -> dict[str, str]:
        return readiness(load_settings({}), space.engine, space.clock.now())

    space.mailer.fail_next(*(LOGIN for _ in range(9)))
    for number in (1, 2, 3):
        space.enrol(number)
    space.work()
    space.later(minutes=20)
    parts = ready()
    assert parts["mail"].startswith("no email can be sent since")
    assert parts["actions"] == "ok"
    space.clock.move(7 * 3600)  # no worker makes the next try
    assert ready()["actions"].startswith("the oldest was due at")


def test_only_one_worker_tries_during_an_outage(space: Space) -> None:
    space.mailer.fail_next(AWAY)
    for number in (1, 2):
        space.enrol(number)
    space.work()
    space.clock.move(3600)
    with writing(space.engine) as connection:
        take_lease(connection, "outage.probe", "another worker", space.clock.now(), lease_s=60)
    assert perform_batch(space.delivery, space.lend) == 0
    assert space.mailer.asked == 1
    space.later(minutes=2)
    assert len(space.mailer.caught) == 2


def test_an_answer_about_one_email_ends_an_outage_and_delays_no_other(space: Space) -> None:
    space.mailer.answer("person1@example.org", "550 5.1.1 no such person")
    space.mailer.fail_next(AWAY)
    for number in (1, 2, 3):
        space.enrol(number)
    space.work()
    space.later(hours=1)
    assert outage(space) is None
    assert len(space.mailer.caught) == 2
    assert sorted(space.outcomes(), key=str).count(("failed", "mail-rejected")) == 1


def test_an_email_deferred_six_times_fails_however_many_outages_were_in_between(
    space: Space,
) -> None:
    later = DeliveryUnavailable("451 later")
    space.mailer.fail_next(later, LOGIN, LOGIN, LOGIN, later, later, later, later, AWAY, later)
    space.enrol(1)
    space.work()
    states = []
    for _ in range(9):
        space.later(hours=20)
        states.append(space.outcomes()[0][0])
    assert states == ["waiting"] * 8 + ["failed"]


@pytest.mark.engines(*BOTH)
def test_an_email_that_breaks_the_connection_while_others_are_sent_is_at_fault(
    space: Space,
) -> None:
    space.mailer.fail_on("person1@example.org", BROKE)
    space.enrol(1)
    space.work()
    for _ in range(9):
        space.later(hours=1)
    assert space.outcomes() == [("waiting", "mail-interrupted")]  # as long as none goes
    space.enrol(2)
    space.later(hours=1)
    space.later(hours=1)
    assert sorted(space.outcomes()) == [("done", None), ("failed", "mail-rejected")]
    assert outage(space) is None


def test_one_error_with_the_answer_is_logged_and_then_that_it_is_over(space: Space) -> None:
    space.mailer.fail_next(LOGIN, LOGIN, LOGIN)
    space.enrol(1)
    with capture_logs() as logs:
        space.work()
        for _ in range(4):
            space.later(hours=2)
    errors = [line for line in logs if line["log_level"] == "error"]
    assert [line["event"] for line in errors] == ["mail.stopped"]
    assert errors[0]["reason"] == "mail-login"
    assert "535 5.7.8 no" in errors[0]["error"]
    assert [line["event"] for line in logs].count("mail.restored") == 1
    assert "@" not in str(logs)


def test_workers_try_at_once_when_something_may_have_been_fixed(space: Space) -> None:
    space.mailer.fail_next(LOGIN)
    space.enrol(1)
    space.work()
    space.later(seconds=1)
    assert space.mailer.asked == 1
    with writing(space.engine) as connection:
        retry_outages_now(connection, space.clock.now())
    space.work()
    assert len(space.mailer.caught) == 1
