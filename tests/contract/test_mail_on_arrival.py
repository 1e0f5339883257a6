"""The headers that mail programs and providers act on, as they arrive at a mail server."""

from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default

import pytest

from schemas.rules import Stream
from schemas.settings import MailAddress
from tests.doubles.mail_server import Mailbox, mail_server, server_at
from tests.emails.people import ORDINARY
from workers.actions.email.letter import Letters
from workers.actions.email.message import StreamHead, make_message
from workers.actions.email.smtp import Mailer

SENDER = MailAddress("Harbour Works", "kurse@bücher.example")
REPLIES = MailAddress("Rita Okafor", "rita@harbour.example")
ANA = "ana@people.example"
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
ONE_CLICK = f"https://courses.harbour.example/u/{'a' * 52}.{'b' * 43}"
KEY = "email:a-rule:7:12"


def an_email(head: StreamHead, key: str = KEY) -> EmailMessage:
    return make_message(
        Letters().compose(ORDINARY[head.template]),
        sender=SENDER,
        reply_to=REPLIES,
        to_name="Ana López",
        to_address=ANA,
        action_key=key,
        made_at=NOON,
        stream=head,
    )


def arrived(*messages: EmailMessage) -> list[EmailMessage]:
    """Return emails as a mail server received them."""
    mailbox = Mailbox()
    with mail_server(mailbox) as port:
        mailer = Mailer(server_at(port))
        for message in messages:
            mailer.deliver(message, sender=SENDER.address, recipient=ANA)
    return [message_from_bytes(content, policy=default) for _, _, content in mailbox.arrived]


@pytest.mark.parametrize(
    ("head", "list_id", "feedback_id"),
    [
        (
            StreamHead(Stream.REMINDER, "stalled", ONE_CLICK),
            "Course reminders <reminder.coursebell.xn--bcher-kva.example>",
            "stalled:reminder:email:coursebell",
        ),
        (
            StreamHead(Stream.SERVICE, "lesson-finished", ONE_CLICK),
            "Course emails <service.coursebell.xn--bcher-kva.example>",
            "lesson-finished:service:email:coursebell",
        ),
    ],
)
def test_what_mail_programs_act_on_arrives_once_and_on_one_line(
    head: StreamHead, list_id: str, feedback_id: str
) -> None:
    (email,) = arrived(an_email(head))
    wanted = {
        "List-Id": list_id,
        "Feedback-ID": feedback_id,
        "List-Unsubscribe": f"<{ONE_CLICK}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        "Auto-Submitted": "auto-generated",
        "Reply-To": "Rita Okafor <rita@harbour.example>",
    }
    assert {name: email.get_all(name) for name in wanted} == {
        name: [value] for name, value in wanted.items()
    }


def test_an_email_that_comes_once_has_no_button_to_unsubscribe() -> None:
    (email,) = arrived(an_email(StreamHead(Stream.SERVICE, "welcome")))
    assert "List-Unsubscribe" not in email
    assert "List-Unsubscribe-Post" not in email
    assert email["List-Id"] == "Course emails <service.coursebell.xn--bcher-kva.example>"


def test_each_attempt_at_an_email_arrives_with_the_same_message_id() -> None:
    head = StreamHead(Stream.SERVICE, "welcome")
    first, again, other = arrived(an_email(head), an_email(head), an_email(head, "email:other:7"))
    assert first["Message-ID"] == again["Message-ID"] != other["Message-ID"]
    assert first["Message-ID"].endswith("@xn--bcher-kva.example>")
