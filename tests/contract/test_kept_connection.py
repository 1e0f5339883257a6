"""Emails sent in a row over one connection: how it is used, when not, and what its loss costs."""

from contextlib import suppress
from dataclasses import replace

import pytest

from ledger.engine import Engine
from schemas.errors import ChannelUnavailable, CoursebellError, DeliveryRefused, DeliveryUnknown
from schemas.reasons import Reason
from schemas.settings import MailAddress
from tests.contract.study_rig import SHIPPED, Space, rules_of
from tests.contract.test_mailer_faults import ANA, SENDER, SHORT_S, VERY_LONG, an_email, fault
from tests.doubles.mail_server import Mailbox, mail_server, server_at
from tests.doubles.scripted_smtp import HANG_UP, SILENCE, ScriptedSmtp
from workers.actions.base import Checkpoints
from workers.actions.email.action import EmailAction
from workers.actions.email.connection import SmtpTimeouts
from workers.actions.email.kept_connection import ReuseLimits
from workers.actions.email.letter import Letters
from workers.actions.email.letterhead import Letterhead
from workers.actions.email.smtp import Mailer
from workers.deliver.claim import perform_batch
from workers.leases import LeaseLost

LOGIN = {"EHLO": b"250-scripted\r\n250 AUTH PLAIN", "AUTH": b"235 fine"}
RITA = MailAddress("Rita", SENDER)
EMAIL = ["MAIL", "RCPT", "DATA"]


def mailer_for(server: ScriptedSmtp, reuse: ReuseLimits | None = None) -> Mailer:
    return Mailer(server_at(server.port, username="rita", password="open sesame"), reuse=reuse)


def send(mailer: Mailer, *, to: str = ANA, checkpoints: Checkpoints | None = None) -> str:
    return mailer.deliver(
        an_email(), sender=SENDER, recipient=to, checkpoints=checkpoints or Checkpoints()
    )


def verbs(server: ScriptedSmtp) -> list[str]:
    return [command.split()[0].upper() for command in server.commands]


def test_emails_in_a_row_share_a_connection_and_a_login_and_the_last_ends_it() -> None:
    with ScriptedSmtp(LOGIN) as server:
        mailer = mailer_for(server)
        with mailer.in_a_row():
            for _ in range(3):
                send(mailer)
        opened = ["CONNECTED", "EHLO", "AUTH"]
        assert verbs(server) == [*opened, *EMAIL, "RSET", *EMAIL, "RSET", *EMAIL, "QUIT"]
    assert len(server.texts) == 3


def test_outside_of_a_row_each_email_has_a_connection_of_its_own() -> None:
    with ScriptedSmtp(LOGIN) as server:
        mailer = mailer_for(server)
        with mailer.in_a_row(), mailer.in_a_row():
            send(mailer)
        send(mailer)
        assert verbs(server) == ["CONNECTED", "EHLO", "AUTH", *EMAIL, "QUIT"] * 2


@pytest.mark.parametrize(
    ("limits", "connections"),
    [
        (ReuseLimits(), 1),
        (ReuseLimits(emails=2), 2),
        (ReuseLimits(emails=1), 4),
        (ReuseLimits(idle_s=0), 4),
        (ReuseLimits(age_s=0), 4),
    ],
)
def test_a_connection_has_limits_and_is_ended_politely_when_it_reaches_one(
    limits: ReuseLimits, connections: int
) -> None:
    with ScriptedSmtp(LOGIN) as server:
        mailer = mailer_for(server, limits)
        with mailer.in_a_row():
            for _ in range(4):
                send(mailer)
        assert verbs(server).count("CONNECTED") == verbs(server).count("QUIT") == connections


def test_a_connection_that_the_server_closed_meanwhile_is_opened_again() -> None:
    with ScriptedSmtp(LOGIN) as server:
        mailer = mailer_for(server)
        with mailer.in_a_row():
            send(mailer)
            server.hang_up()
            send(mailer)
    assert verbs(server).count("CONNECTED") == len(server.texts) == 2


@pytest.mark.parametrize("step", ["RSET 1", "MAIL 2", "RCPT 2", "DATA 2"])
@pytest.mark.parametrize("answer", [HANG_UP, b"421 4.4.2 idle for too long"])
def test_a_kept_connection_that_is_lost_before_the_text_costs_the_email_nothing(
    step: str, answer: bytes
) -> None:
    committed: list[None] = []
    with ScriptedSmtp({**LOGIN, step: answer}) as server:
        mailer = mailer_for(server)
        with mailer.in_a_row():
            for _ in range(3):
                send(mailer, checkpoints=Checkpoints(before_commit=lambda: committed.append(None)))
    assert verbs(server).count("CONNECTED") == 2
    assert len(server.texts) == len(committed) == 3


