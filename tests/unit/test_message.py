"""The message as bytes, as a mail server and a mail program read it."""

from datetime import UTC, datetime
from email import message_from_bytes
from email.header import decode_header, make_header
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, compat32, default
from email.utils import getaddresses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import DeliveryRefused
from schemas.rules import Stream
from schemas.settings import MailAddress
from schemas.text import cut_at_word, one_line
from workers.actions.email.answers import EnvelopeAddress
from workers.actions.email.letter import Letter
from workers.actions.email.message import (
    Attachment,
    Named,
    StreamHead,
    check_head,
    make_message,
    message_id,
    read_message,
)
from workers.actions.email.smtp import wire_form

NOON = datetime(2026, 3, 3, 12, tzinfo=UTC)
RITA = MailAddress("Rita, Harbour Works", "courses@harbour.example")
ENCODED_NEWLINE = "=?utf-8?q?x=0ABcc:_evil@example.org?="
HEBREW = "\u05d9\u05e1\u05d5\u05d3\u05d5\u05ea \u05d4\u05de\u05d9\u05de\u05d5\u05df"
AWKWARD = [
    "Freelance Finance",
    ENCODED_NEWLINE,
    "=\u202e?utf-8?q?x=0ABcc:_evil@example.org?=",
    "one\r\nBcc: evil@example.org",
    "one\nBcc: evil@example.org\n\nbody",
    "one\rBcc: evil@example.org",
    "nul\x00byte\x0b\x0c\x1c\x85\u2028end",
    "long title " * 30,
    "x" * 300,
    "\u00e9" * 300,
    "Zoë, “the great” <zoe@example.org> (really); \\ \" 'x' [y]: @",
    "\U0001f469\u200d\U0001f4bb\U0001f389 party \U0001f389" * 9,
    HEBREW,
    f"{HEBREW} " * 12,
    f"\u202e{HEBREW}",
    '"quoted"',
    "a, b",
    "Ana",
]


def a_letter(subject: str = "You're in: Freelance Finance") -> Letter:
    return Letter(subject, "line", "Hello,\n\n.\nFrom here\n", "<p>Hello é</p>\n", "w")


def a_message(  # noqa: PLR0913 - each test changes one
    *,
    subject: str = "You're in: Freelance Finance",
    to_name: str = "Ana Lopez",
    to_address: str = "ana@people.example",
    sender: MailAddress = RITA,
    reply_to: MailAddress | None = None,
    action_key: str = "email:enrolled:12:7",
) -> EmailMessage:
    return make_message(
        a_letter(subject),
        sender=sender,
        reply_to=reply_to,
        to_name=to_name,
        to_address=to_address,
        action_key=action_key,
        made_at=NOON,
    )


def head_lines(content: bytes) -> list[bytes]:
    return content.partition(b"\r\n\r\n")[0].split(b"\r\n")


def read_name(content: bytes, header: str) -> list[tuple[str, str]]:
    value = str(message_from_bytes(content, policy=compat32)[header])
    parts = getaddresses(["".join(value.splitlines())])
    return [(str(make_header(decode_header(name))), address) for name, address in parts]


def test_a_message_has_the_headers_we_promise_and_no_others() -> None:
    content = a_message(reply_to=MailAddress("", "rita@harbour.example")).as_bytes()
    names = [line.partition(b":")[0] for line in head_lines(content) if line[:1] != b" "]
    assert names == [
        *(b"From", b"To", b"Reply-To", b"Subject", b"Date", b"Message-ID"),
        *(b"Auto-Submitted", b"MIME-Version", b"Content-Type"),
    ]
    read = message_from_bytes(content, policy=default)
    assert read["From"].addresses == (Address(RITA.name, addr_spec=RITA.address),)
    assert read["To"].addresses == (Address("Ana Lopez", addr_spec="ana@people.example"),)
    assert read["Reply-To"] == "rita@harbour.example"
    assert read["Subject"] == "You're in: Freelance Finance"
    assert read["Date"].datetime == NOON
    assert read["Auto-Submitted"] == "auto-generated"
    assert not read.defects


def test_it_is_plain_text_first_and_then_html_both_in_utf_8() -> None:
    read = message_from_bytes(a_message().as_bytes(), policy=default)
    assert read.get_content_type() == "multipart/alternative"
    text, html = read.iter_parts()
    assert (text.get_content_type(), html.get_content_type()) == ("text/plain", "text/html")
    assert text.get_content_charset() == html.get_content_charset() == "utf-8"
    assert text.get_content().replace("\r\n", "\n") == a_letter().text
    assert html.get_content().replace("\r\n", "\n") == a_letter().html


def test_it_is_accepted_by_any_server() -> None:
    content = a_message(subject="é" * 50, to_name=HEBREW).as_bytes()
    assert content.isascii()
    assert max(map(len, content.split(b"\r\n"))) <= 998
    assert content.count(b"\n") == content.count(b"\r\n") == content.count(b"\r")


