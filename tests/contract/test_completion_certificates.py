"""Certificates of completion: the email that carries one, and the page that confirms it."""

import io
import re
import stat
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default

import pytest
from flask.testing import FlaskClient
from pypdf import PdfReader
from sqlalchemy import select

from ledger.completion_certificates import (
    CompletionCertificate,
    certificate_of,
    erase_certificates,
    store_certificate,
)
from ledger.engine import Engine, reading, writing
from ledger.tables import attempts, completion_certificates
from schemas.actions import Mode
from schemas.entity import Entity
from schemas.settings import load_settings
from service.app import Web, make_web
from service.limits import MOST_PER_MINUTE
from tests.builders.records import COURSE_ID, NOON, course
from tests.contract.desk_rig import Desk
from tests.contract.ledger_rig import BOTH
from tests.contract.study_rig import LESSONS, SHIPPED, Space, coworker, rules_of
from tests.doubles.mail_server import Mailbox, mail_server, server_at
from tests.doubles.scripted_smtp import ScriptedSmtp
from tests.e2e.house import RULES as PLAIN
from workers.actions.email.smtp import Mailer
from workers.completion_certificate.code import code_hash, completion_code, written_code

pytestmark = pytest.mark.engines("sqlite")

KEY = "a-key-for-certificates"
CODE = completion_code(KEY, COURSE_ID, 1)
ADDRESS = f"https://courses.example.org/c/{CODE}"
TEMPLATE = "    template: course-finished\n"
CERTIFYING = PLAIN.read_text(encoding="utf-8").replace(
    TEMPLATE, f"{TEMPLATE}    certificate: true\n", 1
)
RULES = rules_of(CERTIFYING)
ANA = CompletionCertificate(
    COURSE_ID, 1, "Ana <López>", "Freelance & Finance", "Harbour Works", date(2026, 3, 3), "en"
)


@pytest.fixture
def space(ledger_engine: Engine) -> Space:
    return Space(ledger_engine, RULES)


@pytest.fixture
def web(ledger_url: str) -> Iterator[Web]:
    settings = {
        "COURSEBELL_DATABASE_URL": ledger_url,
        "COURSEBELL_PUBLIC_URL": "https://courses.example.org",
    }
    made = make_web(load_settings(settings))
    yield made
    made.close()


@pytest.fixture
def visitor(web: Web) -> FlaskClient:
    return web.app.test_client()


def complete(space: Space, number: int = 1) -> None:
    member = space.enrol(number)
    space.work()
    space.finish(member, *LESSONS)
    space.work()


def received(space: Space, number: int = -1) -> EmailMessage:
    return message_from_bytes(space.mailer.caught[number].content, policy=default)


def pdf_in(message: EmailMessage) -> bytes:
    [attached] = message.iter_attachments()
    content = attached.get_content()
    assert isinstance(content, bytes)
    return content


def text_of(pdf: bytes) -> str:
    [page] = PdfReader(io.BytesIO(pdf), strict=True).pages
    return page.extract_text()


def stored(engine: Engine) -> list[tuple[str, str, str | None, date]]:
    with reading(engine) as connection:
        rows = connection.execute(select(completion_certificates)).all()
    return [(row.name, row.course, row.space, row.finished_on) for row in rows]


# --- The ledger -----------------------------------------------------------------------------------


@pytest.mark.engines(*BOTH)
def test_the_ledger_gives_back_what_was_stored_and_only_by_its_code(ledger_engine: Engine) -> None:
    with writing(ledger_engine) as connection:
        store_certificate(connection, code_hash(CODE), ANA, NOON)
        assert certificate_of(connection, code_hash(CODE)) == ANA
        assert certificate_of(connection, code_hash(CODE.lower())) is None
        corrected = replace(ANA, name="Ana López", space=None)
        store_certificate(connection, code_hash(CODE), corrected, NOON + timedelta(days=1))
        assert certificate_of(connection, code_hash(CODE)) == corrected
        columns = connection.execute(select(completion_certificates)).one()
    assert CODE not in map(str, columns)


@pytest.mark.engines(*BOTH)
def test_erasing_a_person_takes_all_their_certificates_and_no_others(
    ledger_engine: Engine,
) -> None:
    with writing(ledger_engine) as connection:
        for course_id, coworker_id in ((1, 1), (2, 1), (1, 2)):
            one = replace(ANA, course_id=course_id, coworker_id=coworker_id)
            store_certificate(connection, code_hash(f"{course_id}/{coworker_id}"), one, NOON)
        assert erase_certificates(connection, 1) == 2
        assert erase_certificates(connection, 1) == 0
        left = connection.scalars(select(completion_certificates.c.coworker_id)).all()
    assert left == [2]