@pytest.mark.parametrize("answer", [b"451 4.7.0 too many in this session", b"530 log in again"])
def test_an_answer_to_a_kept_connection_about_all_emails_is_asked_for_on_a_new_one(
    answer: bytes,
) -> None:
    with ScriptedSmtp({**LOGIN, "MAIL 2": answer}) as server:
        mailer = mailer_for(server)
        with mailer.in_a_row():
            send(mailer)
            send(mailer)
    assert len(server.texts) == 2
    with ScriptedSmtp({**LOGIN, "MAIL 2": answer, "MAIL 3": answer}) as server:
        mailer = mailer_for(server)
        with mailer.in_a_row():
            send(mailer)
            with pytest.raises(ChannelUnavailable):
                send(mailer)
    assert len(server.texts) == 1


@pytest.mark.parametrize(
    ("step", "answer", "wanted"),
    [
        ("DOT 2", HANG_UP, DeliveryUnknown),
        ("DOT 2", b"250-2.0.0 queued\r\n" + HANG_UP, DeliveryUnknown),
        ("BODY 2", HANG_UP, Reason.MAIL_INTERRUPTED),
    ],
)
def test_from_the_text_on_nothing_is_repeated_on_a_new_connection(
    step: str, answer: bytes, wanted: type[CoursebellError] | Reason
) -> None:
    with ScriptedSmtp({**LOGIN, step: answer}) as server:
        mailer = mailer_for(server)
        with mailer.in_a_row():
            send(mailer)
            with pytest.raises(CoursebellError) as raised:
                mailer.deliver(an_email(VERY_LONG), sender=SENDER, recipient=ANA)
        assert fault(raised.value) is wanted
        assert verbs(server).count("CONNECTED") == 1
    assert len(server.texts) == 1 + step.startswith("DOT")


def test_a_refused_email_keeps_the_connection_and_leaves_nothing_for_the_next() -> None:
    with ScriptedSmtp({**LOGIN, "RCPT 2": b"550 5.1.1 no such person"}) as server:
        mailer = mailer_for(server)
        with mailer.in_a_row():
            send(mailer)
            with pytest.raises(DeliveryRefused):
                send(mailer)
            send(mailer)
        assert verbs(server).count("CONNECTED") == 1
        assert verbs(server)[-6:] == ["RCPT", "RSET", *EMAIL, "QUIT"]


def test_a_lease_that_is_lost_before_a_kept_connection_is_used_ends_it() -> None:
    def lose() -> None:
        raise LeaseLost

    with ScriptedSmtp(LOGIN) as server:
        mailer = mailer_for(server)
        with mailer.in_a_row():
            send(mailer)
            with suppress(LeaseLost):
                send(mailer, checkpoints=Checkpoints(before_step=lose))
            send(mailer)
        assert verbs(server).count("RSET") == 0
    assert verbs(server).count("CONNECTED") == len(server.texts) == 2


def test_a_kept_connection_that_is_silent_uses_up_the_time_of_the_email() -> None:
    timeouts = SmtpTimeouts(answer_s=30, session_s=SHORT_S)
    with ScriptedSmtp({"RSET": SILENCE}) as server:
        mailer = Mailer(server_at(server.port), timeouts=timeouts)
        with mailer.in_a_row():
            send(mailer)
            with pytest.raises(ChannelUnavailable, match="did not answer in time"):
                send(mailer)
    assert verbs(server).count("CONNECTED") == 1


def test_an_address_outside_ascii_leaves_nothing_for_the_next_email() -> None:
    mailbox = Mailbox()
    with mail_server(mailbox, enable_SMTPUTF8=True) as port:
        mailer = Mailer(server_at(port))
        with mailer.in_a_row():
            for to in ("añá@people.example", ANA, "añá@people.example"):
                send(mailer, to=to)
    assert [to for _, to, _ in mailbox.arrived] == ["añá@people.example", ANA, "añá@people.example"]
    assert len(mailbox.connections) == 1


@pytest.mark.engines("sqlite")
def test_a_worker_sends_what_is_due_over_one_connection_and_then_closes_it(
    ledger_engine: Engine,
) -> None:
    space = Space(ledger_engine, rules_of(SHIPPED))
    for number in (1, 2, 3):
        space.enrol(number)
    space.look_up()
    tools = space.delivery
    with ScriptedSmtp(LOGIN) as server:
        head = Letterhead(RITA, None, None, None, tools.setup.zone)
        email = EmailAction(Letters(), mailer_for(server), head)
        setup = replace(tools.setup, actions={email.kind: email})
        assert perform_batch(replace(tools, setup=setup), space.lend) == 3
        assert verbs(server).count("CONNECTED") == 1
        assert verbs(server)[-1] == "QUIT"
    assert len(server.texts) == 3