@pytest.mark.parametrize("awkward", AWKWARD)
def test_no_title_or_name_can_add_a_header(awkward: str) -> None:
    sender = MailAddress(awkward, RITA.address)
    message = a_message(subject=awkward, to_name=awkward, sender=sender, reply_to=sender)
    for content in (message.as_bytes(), message.as_bytes(policy=SMTP)):
        names = {
            line.partition(b":")[0].lower()
            for line in head_lines(content)
            if line[:1] not in {b" ", b"\t"}
        }
        assert b"bcc" not in names
        assert max(map(len, head_lines(content))) <= 78
        assert len(names) == 9
        read = message_from_bytes(content, policy=default)
        assert read["Bcc"] is None
        assert [address.addr_spec for address in read["To"].addresses] == ["ana@people.example"]


@pytest.mark.parametrize("awkward", AWKWARD)
def test_titles_and_names_read_back_as_they_were(awkward: str) -> None:
    content = a_message(subject=awkward, to_name=awkward).as_bytes()
    assert message_from_bytes(content, policy=default)["Subject"] == cut_at_word(
        one_line(awkward), 200
    )
    name = cut_at_word(one_line(awkward), 78)
    assert read_name(content, "To") == [(name, "ana@people.example")]


@given(st.text(max_size=120), st.text(max_size=120))
def test_whatever_is_typed_is_written_so_that_it_reads_back(title: str, name: str) -> None:
    subject = one_line(title) or "x"
    content = a_message(subject=subject, to_name=name).as_bytes()
    assert message_from_bytes(content, policy=default)["Subject"] == subject
    assert read_name(content, "To") == [(cut_at_word(one_line(name), 78), "ana@people.example")]


MEANT: dict[str, str | Named] = {
    "Subject": "You're in",
    "To": ("Ana Lopez", EnvelopeAddress("ana", "people.example")),
}


def with_raw(name: str, value: str) -> EmailMessage:
    message = a_message(subject="You're in")
    del message[name]
    message.set_raw(name, value)
    return message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Subject", "You're in\r\nBcc: evil@example.org"),
        ("Subject", "You're in\nBcc: evil@example.org"),
        ("Subject", "You're in\rBcc: evil@example.org"),
        ("Subject", "You're in\r\nTo: evil@example.org"),
        ("Subject", "You're in\r\n\r\nbody"),
        ("Subject", "You're in\r\n \r\nbody"),
        ("Subject", "You're in\r\nno header at all"),
        ("Subject", "You're in\x00"),
        ("Subject", "You're out"),
        ("Subject", ""),
        ("Auto-Submitted", "auto-generated\x00"),
        ("Auto-Submitted", "auto-generated\r\n and\x00on"),
        ("Auto-Submitted", "auto-generated\r\n \r\n more"),
        ("To", "<ana@people.example>, <evil@example.org>"),
        ("To", "=?utf-8?q?Ana?= <evil@example.org>"),
        ("X-Mailer", "anything"),
        ("Bcc", "evil@example.org"),
    ],
)
def test_a_header_that_differs_from_the_intended_one_is_refused(name: str, value: str) -> None:
    message = with_raw(name, value)
    with pytest.raises(DeliveryRefused):
        check_head(message, MEANT)


def test_the_intended_header_passes() -> None:
    check_head(with_raw("Subject", "You're in"), MEANT)
    check_head(
        with_raw("To", "=?utf-8?q?Ana?=\r\n\t=?utf-8?q?_Lopez?= <ana@people.example>"), MEANT
    )


def test_every_message_is_checked_before_it_is_returned() -> None:
    with pytest.raises(DeliveryRefused):
        a_message(subject="")


@pytest.mark.parametrize("name", ["", "Ana", HEBREW, " ".join([HEBREW] * 5)])
def test_a_long_address_stays_in_one_piece(name: str) -> None:
    address = "a" * 64 + "@" + "b" * 60 + "." + "c" * 60 + ".example"
    message = a_message(to_name=name, to_address=address)
    content = message.as_bytes()
    assert f"<{address}>\r\n".encode() in content
    assert read_name(content, "To") == [(name, address)]
    assert wire_form(message, utf8=False) == content  # what was checked is what is sent


def test_a_message_without_a_required_header_is_refused() -> None:
    message = a_message()
    del message["Auto-Submitted"]
    with pytest.raises(DeliveryRefused):
        check_head(message, {})


def test_the_message_id_is_the_same_for_every_attempt_and_reveals_nothing() -> None:
    first, again = a_message(), a_message()
    assert first.as_bytes() == again.as_bytes()
    assert first["Message-ID"] == message_id("email:enrolled:12:7", "harbour.example")
    assert first["Message-ID"] != a_message(action_key="email:enrolled:12:8")["Message-ID"]
    assert "enrolled" not in first["Message-ID"]
    assert message_id("k", "h.example").endswith("@h.example>")


def test_a_local_part_in_another_script_is_written_as_it_is_and_its_domain_in_ascii() -> None:
    content = a_message(to_address="añá@bücher.example").as_bytes()
    assert "añá@xn--bcher-kva.example".encode() in content
    assert message_from_bytes(content, policy=default)["To"].addresses[0].domain.isascii()


