"""Writes over real HTTP: what is sent, that it is sent once, and a token that was ended."""

import json
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ledger.engine import Engine
from schemas.errors import SourceRefused, SourceThrottled, SourceUnavailable
from tests.contract.raw_rig import OK, RawServer, Talk, Talking, talking
from tests.contract.source_rig import Line, answer, grants, line_to, sqlite_ledger, tell_the_truth
from tests.sandbox.sandbox_rig import PASSWORD, USERNAME, Running, running
from workers.source.answers import WriteDenied
from workers.source.client import Source
from workers.source.http import Transport
from workers.source.webhooks import NewHook, create_webhook, read_webhook

HOOKS = "/api/sys/webhooks"
HOOK = NewHook(1_416_000_001, "Courses", 1, "https://bell.example.org/hooks/nexudus")


@pytest.fixture
def sandbox() -> Iterator[Running]:
    with running("--no-deliver", "--username", USERNAME, "--password", PASSWORD) as found:
        yield found
        tell_the_truth(found)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with sqlite_ledger(tmp_path) as found:
        yield found


@pytest.fixture
def line(sandbox: Running, engine: Engine) -> Iterator[Line]:
    with line_to(sandbox.addresses["api"], engine) as found:
        yield found


@pytest.fixture
def source(line: Line) -> Source:
    return line.source()


def writes(sandbox: Running) -> int:
    count = sandbox.get("/sandbox/reads").json()["writes"].get(HOOKS, 0)
    assert isinstance(count, int)
    return count


def answering(*pieces: bytes) -> Talk:
    """Return a talk that receives one request with its body, sends this, and closes."""

    def talk(line: Talking) -> None:
        head, _, body = line.receive().partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        assert length is not None
        while len(body) < int(length[1]):
            body += line.socket.recv(65_536)
        line.received.append(body)
        line.say(*pieces)

    return talk


def way_to(server: RawServer) -> closing[Transport]:
    return closing(Transport(f"http://127.0.0.1:{server.port}"))


def test_a_write_sends_one_json_value_with_the_token() -> None:
    said = OK + b"Content-Length: 2\r\n\r\n{}"
    value = {"Id": 7, "Name": "Zoë 🔔", "URL": "https://x.org/?a=1&b=2", "None": None}
    with talking(answering(said)) as server, way_to(server) as transport:
        found = transport.send_json("PUT", "sys/webhooks", value, "token-1")
    head, body = server.received[0].partition(b"\r\n\r\n")[0], server.received[1]
    assert head.startswith(b"PUT /api/sys/webhooks HTTP/1.1\r\n")
    assert b"\r\nAuthorization: Bearer token-1\r\n" in head + b"\r\n"
    assert b"\r\nContent-Type: application/json\r\n" in head + b"\r\n"
    assert json.loads(body) == value
    assert (found.status, found.body) == (200, b"{}")
    assert server.connections == 1


def test_a_write_without_an_answer_is_not_sent_again() -> None:
    with (
        talking(answering()) as server,
        way_to(server) as transport,
        pytest.raises(SourceUnavailable),
    ):
        transport.send_json("POST", "sys/webhooks", {}, "token-1")
    assert server.connections == 1


def test_a_redirect_of_a_write_is_not_followed() -> None:
    moved = b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
    with (
        talking(answering(moved)) as server,
        way_to(server) as transport,
        pytest.raises(SourceRefused, match="redirect"),
    ):
        transport.send_json("POST", "sys/webhooks", {}, "token-1")
    assert server.connections == 1


def test_a_revoked_token_is_replaced_once_and_the_write_is_done(
    line: Line, sandbox: Running
) -> None:
    source = line.source()
    assert read_webhook(source.session, 7) is None
    line.clock.move(600)  # a token that is quite new would not be replaced
    answer(sandbox, HOOKS, 401, times=1)
    record_id = create_webhook(source.session, HOOK)
    assert record_id is not None
    hook = read_webhook(source.session, record_id)
    assert hook is not None
    assert (hook["URL"], hook["Active"]) == (HOOK.url, True)
    assert (writes(sandbox), grants(sandbox)) == (2, 2)


def test_a_missing_right_to_write_does_not_affect_reading(line: Line, sandbox: Running) -> None:
    source = line.source()
    assert read_webhook(source.session, 7) is None
    line.clock.move(600)
    sandbox.post("/sandbox/misbehaviours", name="missing-right", entity="WebHook", way="create")
    for _ in range(2):
        with pytest.raises(WriteDenied, match="WebHook-Create"):
            create_webhook(source.session, HOOK)
    # The second time no other sign-in is tried for it.
    assert grants(sandbox) == 2
    # A token that is ended then is replaced for who reads, as before.
    line.clock.move(600)
    answer(sandbox, f"{HOOKS}/7", 401, times=1)
    assert read_webhook(source.session, 7) is None
    assert grants(sandbox) == 3


def test_nothing_is_written_during_a_back_off(line: Line, sandbox: Running) -> None:
    answer(sandbox, HOOKS, 409, headers={"Retry-After": "7"})
    with pytest.raises(SourceThrottled):
        create_webhook(line.source().session, HOOK)
    assert line.gate.back_offs == [7.0]
    assert writes(sandbox) == 1


@pytest.mark.parametrize(("status", "body"), [(200, {"Id": 7}), (200, []), (400, "no")])
def test_an_answer_that_does_not_say_that_it_was_done_is_a_refusal(
    source: Source, sandbox: Running, status: int, body: object
) -> None:
    answer(sandbox, HOOKS, status, body=body)
    with pytest.raises(SourceRefused):
        create_webhook(source.session, HOOK)
    assert writes(sandbox) == 1
