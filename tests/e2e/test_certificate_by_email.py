"""A member finishes a course, gets a certificate by email, and anyone can have it confirmed."""

import re
import socket
from collections.abc import Iterator
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import pytest
import requests

from tests.e2e.house import RULES, House, open_house

CERAMICS = "Ceramics"
TEMPLATE = "    template: course-finished\n"
PUBLIC_URL = "https://courses.example.org"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder: Path = tmp_path_factory.mktemp("house")
    rules = folder / "rules.yaml"
    text = RULES.read_text(encoding="utf-8")
    rules.write_text(text.replace(TEMPLATE, f"{TEMPLATE}    certificate: true\n"), "utf-8")
    settings = {"COURSEBELL_RULES": str(rules), "COURSEBELL_PUBLIC_URL": PUBLIC_URL}
    with open_house(folder, **settings) as found:
        yield found


def test_the_certificate_in_the_email_is_confirmed_by_the_web_process(house: House) -> None:
    member = house.sandbox.enrol("Zoë", CERAMICS)
    house.wait_idle()
    house.sandbox.post("/sandbox/finish-course", course_member_id=member)
    house.wait_idle()
    newest = house.mails("zoe")[-1]
    raw = house.sandbox.get(f"/sandbox/mails/{newest['number']}.eml").content
    message = message_from_bytes(raw, policy=default)
    [attached] = message.iter_attachments()
    body = message.get_body(("plain",))
    assert body is not None
    address = re.search(rf"{PUBLIC_URL}(/c/\S+)", body.get_content())
    assert address is not None
    page = requests.get(f"{house.url}{address[1]}", timeout=10)
    assert page.status_code == 200
    assert "This certificate is genuine" in page.text
    assert "Zoë" in page.text
    assert "🎓" not in page.text
    pdf = requests.get(f"{house.url}{address[1]}.pdf", timeout=30)
    assert pdf.headers["Content-Type"] == "application/pdf"
    assert pdf.content == attached.get_content()


def test_a_wrong_code_and_a_broken_path_are_answered_without_harm(house: House) -> None:
    unknown = requests.get(f"{house.url}/c/0000-0000-0000-0000", timeout=10)
    assert unknown.status_code == 404
    assert "<h1>We know no certificate with this code</h1>" in unknown.text
    assert requests.get(f"{house.url}/c/", timeout=10).status_code == 404
    host, _, port = house.environment["COURSEBELL_LISTEN"].rpartition(":")
    with socket.create_connection((host, int(port)), 10) as connection:
        connection.sendall(b"GET /c/%FF%FE%00.pdf HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 404")


def test_the_log_of_all_processes_names_no_code_and_no_name(house: House) -> None:
    logs = house.logs()
    assert not re.search(r"[0-9A-Z]{4}(-[0-9A-Z]{4}){3}", logs)
    assert "Zoë" not in logs
