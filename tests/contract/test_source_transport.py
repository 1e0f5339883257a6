"""Every way in which an exchange with the source can fail ends in time, with a sentence."""

import gzip
import logging
import socket
import ssl
import threading
import tracemalloc
import zlib
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import SourceRefused, SourceUnavailable
from tests.contract.raw_rig import OK, RawServer, Talk, Talking, saying, talking
from workers.source.answers import Answer, read_answer
from workers.source.http import MAX_BYTES, Transport

QUERY, TOKEN = "ana@people.example", "a-secret-token"
SHORT_S = 1.0
NEVER_S = 60.0  # far beyond what a test may take


def ask(base_url: str, *, whole_s: float = NEVER_S, authorities: str | None = None) -> Answer:
    transport = Transport(base_url, whole_s=whole_s, authorities=authorities)
    try:
        return transport.get("content/courses/7", {"Coworker_Email": QUERY}, TOKEN)
    finally:
        transport.close()


def refusal(base_url: str, *, whole_s: float = NEVER_S, authorities: str | None = None) -> str:
    """Ask, expect no answer, and return the sentence, which names nothing it must not name."""
    with pytest.raises((SourceUnavailable, SourceRefused)) as caught:
        ask(base_url, whole_s=whole_s, authorities=authorities)
    sentence = str(caught.value)
    for kept in ("127.0.0.1", "invalid", "http", "content", "courses", "ana", TOKEN, "Error"):
        assert kept not in sentence.removesuffix("is it an https address?")
    assert caught.value.__cause__ is None
    return sentence


def here(server: RawServer, scheme: str = "http") -> str:
    return f"{scheme}://127.0.0.1:{server.port}"


def chunked(*lines: bytes) -> bytes:
    return OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"\r\n".join(lines)


def packed(body: bytes, kind: bytes = b"gzip") -> bytes:
    return OK + b"Content-Encoding: %b\r\nContent-Length: %d\r\n\r\n" % (kind, len(body)) + body


def drip(*first: bytes, then: bytes) -> Talk:
    def talk(line: Talking) -> None:
        line.receive()
        line.say(*first)
        line.drip(then)

    return talk


def reset_after(*pieces: bytes) -> Talk:
    def talk(line: Talking) -> None:
        line.receive()
        line.say(*pieces)
        line.reset()

    return talk