# --- The email ------------------------------------------------------------------------------------


def test_the_email_about_a_finished_course_carries_the_certificate(space: Space) -> None:
    complete(space)
    message = received(space)
    assert message.get_content_type() == "multipart/mixed"
    assert not message.defects
    body, attached = message.iter_parts()
    assert body.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in body.iter_parts()] == ["text/plain", "text/html"]
    assert attached.get_content_type() == "application/pdf"
    assert attached.get_filename() == "certificate-freelance-finance.pdf"
    assert all(not part.defects for part in message.walk())
    text = message.get_body(("plain",))
    page = message.get_body(("html",))
    assert text is not None
    assert page is not None
    assert ADDRESS in text.get_content().split()
    assert f'href="{ADDRESS}"' in page.get_content()
    printed = text_of(pdf_in(message))
    assert "Person 1" in printed
    assert CODE in printed
    assert stored(space.engine) == [("Person 1", "Freelance Finance", "Harbour Works", NOON.date())]


def test_other_emails_and_other_rules_carry_none(ledger_engine: Engine) -> None:
    space = Space(ledger_engine, rules_of(SHIPPED))
    complete(space)
    assert len(space.mailer.caught) == 2
    assert [received(space, number).get_content_type() for number in (0, 1)] == [
        "multipart/alternative",
        "multipart/alternative",
    ]
    assert b"certificate" not in space.mailer.caught[-1].content.lower()
    assert stored(ledger_engine) == []


def test_a_real_mail_server_receives_it_byte_for_byte(space: Space) -> None:
    mailbox = Mailbox()
    with mail_server(mailbox) as port:
        space.mailer = Mailer(server_at(port))  # type: ignore[assignment]  # the real one, whose double it is
        complete(space)
    [_, (_, _, content)] = mailbox.arrived
    assert max(map(len, content.split(b"\r\n"))) <= 998
    assert content.count(b"\n") == content.count(b"\r\n") == content.count(b"\r")
    assert content.isascii()
    message = message_from_bytes(content, policy=default)
    assert not message.defects
    pdf = pdf_in(message)
    assert pdf.startswith(b"%PDF-")
    assert CODE in text_of(pdf)
    assert len(content) < 300 * 1024