@pytest.mark.parametrize("address", ["", "ana", "a b@c.example", "a@b.example\r\nBcc: e@f.example"])
def test_an_invalid_address_is_refused_without_repeating_it(address: str) -> None:
    with pytest.raises(DeliveryRefused) as refused:
        a_message(to_address=address)
    assert "example" not in str(refused.value)


def test_the_reply_address_must_be_ascii() -> None:
    with pytest.raises(DeliveryRefused, match="COURSEBELL_MAIL_REPLY_TO"):
        a_message(reply_to=MailAddress("", "ritá@harbour.example"))


def test_a_time_without_a_zone_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="aware"):
        make_message(
            a_letter(),
            sender=RITA,
            reply_to=None,
            to_name="",
            to_address="ana@people.example",
            action_key="k",
            made_at=NOON.replace(tzinfo=None),
        )


PDF = b"%PDF-1.7\n" + bytes(range(256)) * 40


def with_a_file(name: str = "certificate.pdf", key: str = "email:finished:12:7") -> EmailMessage:
    return make_message(
        a_letter(),
        sender=RITA,
        reply_to=None,
        to_name="Ana Lopez",
        to_address="ana@people.example",
        action_key=key,
        made_at=NOON,
        attachment=Attachment(name, PDF),
    )


def test_a_file_is_attached_beside_the_text_and_unchanged() -> None:
    content = with_a_file().as_bytes()
    read = message_from_bytes(content, policy=default)
    assert read.get_content_type() == "multipart/mixed"
    text, attached = read.iter_parts()
    assert text.get_content_type() == "multipart/alternative"
    assert [part.get_content() for part in text.iter_parts()] == [
        part.get_content()
        for part in message_from_bytes(a_message().as_bytes(), policy=default).iter_parts()
    ]
    assert attached.get_content_type() == "application/pdf"
    assert attached.get_content_disposition() == "attachment"
    assert attached.get_filename() == "certificate.pdf"
    assert attached.get_content() == PDF
    assert not any(part.defects for part in read.walk())


def test_a_file_leaves_the_headers_as_they_are() -> None:
    heads = [head_lines(one.as_bytes()) for one in (with_a_file(key="k"), a_message())]
    names = [[line.partition(b":")[0] for line in head if line[:1] != b" "] for head in heads]
    assert names[0] == names[1]
    assert len(heads[0]) == len(heads[1])


def test_a_message_with_a_file_is_the_same_each_time_and_fit_for_any_server() -> None:
    content = with_a_file().as_bytes()
    assert content == with_a_file().as_bytes()
    assert content.isascii()
    assert max(map(len, content.split(b"\r\n"))) <= 998
    assert content.count(b"\n") == content.count(b"\r\n") == content.count(b"\r")
    assert wire_form(with_a_file(), utf8=False).rstrip() == content.rstrip()
    boundaries = {part.get_boundary() for part in with_a_file().walk() if part.is_multipart()}
    assert len(boundaries) == 2


def test_a_kept_message_names_its_file() -> None:
    kept = read_message(with_a_file("certificate-ceramics.pdf").as_bytes())
    assert kept.attachments == (Attachment("certificate-ceramics.pdf", PDF),)
    assert kept.text == a_letter().text
    assert read_message(a_message().as_bytes()).attachments == ()


UNSUBSCRIBE = f"https://courses.harbour.example/u/{'a' * 52}.{'b' * 43}"


def of_stream(head: StreamHead) -> dict[str, str]:
    """Return the headers about the stream, as a mail program reads them."""
    message = make_message(
        a_letter(),
        sender=MailAddress("Rita", "courses@bücher.example"),
        reply_to=None,
        to_name="Ana",
        to_address="ana@people.example",
        action_key="k",
        made_at=NOON,
        stream=head,
    )
    read = message_from_bytes(message.as_bytes(), policy=compat32)
    names = ("List-Id", "Feedback-ID", "List-Unsubscribe", "List-Unsubscribe-Post")
    return {name: str(read[name]) for name in names if name in read}


def test_an_email_names_its_stream_and_where_one_post_stops_it() -> None:
    assert of_stream(StreamHead(Stream.REMINDER, "stalled", UNSUBSCRIBE)) == {
        "List-Id": "Course reminders <reminder.coursebell.xn--bcher-kva.example>",
        "Feedback-ID": "stalled:reminder:email:coursebell",
        "List-Unsubscribe": f"<{UNSUBSCRIBE}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }
    assert of_stream(StreamHead(Stream.SERVICE, "welcome")) == {
        "List-Id": "Course emails <service.coursebell.xn--bcher-kva.example>",
        "Feedback-ID": "welcome:service:email:coursebell",
    }


@pytest.mark.parametrize("evil", [">\r\nBcc: e@f.example", "\nX: y", "é", "\x00"])
def test_no_link_can_add_a_header_or_arrive_changed(evil: str) -> None:
    with pytest.raises((DeliveryRefused, UnicodeError)):
        of_stream(StreamHead(Stream.SERVICE, "stalled", UNSUBSCRIBE + evil))
