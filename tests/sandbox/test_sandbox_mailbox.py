"""The mailbox over real SMTP, well behaved and not."""

import smtplib
from email.message import EmailMessage

import pytest

from tests.sandbox.sandbox_rig import Running


def _letter(subject: str = "Grüße 🔔") -> EmailMessage:
    letter = EmailMessage()
    letter["From"] = "Werkhof <courses@example.org>"
    letter["To"] = "Zoë Brandt <zoe.brandt@example.org>"
    letter["Subject"] = subject
    letter["Message-ID"] = "<one@example.org>"
    letter["List-Unsubscribe"] = "<https://example.org/u/1>"
    letter.set_content("Hello Zoë\n")
    letter.add_alternative("<p>Hello <b>Zoë</b> <script>1</script></p>\n", subtype="html")
    return letter


def _send(sandbox: Running, letter: EmailMessage | None = None) -> None:
    with smtplib.SMTP("127.0.0.1", sandbox.smtp_port, timeout=10) as post_office:
        post_office.send_message(letter or _letter())


def test_an_email_is_kept_with_all_its_parts(silent_sandbox: Running) -> None:
    _send(silent_sandbox)
    [mail] = silent_sandbox.get("/sandbox/mails").json()
    assert mail["number"] == 1
    assert mail["subject"] == "Grüße 🔔"
    assert mail["from"] == "Werkhof <courses@example.org>"
    assert "zoe.brandt@example.org" in mail["to"]
    assert mail["message_id"] == "<one@example.org>"
    assert mail["text"] == "Hello Zoë\n"
    assert mail["html"] == "<p>Hello <b>Zoë</b> <script>1</script></p>\n"
    assert mail["headers"]["List-Unsubscribe"] == "<https://example.org/u/1>"
    assert mail["envelope_to"] == ["zoe.brandt@example.org"]


def test_the_html_of_an_email_is_shown_in_a_sandbox(silent_sandbox: Running) -> None:
    _send(silent_sandbox)
    answer = silent_sandbox.get("/sandbox/mails/1.html")
    policy = answer.headers["Content-Security-Policy"]
    assert answer.text == "<p>Hello <b>Zoë</b> <script>1</script></p>\n"
    assert policy.startswith("sandbox ")
    assert "default-src 'none'" in policy
    assert "allow-scripts" not in policy
    assert 'sandbox="' in silent_sandbox.get("/mailbox/1").text
    assert silent_sandbox.get("/sandbox/mails/2.html").status_code == 404


def test_emails_can_be_deferred_a_number_of_times(silent_sandbox: Running) -> None:
    silent_sandbox.post("/sandbox/mailbox", answer="later", times=2)
    for _ in range(2):
        with pytest.raises(smtplib.SMTPDataError) as refusal:
            _send(silent_sandbox)
        assert refusal.value.smtp_code == 451
    _send(silent_sandbox)
    assert [mail["number"] for mail in silent_sandbox.get("/sandbox/mails").json()] == [1]


def test_a_recipient_can_be_refused(silent_sandbox: Running) -> None:
    silent_sandbox.post("/sandbox/mailbox", answer="refuse")
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refusal:
        _send(silent_sandbox)
    [(code, _)] = refusal.value.recipients.values()
    assert code == 550
    assert silent_sandbox.get("/sandbox/mails").json() == []


@pytest.mark.parametrize(("keep", "kept"), [(True, 1), (False, 0)])
def test_the_connection_can_be_closed_after_the_body(
    silent_sandbox: Running,
    keep: bool,  # noqa: FBT001 - a column of the table above
    kept: int,
) -> None:
    silent_sandbox.post("/sandbox/mailbox", answer="drop-after-body", keep=keep)
    with pytest.raises(smtplib.SMTPServerDisconnected):
        _send(silent_sandbox)
    assert len(silent_sandbox.get("/sandbox/mails").json()) == kept


def test_the_connection_can_be_closed_before_the_body(silent_sandbox: Running) -> None:
    silent_sandbox.post("/sandbox/mailbox", answer="drop-at-data")
    with pytest.raises(smtplib.SMTPServerDisconnected):
        _send(silent_sandbox)
    assert silent_sandbox.get("/sandbox/mails").json() == []
    _send(silent_sandbox)


def test_the_newest_five_hundred_are_kept(silent_sandbox: Running) -> None:
    with smtplib.SMTP("127.0.0.1", silent_sandbox.smtp_port, timeout=10) as post_office:
        for number in range(1, 503):
            body = f"Subject: {number}\r\n\r\n."
            post_office.sendmail("a@example.org", "b@example.org", body)
    mails = silent_sandbox.get("/sandbox/mails").json()
    assert [mails[0]["subject"], mails[-1]["subject"], len(mails)] == ["3", "502", 500]
    silent_sandbox.web.delete(silent_sandbox.addresses["api"] + "/sandbox/mails", timeout=10)
    assert silent_sandbox.get("/sandbox/mails").json() == []