def say_nothing(line: Talking) -> None:
    line.receive()
    line.receive()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def authorities(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Name a file of the one authority that a client may trust."""
    path = tmp_path_factory.mktemp("authorities") / "authority.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


def tls_for(
    authority: trustme.CA,
    name: str,
    *,
    not_before: datetime | None = None,
    not_after: datetime | None = None,
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made = authority.issue_cert(name, not_before=not_before, not_after=not_after)
    made.configure_cert(context)
    return context


@pytest.fixture(scope="module")
def tls(authority: trustme.CA) -> ssl.SSLContext:
    return tls_for(authority, "127.0.0.1")


@pytest.mark.parametrize(
    "talk",
    [
        drip(then=b"H"),
        drip(OK, then=b"X"),
        drip(OK, then=b"X-Header: again\r\n"),
        drip(then=b"HTTP/1.1 100 Continue\r\n\r\n"),
        drip(OK, b"Content-Length: 1000000\r\n\r\n", then=b" "),
        drip(OK, b"\r\n", then=b" "),
        drip(chunked(b""), then=b"1\r\n \r\n"),
        drip(chunked(b""), then=b"0"),
        drip(chunked(b"0;"), then=b"x"),
        drip(OK, b"Content-Encoding: gzip\r\n\r\n", then=gzip.compress(b"")),
        say_nothing,
    ],
    ids=[
        "status",
        "one-header",
        "headers",
        "continues",
        "body",
        "body-to-the-end",
        "chunks",
        "chunk-length",
        "chunk-extension",
        "packed-nothing",
        "silence",
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_every_slow_answer_is_abandoned_at_the_deadline(
    talk: Talk, scheme: str, tls: ssl.SSLContext, authorities: str
) -> None:
    with talking(talk, tls if scheme == "https" else None) as server:
        said = refusal(here(server, scheme), whole_s=SHORT_S, authorities=authorities)
        # The client disconnected: nothing reads the rest.
        assert server.hung_up.wait(NEVER_S)
    assert said.endswith("it did not finish its answer in time")
    assert len(server.received) == 1


def test_a_slow_tls_handshake_is_abandoned_at_the_deadline() -> None:
    # A record of TLS that is announced and never comes to its end.
    def talk(line: Talking) -> None:
        line.say(b"\x16\x03\x03\x3f\xff\x02")
        line.drip(b"\x00")

    with talking(talk) as server:
        said = refusal(here(server, "https"), whole_s=SHORT_S)
        assert server.hung_up.wait(NEVER_S)
    assert "in time" in said


@pytest.mark.parametrize(
    ("talk", "sentence"),
    [
        (saying(), "it closed the connection"),
        (reset_after(), "it closed the connection"),
        (reset_after(OK), "it closed the connection"),
        (reset_after(OK, b"Content-Length: 9\r\n\r\n{"), "it closed the connection"),
        (saying(OK + b"Content-Length: 100\r\n\r\n{}"), "its answer is incomplete"),
        (saying(chunked(b"10", b"{}")), "its answer is incomplete"),
        (saying(chunked(b"2", b"{}", b"")), "its answer is incomplete"),
        (saying(chunked(b"zz", b"{}", b"0", b"", b"")), "its answer is incomplete"),
        (saying(packed(b"this is not packed")), "its answer cannot be unpacked"),
        (saying(packed(b"this is not packed", b"deflate")), "its answer cannot be unpacked"),
        (saying(b"SSH-2.0-OpenSSH_9.6\r\n"), "its answer is not HTTP"),
        (saying(b"\x15\x03\x01\x00\x02\x02\x16\r\n\r\n"), "its answer is not HTTP"),
        (saying(b"HTTP/1.1 abc OK\r\n\r\n{}"), "its answer is not HTTP"),
        (saying(OK, b"X: " + b"x" * 70_000, b"\r\n\r\n{}"), "its answer is not HTTP"),
        (saying(OK, b"X: x\r\n" * 101, b"\r\n{}"), "its answer is not HTTP"),
        (
            saying(OK, b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
            "its answer is not HTTP",
        ),
    ],
)
def test_every_failure_has_a_sentence_and_no_request_is_repeated(talk: Talk, sentence: str) -> None:
    with talking(talk) as server:
        assert refusal(here(server)) == f"no answer from the source: {sentence}"
    assert server.connections == 1


def test_odd_headers_are_accepted_and_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    said = b"no colon here\r\n: no name\r\nContent-Length: 2\r\n\r\n{}"
    with caplog.at_level(logging.DEBUG), talking(saying(OK, said)) as server:
        assert ask(here(server)).body == b"{}"
    assert [one for one in caplog.records if one.levelno >= logging.WARNING] == []


@pytest.mark.parametrize(
    ("host", "sentence"),
    [
        ("nothing.invalid", "its name cannot be resolved"),
        ("a..b", "its name cannot be resolved"),
        ("x" * 70 + ".invalid", "its name cannot be resolved"),
        ("\N{SNOWMAN}.invalid", "COURSEBELL_NEXUDUS_URL is not the address of a host"),
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_invalid_host_name_is_reported_as_invalid(scheme: str, host: str, sentence: str) -> None:
    assert refusal(f"{scheme}://{host}") == f"no answer from the source: {sentence}"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_closed_port_is_reported_as_closed(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
    assert refusal(f"{scheme}://127.0.0.1:{port}").endswith("nothing listens at its address")


def test_a_port_that_never_accepts_is_abandoned_at_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as door:
        waiting = [socket.socket() for _ in range(4)]
        try:
            for one in waiting:
                one.settimeout(0)
                one.connect_ex(door.getsockname())
            url = f"http://127.0.0.1:{door.getsockname()[1]}"
            assert refusal(url, whole_s=SHORT_S).endswith("in time")
        finally:
            for one in waiting:
                one.close()


def test_a_kept_connection_is_used_again_and_each_exchange_has_its_own_time() -> None:
    def talk(line: Talking) -> None:
        for _ in range(3):
            line.receive()
            line.over.wait(SHORT_S * 0.6)
            line.say(OK, b"Content-Length: 2\r\n\r\n{}")

    with talking(talk) as server:
        transport = Transport(here(server), whole_s=SHORT_S * 1.5)
        # Together they take longer than one of them may.
        assert [transport.get("a", {}, TOKEN).body for _ in range(3)] == [b"{}"] * 3
        transport.close()
    assert server.connections == 1


def test_after_an_abandoned_exchange_the_next_is_complete_and_no_thread_is_left() -> None:
    def talk(line: Talking) -> None:
        line.receive()
        if len(server.received) == 1:
            line.receive()  # sends nothing until the client disconnects
        line.say(OK, b"Content-Length: 2\r\n\r\n{}")

    with talking(talk) as server:
        transport = Transport(here(server), whole_s=SHORT_S)
        threads = threading.active_count()
        with pytest.raises(SourceUnavailable, match="in time"):
            transport.get("a", {}, TOKEN)
        assert transport.get("a", {}, TOKEN).body == b"{}"
        assert threading.active_count() == threads
        transport.close()


def test_a_trusted_certificate_is_accepted(tls: ssl.SSLContext, authorities: str) -> None:
    talk = saying(OK, b"Content-Length: 2\r\n\r\n{}")
    with talking(talk, tls) as server:
        assert ask(here(server, "https"), authorities=authorities).body == b"{}"


def test_the_file_of_authorities_is_read_once_for_all_threads(
    tls: ssl.SSLContext, authority: trustme.CA, tmp_path: Path
) -> None:
    file = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(file))
    with talking(saying(OK, b"Content-Length: 2\r\n\r\n{}"), tls) as server:
        assert ask(here(server, "https"), authorities=str(file)).body == b"{}"
        file.unlink()
        assert ask(here(server, "https"), authorities=str(file)).body == b"{}"


def test_a_certificate_of_an_unknown_authority_is_not_trusted(tls: ssl.SSLContext) -> None:
    with talking(saying(OK), tls) as server:
        assert refusal(here(server, "https")).endswith("its certificate is not trusted")
    assert server.received == [], "the token was not sent"


def test_a_certificate_for_another_name_is_not_accepted(
    authority: trustme.CA, authorities: str
) -> None:
    for name in ("elsewhere.example", "127.0.0.2"):
        with talking(saying(OK), tls_for(authority, name)) as server:
            said = refusal(here(server, "https"), authorities=authorities)
        assert "its certificate is for another" in said
        assert server.received == []


def test_a_certificate_outside_its_validity_is_not_accepted(
    authority: trustme.CA, authorities: str
) -> None:
    now, day = datetime.now(UTC), timedelta(days=1)
    old = tls_for(authority, "127.0.0.1", not_before=now - 2 * day, not_after=now - day)
    new = tls_for(authority, "127.0.0.1", not_before=now + day, not_after=now + 2 * day)
    for tls, sentence in ((old, "has expired"), (new, "is not valid yet")):
        with talking(saying(OK), tls) as server:
            assert sentence in refusal(here(server, "https"), authorities=authorities)


def test_http_where_https_is_expected_and_the_other_way_round(
    tls: ssl.SSLContext, authorities: str
) -> None:
    with talking(saying(OK, b"\r\n{}")) as server:
        said = refusal(here(server, "https"), whole_s=SHORT_S)
        assert "no encrypted connection" in said or "in time" in said
    with talking(saying(OK), tls) as server:
        assert refusal(here(server), authorities=authorities).startswith("no answer")


def _bomb(levels: int) -> bytes:
    squeezing = zlib.compressobj(9, zlib.DEFLATED, 31)
    nothing = b" " * 2**20
    body = b"".join(squeezing.compress(nothing) for _ in range(100)) + squeezing.flush()
    return body if levels == 1 else gzip.compress(body)


@pytest.mark.parametrize(("levels", "kind"), [(1, b"gzip"), (2, b"gzip, gzip")])
def test_a_compression_bomb_is_abandoned_before_it_is_unpacked(levels: int, kind: bytes) -> None:
    with talking(saying(packed(_bomb(levels), kind))) as server:
        tracemalloc.start()
        try:
            assert "over" in refusal(here(server))
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert most < 4 * MAX_BYTES


@pytest.mark.parametrize("target", ["/elsewhere", "http://[::1", "\xff", "http://a..b:x/"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_its_endless_page_not_read(status: int, target: str) -> None:
    def talk(line: Talking) -> None:
        line.receive()
        line.say(b"HTTP/1.1 %d Found\r\nLocation: %b\r\n\r\n" % (status, target.encode()))
        line.drip(b" " * 65_536, every_s=0)

    with talking(talk) as server:
        assert "a redirect; not followed" in refusal(here(server))
        assert server.hung_up.wait(NEVER_S)
    assert server.connections == 1


def test_no_cookie_is_sent_back() -> None:
    def talk(line: Talking) -> None:
        for _ in range(2):
            line.receive()
            line.say(OK, b"Set-Cookie: who=another; Path=/\r\nContent-Length: 2\r\n\r\n{}")

    with talking(talk) as server:
        transport = Transport(here(server))
        transport.get("a", {}, TOKEN)
        transport.get("a", {}, TOKEN)
        transport.close()
    assert len(server.received) == 2
    assert b"cookie" not in server.received[1].lower()


@pytest.mark.parametrize(
    ("headers", "body", "name"),
    [
        ("application/json; charset=utf-8", "Zoë".encode(), "Zoë"),
        ("application/json", b"\xef\xbb\xbf", ""),
        ("application/json; charset=iso-8859-1", "Zoë".encode(), "Zoë"),
        ("application/json; charset=iso-8859-1", b"Zo\xeb", "Zoë"),
        ("application/json; charset=no-such-thing", "Zoë".encode(), "Zoë"),
        ("application/json; charset=no-such-thing", b"Zo\xeb", None),
        ("application/json", b"Zo\xeb", None),
    ],
)
def test_text_is_decoded_whatever_charset_is_declared(
    headers: str, body: bytes, name: str | None
) -> None:
    bom, text = (body, b"") if body.startswith(b"\xef") else (b"", body)
    whole = bom + b'{"FullName": "%b"}' % text
    said = f"Content-Type: {headers}\r\nContent-Length: {len(whole)}\r\n\r\n".encode()
    with talking(saying(OK, said, whole)) as server:
        answer = ask(here(server))
    if name is None:
        with pytest.raises(SourceUnavailable, match="not JSON"):
            read_answer(answer)
    else:
        assert read_answer(answer) == {"FullName": name}


def test_an_answer_without_a_date_gets_the_time_at_which_it_came() -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    with talking(saying(OK, b"Content-Length: 0\r\n\r\n")) as server:
        came_at = parsedate_to_datetime(ask(here(server)).headers["date"])
    assert before <= came_at <= datetime.now(UTC)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.sampled_from(
                [
                    OK,
                    b"HTTP/1.1 ",
                    b"404 x\r\n",
                    b"\r\n",
                    b"Content-Length: 5\r\n",
                    b"Transfer-Encoding: chunked\r\n",
                    b"Content-Encoding: deflate\r\n",
                    b"Set-Cookie: a\r\n",
                    b"5\r\n",
                ]
            ),
        ),
        max_size=8,
    )
)
def test_any_bytes_are_an_answer_or_one_of_our_errors(pieces: list[bytes]) -> None:
    with talking(saying(*pieces)) as server, suppress(SourceUnavailable, SourceRefused):
        assert ask(here(server)).status
