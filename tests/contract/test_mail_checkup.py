"""What `coursebell doctor` says of the mail server, step by step, over real sockets."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from schemas.checkup import Check, Verdict
from schemas.settings import MailAddress, Settings, load_settings
from tests.contract.source_rig import HandClock
from tests.doubles.mail_server import server_at
from tests.doubles.scripted_smtp import HANG_UP, ScriptedSmtp
from workers.actions.email.checkup import mail_checks

NOW = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)
ANA = "ana@people.example"


def settings_for(
    server: ScriptedSmtp | None, username: str | None = None, password: str | None = None
) -> Settings:
    settings = load_settings({})
    if server is None:
        return settings
    sender = MailAddress("Rita", "rita@harbour.example")
    return replace(
        settings,
        smtp=server_at(server.port, username=username, password=password),
        mail_from=sender,
        public_url="https://courses.harbour.example",
    )


def checks(settings: Settings, address: str | None = ANA, *, must_work: bool = True) -> list[Check]:
    return list(mail_checks(settings, address, HandClock(NOW), must_work=must_work))


def test_without_faults_each_step_has_its_answer_and_one_email_arrives() -> None:
    with ScriptedSmtp() as server:
        found = checks(settings_for(server))
    assert [(one.name, one.verdict) for one in found] == [
        (name, Verdict.OK)
        for name in (
            *("connection", "introduction", "sender", "recipient", "text", "hand-over"),
            *("email preferences", "test email"),
        )
    ]
    assert found[5].found == "250 2.0.0 queued as SCRIPTED"
    assert len(server.texts) == 1
    assert b"test email you asked for" in server.texts[0]


def test_without_an_address_nothing_is_sent_and_the_report_says_how() -> None:
    with ScriptedSmtp() as server:
        found = checks(settings_for(server), None)
    assert found[-1].verdict is Verdict.NOTE
    assert "--mail ADDRESS" in found[-1].found
    assert not any(command.upper().startswith("MAIL") for command in server.commands)


@pytest.mark.parametrize(
    ("step", "answer", "name"),
    [
        ("GREETING", b"554 5.3.2 no service here", "connection"),
        ("GREETING", HANG_UP, "connection"),
        ("AUTH", b"535 5.7.8 wrong", "login"),
        ("MAIL", b"550 5.7.1 not you", "sender"),
        ("RCPT", b"550 5.1.1 no such person", "recipient"),
        ("RCPT", HANG_UP, "recipient"),
        ("DATA", b"450 4.3.0 later", "text"),
        ("DOT", b"550 5.7.1 looks like spam", "hand-over"),
        ("DOT", HANG_UP, "hand-over"),
    ],
)
def test_the_step_that_fails_is_the_one_problem_and_says_what_to_do(
    step: str, answer: bytes, name: str
) -> None:
    script = {"EHLO": b"250-scripted\r\n250 AUTH PLAIN", "AUTH": b"235 fine", step: answer}
    with ScriptedSmtp(script) as server:
        found = checks(settings_for(server, username="rita", password="open sesame"))
    [problem] = [one for one in found if one.verdict is Verdict.PROBLEM]
    assert (problem.name, problem is found[-1]) == (name, True)
    assert problem.fix
    assert answer == HANG_UP or answer.decode() in problem.found
    assert "@" not in str(found)
    assert "sesame" not in str(found)


def test_a_missing_mail_server_is_a_problem_only_in_mode_sending() -> None:
    [problem] = checks(settings_for(None), None)
    assert problem.verdict is Verdict.PROBLEM
    assert "COURSEBELL_SMTP_URL and COURSEBELL_MAIL_FROM" in problem.found
    [note] = checks(settings_for(None), None, must_work=False)
    assert note.verdict is Verdict.NOTE


def test_an_unusable_address_is_a_problem_of_the_recipient() -> None:
    with ScriptedSmtp() as server:
        found = checks(settings_for(server), "nobody")
    assert found[-1].name == "recipient"
    assert server.commands == []


@pytest.mark.parametrize(
    ("public_url", "nexudus_url", "reached"),
    [
        ("https://courses.harbour.example", "https://spaces.nexudus.com", True),
        ("https://courses.harbour.example/é", "https://spaces.nexudus.com", False),
        ("http://courses.harbour.example", "https://spaces.nexudus.com", False),
        ("http://127.0.0.1:8000", "https://spaces.nexudus.com", False),
        ("http://127.0.0.1:8000", "http://127.0.0.1:9000", True),  # the demo
        ("http://courses.harbour.example", "http://127.0.0.1:9000", False),
    ],
)
def test_emails_without_a_link_to_stop_them_are_a_problem_once_they_are_sent(
    public_url: str,
    nexudus_url: str,
    reached: bool,  # noqa: FBT001 - a column of the table
) -> None:
    with ScriptedSmtp() as server:
        settings = replace(settings_for(server), public_url=public_url, nexudus_url=nexudus_url)
        verdicts = [
            next(one for one in checks(settings, None, must_work=sends) if "prefer" in one.name)
            for sends in (True, False)
        ]
    wanted = [Verdict.OK] * 2 if reached else [Verdict.PROBLEM, Verdict.NOTE]
    assert [one.verdict for one in verdicts] == wanted
