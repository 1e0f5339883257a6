"""Strangers, stalled senders and oversized bodies keep no authentic delivery from being stored."""

import contextlib
import json
import selectors
import signal
import socket
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from schemas.checkup import Verdict
from schemas.notification import MAX_BYTES
from service.limits import MOST_PER_MINUTE
from tests.e2e.house import RELAY_TOKEN, House, living
from tests.e2e.test_input import HOOKS, signed
from tests.servers.programs import wait_until

HOOK = HOOKS[0]
BEARER = {"Authorization": f"Bearer {RELAY_TOKEN}"}
WRONG = {"X-Nexudus-Hook-Signature": "0" * 64}  # well-formed, so only the body can refute it
STALLED = 200
_PATIENCE_S = 20.0


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Give a house in which only the web server runs."""
    with living(tmp_path_factory.mktemp("receiver")) as found:
        start(found)
        yield found


@pytest.fixture(scope="module", autouse=True)
def stalling(house: House) -> Iterator[socket.socket]:
    """Give a sender that stalls from the beginning, so that no test waits for its deadline."""
    with begun(house, HOOK, WRONG, 1000, b"[") as connection:
        yield connection


def start(house: House) -> None:
    house.start("serve")
    wait_until(lambda: is_alive(house), "the web server")


def is_alive(house: House) -> bool:
    with contextlib.suppress(requests.RequestException):
        return requests.get(f"{house.url}/healthz", timeout=5).ok
    return False


def accepted(house: House, record_id: int) -> bool:
    body = b'[{"Id": %d}]' % record_id
    return house.post(HOOK, body, signed(body)).status_code == 202


def begun(
    house: House, path: str, headers: Mapping[str, str], declared: int | None, body: bytes = b""
) -> socket.socket:
    """Return a connection on which a request has begun: its head, and so much of its body.

    Without a declared length the body is sent as it is, in chunks of the caller's making.
    """
    address = urlsplit(house.url)
    connection = socket.create_connection((address.hostname, address.port), _PATIENCE_S)
    length = "Transfer-Encoding: chunked" if declared is None else f"Content-Length: {declared}"
    lines = [f"POST {path} HTTP/1.1", "Host: a", length]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)
    return connection


def complete(house: House, record_id: int) -> socket.socket:
    """Return a connection on which an authentic delivery was sent."""
    body = b'[{"Id": %d}]' % record_id
    return begun(house, HOOK, {**signed(body), "Connection": "close"}, len(body), body)


def are_read(connections: Iterable[socket.socket]) -> bool:
    """Return whether the server has read all that was sent on these connections (proc_net_tcp)."""
    ours = {connection.getsockname()[1] for connection in connections}
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    unread = {  # bytes in the receive queue of the server's end, by our port
        int(row[2].partition(":")[2], 16): int(row[4].partition(":")[2], 16) for row in rows
    }
    return all(unread.get(port) == 0 for port in ours)


def status_of(connection: socket.socket) -> int:
    """Return the status of the answer, read to its end."""
    with connection:
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    return int(answer.split(b" ", 2)[1])


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        (HOOK, {}),
        ("/hooks/nexudus", {"X-Nexudus-Hook-Signature": "x" * 64}),
        ("/hooks/nexudus", {"X_Nexudus_Hook_Signature": "0" * 64}),
        ("/hooks/relay", {}),
        ("/hooks/relay", {"Authorization": "Bearer wrong"}),
        ("/hooks/mail/postmark", {}),
        ("/hooks/mail/postmark", {"Authorization": "Basic eDp3cm9uZw=="}),
        ("/hooks/mail/sendgrid", {}),  # not configured
    ],
)
def test_a_bad_head_is_refused_although_the_body_never_arrives(
    house: House, path: str, headers: dict[str, str]
) -> None:
    assert status_of(begun(house, path, headers, declared=1000)) == 401


@pytest.mark.parametrize("path", ["/hooks/nexudus/coursemembers", "/nowhere"])
def test_an_unknown_route_is_404_although_the_body_never_arrives(house: House, path: str) -> None:
    assert status_of(begun(house, path, WRONG, declared=1000)) == 404


# More than the buffers between two programs hold: an answer before all of it was read would meet a
# client that still writes, and be lost with the connection.
LARGE = 8 * MAX_BYTES


def test_a_bad_head_is_401_even_for_a_client_that_writes_everything_first(
    house: House,
) -> None:
    wrong = {"Authorization": "Bearer wrong"}
    for _ in range(5):
        assert status_of(begun(house, "/hooks/relay", wrong, LARGE, b" " * LARGE)) == 401


@pytest.mark.parametrize("size", [MAX_BYTES + 1, LARGE])
def test_a_body_over_the_limit_is_413_and_the_client_reads_it(house: House, size: int) -> None:
    body = b"[" + b" " * (size - 2) + b"]"
    chunks = [body[first : first + 65536] for first in range(0, size, 65536)]
    chunked = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    for _ in range(5):
        for path, headers in ((HOOK, signed(body)), ("/hooks/relay", BEARER)):
            assert status_of(begun(house, path, headers, size, body)) == 413
            assert status_of(begun(house, path, headers, None, chunked)) == 413


def test_a_body_at_the_limit_is_taken_also_in_chunks(house: House) -> None:
    body = b'[{"Id": 31}' + b" " * (MAX_BYTES - 12) + b"]"
    assert len(body) == MAX_BYTES
    assert house.post(HOOK, body, signed(body)).status_code == 202
    chunked = requests.post(
        f"{house.url}{HOOK}", data=iter([body[:5], body[5:]]), headers=signed(body), timeout=20
    )
    assert chunked.json() == {"accepted": 1}


def test_more_than_a_thousand_records_are_kept_and_each_is_looked_up(house: House) -> None:
    body = json.dumps([{"Id": number} for number in range(100_001, 102_502)]).encode()
    answer = house.post(HOOK, body, signed(body))
    assert (answer.status_code, answer.json()) == (202, {"accepted": 2501})
    asked = "SELECT count(*) FROM lookups WHERE record_id BETWEEN 100001 AND 102501"
    statement = (
        f"SELECT count(DISTINCT delivery_id), count(*) FROM notifications WHERE record_id > {10**5}"
    )
    assert house.rows(asked) == [(2501,)]
    assert house.rows(statement) == [(1, 2501)]


@pytest.mark.parametrize(
    "path",
    [
        f"{HOOK}/",
        "//hooks//nexudus///course-members//",
        "/hooks/nexudus/?resource=CourseMember",
        "//hooks/nexudus?resource=CourseMember",
    ],
)
def test_extra_slashes_lead_to_the_same_route(house: House, path: str) -> None:
    body = b'[{"Id": 41}]'
    connection = begun(house, path, {**signed(body), "Connection": "close"}, len(body), body)
    assert status_of(connection) == 202
    relay = b'{"entity": "CourseMember", "id": 41}'
    assert house.post("/hooks/relay/", relay, BEARER).status_code == 202


def test_readable_rows_are_stored_and_the_others_noted(house: House) -> None:
    body = b'[{"Id": 51}, {"Id": null}, 7, {"Id": 52}]'
    answer = house.post(HOOK, body, signed(body))
    assert (answer.status_code, answer.json()) == (202, {"accepted": 2})
    rows = b'[{"entity": "CourseMember", "id": 53}, {"entity": "CourseMember", "id": "1234-5678"}]'
    refused = house.post("/hooks/relay", rows, BEARER)
    assert (refused.status_code, refused.json()["accepted"]) == (400, 1)
    assert set(refused.json()["fields"]) == {"1"}
    asked = "SELECT record_id FROM lookups WHERE record_id BETWEEN 51 AND 59 ORDER BY record_id"
    assert house.rows(asked) == [(51,), (52,), (53,)]
    noted = house.rows("SELECT error FROM deliveries WHERE error IS NOT NULL ORDER BY id")
    assert [error.partition(": {")[::2] for (error,) in noted] == [
        (
            "2 of the rows cannot be read",
            "1: {'Id': ['Field may not be null.']}, 2: ['Not an object.']}",
        ),
        ("1 of the rows cannot be read", "1: {'id': ['Not a valid integer.']}}"),
    ]


SECRET = "door-code-4711"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (HOOK, f'[{{"Id": 61, "AccessPincode": "{SECRET}"}}]'),  # a coworker, by the wrong route
        (HOOK, f'[{{"Id": 62}}, {{"Id": 63, "BankAccount": "{SECRET}"}}]'),
        (HOOK, f'[{{"AccessPincode": "{SECRET}"}}]'),
        (HOOK, f'[{{"Id": 64, "CourseTitle": {{"pin": "{SECRET}"}}}}]'),
        (HOOK, f'[{{"Id": 65, "AccessPincode": "{SECRET}"'),
        ("/hooks/nexudus", f'[{{"Id": 66, "AccessPincode": "{SECRET}"}}]'),
        ("/hooks/relay", f'{{"entity": "CourseMember", "id": 67, "pin": "{SECRET}"}}'),
        ("/hooks/relay", f'{{"entity": "CourseMember", "id": 67, "{SECRET}": 1}}'),
        ("/hooks/relay", f'{{"entity": "{SECRET}", "id": 68}}'),
        ("/hooks/relay", f'{{"id": "{SECRET}"'),
    ],
)
def test_of_a_body_with_unknown_fields_only_size_and_digest_are_stored(
    house: House, path: str, body: str
) -> None:
    content = body.encode()
    assert house.post(path, content, signed(content) | BEARER).status_code in {202, 400}
    kept = b"".join(file.read_bytes() for file in house.folder.glob("ledger.db*"))
    assert SECRET.encode() not in kept
    assert SECRET not in house.logs()
    [(stored, size)] = house.rows("SELECT body, size FROM deliveries ORDER BY id DESC LIMIT 1")
    assert (stored, size) == (None, len(content))


def test_a_plain_body_is_kept_with_the_digest_that_nexudus_signs_with(house: House) -> None:
    body = json.dumps([{"Id": 71, "CourseTitle": "Ceramics", "Approved": True}]).encode()
    house.post(HOOK, body, signed(body))
    last = "SELECT body, size, digest FROM deliveries ORDER BY id DESC LIMIT 1"
    digest = signed(body)["X-Nexudus-Hook-Signature"].lower()
    assert house.rows(last) == [(body, len(body), digest)]


def test_a_delivery_of_the_stand_in_is_plain(house: House) -> None:
    before = house.rows("SELECT count(*) FROM deliveries")[0][0]
    member = house.sandbox.enrol("Joël", "Freelance Finance")
    house.sandbox.post("/sandbox/finish-lesson", course_member_id=member)
    kept = f"SELECT body FROM deliveries WHERE id > {before}"
    wait_until(lambda: len(house.rows(kept)) == 3, "the enrolment reported twice, and the lesson")
    assert all(body for (body,) in house.rows(kept))


def test_a_body_that_was_cut_off_is_not_kept(house: House) -> None:
    before = house.rows("SELECT count(*) FROM deliveries")
    body = b'{"entity": "CourseMember", "id": 81}'
    with begun(house, "/hooks/relay", BEARER, len(body) + 5, body) as connection:
        connection.shutdown(socket.SHUT_WR)
        connection.recv(65536)
    assert accepted(house, 82)
    assert house.rows("SELECT count(*) FROM deliveries")[0][0] == before[0][0] + 1


@pytest.mark.parametrize("body", [b"", b'[{"Id": '], ids=["head only", "half a body"])
@pytest.mark.parametrize("headers", [{}, WRONG, BEARER], ids=["unsigned", "signed", "relay"])
def test_stalled_senders_delay_no_delivery(
    house: House, headers: dict[str, str], body: bytes
) -> None:
    path = "/hooks/relay" if headers is BEARER else HOOK
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as answers:
        for _ in range(STALLED):
            connection = stack.enter_context(begun(house, path, headers, 1000, body))
            answers.register(connection, selectors.EVENT_READ)
        assert accepted(house, 91)
        assert requests.get(f"{house.url}/healthz", timeout=5).ok
        # The stalled ones still wait, so the authentic one did not wait for them to end.
        assert not headers or answers.select(timeout=0) == []


def test_a_stalled_sender_gets_408_in_the_end(stalling: socket.socket) -> None:
    assert status_of(stalling) == 408


def test_refused_senders_are_limited_by_address_and_nexudus_never_is(house: House) -> None:
    body = b'[{"Id": 7}]'
    answers = [house.post(HOOK, body, WRONG) for _ in range(MOST_PER_MINUTE + 1)]
    last = answers[-1]
    assert (last.status_code, last.headers["Retry-After"]) == (429, "60")
    assert "does not match" in last.json()["error"]
    assert house.post("/hooks/relay", body).status_code == 429
    assert accepted(house, 7)


def test_refused_deliveries_are_reported_to_the_operator(house: House) -> None:
    house.end("serve")  # what is counted is written at the latest now
    counted = {
        one["reason"]: one["count"]
        for one in json.loads(house.run("status", "--json").stdout)["refused"]
    }
    assert counted["wrong-signature"] > MOST_PER_MINUTE
    assert counted["unknown-route"] == 1
    start(house)
    ready = requests.get(f"{house.url}/readyz", timeout=_PATIENCE_S).json()
    assert ready["refused"] == counted
    for _ in range(3):
        assert house.post(HOOK, b"[]", WRONG).status_code == 401
    house.end("serve")
    statement = house.run("status").stdout
    number = counted["wrong-signature"] + 3
    assert f"! {number} deliveries were refused within a day" in statement
    assert "compare COURSEBELL_HOOK_SECRETS with the shared secret at Nexudus" in statement
    checks = json.loads(house.run("doctor", "--json").stdout)["checks"]
    verdicts = {one["found"]: one["verdict"] for one in checks if one["name"] == "refused"}
    assert [
        verdict
        for found, verdict in verdicts.items()
        if f"{number} deliveries were refused" in found
    ] == [Verdict.PROBLEM]
    lines = [line for line in house.logs().splitlines() if '"deliveries.refused"' in line]
    assert 0 < len(lines) < 20
    start(house)


def test_readyz_writes_nothing(house: House) -> None:
    path = house.environment["COURSEBELL_DATABASE_URL"].removeprefix("sqlite:///")
    with contextlib.closing(sqlite3.connect(path)) as ledger:
        (before,) = ledger.execute("PRAGMA data_version").fetchone()
        for query in ("", "?for=web"):
            requests.get(f"{house.url}/readyz{query}", timeout=_PATIENCE_S)
        assert ledger.execute("PRAGMA data_version").fetchone() == (before,)


def test_at_shutdown_complete_requests_are_answered_and_others_dropped(
    house: House,
) -> None:
    numbers = range(201, 209)
    stalled = begun(house, HOOK, WRONG, 1000, b"[")
    serving = house.processes["serve"]
    path = house.environment["COURSEBELL_DATABASE_URL"].removeprefix("sqlite:///")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        sent = {number: complete(house, number) for number in numbers}
        wait_until(lambda: are_read(sent.values()), "the server has read every request")
        # Requests sent after that were answered, so these wait for the ledger.
        assert all(is_alive(house) for _ in range(3))
        serving.send_signal(signal.SIGTERM)
        assert status_of(stalled) == 503
        other.execute("ROLLBACK")
        statuses = {number: status_of(connection) for number, connection in sent.items()}
    assert serving.wait(timeout=_PATIENCE_S) == 0
    assert statuses == dict.fromkeys(numbers, 202)
    kept = house.rows("SELECT record_id FROM notifications WHERE record_id BETWEEN 201 AND 208")
    assert {number for (number,) in kept} == set(numbers)