def test_an_email_that_is_sent_again_has_the_same_code_and_the_corrected_name(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = desk.space
    (desk.folder / "rules.yaml").write_text(CERTIFYING, encoding="utf-8")
    monkeypatch.setenv("COURSEBELL_RULES", str(desk.folder / "rules.yaml"))
    monkeypatch.setenv("COURSEBELL_PUBLIC_URL", "https://courses.example.org")
    space.rules = RULES
    space.mailer.answer("person1@example.org", "550 5.1.1 no such person")
    complete(space)
    space.mailer.accept("person1@example.org")
    assert space.outcomes()[-1] == ("failed", "mail-rejected")
    [before] = stored(space.engine)
    shown = desk.run("show", "2").stdout
    assert re.search(
        r"^Attached:   certificate-freelance-finance\.pdf \(\d+ KB\)$", shown, re.MULTILINE
    )
    space.source.have(Entity.COWORKER, coworker(1, full_name="Ana López"))
    assert desk.run("resend", "2", "--yes").exit_code == 0
    space.later(minutes=1)
    [after] = stored(space.engine)
    assert (before[0], after[0]) == ("Person 1", "Ana López")
    printed = text_of(pdf_in(received(space)))
    assert "Ana López" in printed
    assert CODE in printed


def test_a_certificate_can_be_looked_at_before_a_member_gets_one(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = desk.folder / "rules.yaml"
    rules.write_text(CERTIFYING, encoding="utf-8")
    monkeypatch.setenv("COURSEBELL_RULES", str(rules))
    monkeypatch.setenv("COURSEBELL_PUBLIC_URL", "https://courses.example.org")
    desk.space.enrol(1)
    desk.space.work()
    folder = desk.folder / "preview"
    shown = desk.run("preview", "course-finished", "--as", "1", "--folder", str(folder))
    assert shown.exit_code == 0, shown.output
    file = folder / "certificate-freelance-finance.pdf"
    assert "Person 1" in text_of(file.read_bytes())
    assert "0000-0000-0000-0000" in text_of(file.read_bytes())
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with ScriptedSmtp() as server:
        monkeypatch.setenv("COURSEBELL_SMTP_URL", f"smtp://127.0.0.1:{server.port}?tls=none")
        sent = desk.run("test", "course-finished", "--to", "me@example.org", "--as", "1")
    assert sent.exit_code == 0, sent.output
    message = message_from_bytes(server.texts[0], policy=default)
    assert isinstance(message, EmailMessage)
    assert "0000-0000-0000-0000" in text_of(pdf_in(message))
    assert stored(desk.space.engine) == []


@pytest.mark.parametrize(
    ("name", "title", "what"),
    [
        ("🎓", "Freelance Finance", "member's name"),
        ("\u200b", "Freelance Finance", "member's name"),
        ("\u3164", "Freelance Finance", "member's name"),
        ("Ana López", "🏺 ✨", "course's title"),
    ],
)
def test_a_certificate_for_nobody_or_nothing_is_not_sent(
    space: Space, name: str, title: str, what: str
) -> None:
    member = space.enrol(1)
    space.source.have(Entity.COWORKER, coworker(1, full_name=name))
    space.work()
    space.source.have(Entity.COURSE, course(title=title))
    space.finish(member, *LESSONS)
    space.later(hours=2)
    assert space.outcomes()[-1] == ("failed", "template-error")
    assert stored(space.engine) == []
    with reading(space.engine) as connection:
        detail = connection.scalars(select(attempts.c.detail).order_by(attempts.c.id)).all()[-1]
    assert detail is not None
    assert f"the {what} has no letters or digits" in detail


def test_the_day_is_that_of_the_members_zone(space: Space) -> None:
    space.clock.time = NOON.replace(hour=23, minute=30)
    complete(space)
    space.later(days=1)
    # Lisbon is where the person is; in March it has the time of UTC.
    assert stored(space.engine)[0][3] == NOON.date()


def test_a_held_email_confirms_nothing_yet(space: Space) -> None:
    space.choose(Mode.OBSERVE)
    complete(space)
    assert space.outcomes()[-1] == ("held", "observe")
    assert stored(space.engine) == []


def test_a_name_that_cannot_be_printed_fails_the_email_and_says_why(space: Space) -> None:
    member = space.enrol(1)
    space.source.have(Entity.COWORKER, coworker(1, full_name="𒀀𒀁"))
    space.work()
    space.finish(member, *LESSONS)
    space.work()
    assert space.outcomes()[-1] == ("failed", "template-error")
    assert stored(space.engine) == []
    with reading(space.engine) as connection:
        detail = connection.scalars(select(attempts.c.detail).order_by(attempts.c.id)).all()[-1]
    assert detail is not None
    assert "no font on this machine" in detail
    assert "𒀀" not in detail


# --- The page -------------------------------------------------------------------------------------


def keep(engine: Engine, code: str = CODE, certificate: CompletionCertificate = ANA) -> None:
    with writing(engine) as connection:
        store_certificate(connection, code_hash(code), certificate, NOON)


def test_the_page_confirms_what_the_certificate_says_and_no_more(
    visitor: FlaskClient, ledger_engine: Engine
) -> None:
    keep(ledger_engine)
    answer = visitor.get(f"/c/{CODE}")
    assert answer.status_code == 200
    page = answer.get_data(as_text=True)
    words = " ".join(re.sub(r"<[^>]+>", " ", page.partition("<body>")[2]).split())
    assert words == (
        "This certificate is genuine Awarded to Ana &lt;López&gt; For completing the course "
        "Freelance &amp; Finance Completed on 3 March 2026 Issued by Harbour Works "
        "Compare this with the certificate that you were shown. Open the certificate as a PDF"
    )
    assert '<html lang="en" dir="ltr">' in page
    assert '<time datetime="2026-03-03">' in page


def test_the_page_is_for_nobody_else_to_keep_index_or_extend(
    visitor: FlaskClient, ledger_engine: Engine
) -> None:
    keep(ledger_engine)
    for path in (f"/c/{CODE}", "/c/wrong", f"/c/{CODE}.pdf"):
        headers = visitor.get(path).headers
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Robots-Tag"] == "noindex, nofollow"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    for path in (f"/c/{CODE}", "/c/wrong"):
        headers = visitor.get(path).headers
        assert headers["Referrer-Policy"] == "no-referrer"
        assert "Accept-Language" in headers["Vary"]
    page = visitor.get(f"/c/{CODE}").get_data(as_text=True)
    assert not re.search(r"<script|<img|<link|style=|\son\w+=|https?://", page)


@pytest.mark.parametrize("typed", [CODE.lower(), CODE.replace("-", ""), CODE.replace("-", "%20")])
def test_a_code_may_be_typed_in_other_ways(
    visitor: FlaskClient, ledger_engine: Engine, typed: str
) -> None:
    keep(ledger_engine)
    assert visitor.get(f"/c/{typed}").status_code == 200


FORGED = [
    written_code("0" * 16),
    CODE[:-1] + ("0" if CODE[-1] != "0" else "1"),
    CODE[:-1],
    "wrong",
    "%00",
    "%ED%A0%80",
    "x" * 2_000,
    "' OR 1=1 --",
    code_hash(CODE),
]


@pytest.mark.parametrize("suffix", ["", ".pdf"])
def test_every_wrong_code_gets_the_same_answer(
    visitor: FlaskClient, ledger_engine: Engine, suffix: str
) -> None:
    keep(ledger_engine)
    answers = [visitor.get(f"/c/{one}{suffix}") for one in FORGED]
    assert {one.status_code for one in answers} == {404}
    [page] = {one.get_data(as_text=True) for one in answers}
    assert "We know no certificate with this code" in page
    assert "Ana" not in page


def test_the_certificate_of_an_erased_person_is_not_known_any_more(
    visitor: FlaskClient, ledger_engine: Engine
) -> None:
    keep(ledger_engine)
    assert visitor.get(f"/c/{CODE}").status_code == 200
    assert visitor.get(f"/c/{CODE}.pdf").status_code == 200
    with writing(ledger_engine) as connection:
        erase_certificates(connection, ANA.coworker_id)
    gone, never = visitor.get(f"/c/{CODE}"), visitor.get("/c/never")
    assert (gone.status_code, gone.get_data()) == (404, never.get_data())
    assert visitor.get(f"/c/{CODE}.pdf").status_code == 404


def test_the_pdf_is_the_one_that_was_sent(visitor: FlaskClient, space: Space) -> None:
    complete(space)
    answer = visitor.get(f"/c/{CODE}.pdf")
    assert answer.mimetype == "application/pdf"
    assert answer.get_data() == pdf_in(received(space))


@pytest.mark.parametrize("lacks", ["a font", "typst"])
def test_where_the_pdf_cannot_be_made_the_certificate_is_confirmed_all_the_same(
    visitor: FlaskClient, ledger_engine: Engine, monkeypatch: pytest.MonkeyPatch, lacks: str
) -> None:
    name = "𒀀𒀁" if lacks == "a font" else "Ana without Typst"
    keep(ledger_engine, certificate=replace(ANA, name=name))
    if lacks == "typst":
        monkeypatch.setitem(sys.modules, "workers.completion_certificate.pdf", None)
    answer = visitor.get(f"/c/{CODE}.pdf")
    assert answer.status_code == 503
    page = answer.get_data(as_text=True)
    assert "<h1>This certificate is genuine</h1>" in page
    assert "The PDF cannot be opened here." in page
    assert name in page
    assert "href=" not in page
    assert visitor.get("/c/wrong.pdf").status_code == 404


def test_many_wrong_codes_from_one_address_are_refused_and_a_right_one_is_not(
    visitor: FlaskClient, ledger_engine: Engine
) -> None:
    keep(ledger_engine)
    statuses = [visitor.get("/c/wrong").status_code for _ in range(MOST_PER_MINUTE)]
    assert set(statuses) == {404}
    refused = visitor.get("/c/wrong")
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "60")
    assert visitor.get(f"/c/{CODE}").status_code == 200
    other = visitor.get("/c/wrong", environ_overrides={"REMOTE_ADDR": "192.0.2.7"})
    assert other.status_code == 404
    assert visitor.post("/hooks/relay").status_code == 401


def test_it_can_only_be_asked_for(visitor: FlaskClient) -> None:
    assert visitor.post(f"/c/{CODE}").status_code == 405
    assert visitor.head("/c/wrong").status_code == 404
