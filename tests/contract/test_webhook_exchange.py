"""A POST to an endpoint goes only where it may, over TLS of that name, and ends in time."""

import ipaddress
import ssl
import time
from collections.abc import Sequence

import pytest
import trustme

from schemas.errors import ChannelUnavailable
from schemas.reasons import Reason
from tests.contract.raw_rig import OK, Talking, saying, talking
from tests.doubles.endpoint import ReceivingEndpoint, receiving
from workers.actions.base import Checkpoints
from workers.actions.webhook.exchange import Exchange, Reply, Timeouts, is_permitted

HERE = (ipaddress.ip_network("127.0.0.0/8"),)
TOKEN = "T0SECRETTOKEN"
SHORT = Timeouts(whole_s=1.0, connect_s=1.0)
NEVER_S = 30.0


class Steps:
    """Counts the checkpoints."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.points = Checkpoints(
            lambda: self.taken.append("step"), lambda: self.taken.append("commit")
        )


def post(
    url: str,
    exchange: Exchange | None = None,
    checkpoints: Checkpoints | None = None,
    body: bytes = b"{}",
) -> Reply:
    made = exchange or Exchange(HERE, SHORT)
    return made.post(f"{url}/in?key={TOKEN}", {"X-A": "b"}, body, checkpoints or Checkpoints())


def refused(url: str, exchange: Exchange | None = None) -> ChannelUnavailable:
    with pytest.raises(ChannelUnavailable) as caught:
        post(url, exchange)
    assert TOKEN not in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)
    return caught.value


def test_one_post_arrives_whole_with_its_host_and_after_the_last_checkpoint() -> None:
    endpoint, steps = ReceivingEndpoint(), Steps()
    body = "é".encode() * 40_000
    with receiving(endpoint) as url:
        assert post(url, checkpoints=steps.points, body=body).status == 200
    [arrived] = endpoint.arrived
    assert (arrived.path, arrived.body) == (f"/in?key={TOKEN}", body)
    assert arrived.headers["host"] == f"127.0.0.1:{endpoint.port}"
    assert arrived.headers["x-a"] == "b"
    assert steps.taken == ["step", "commit"]


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",  # where clouds keep the credentials of a machine
        "100.64.0.1",
        "0.0.0.0",  # noqa: S104 - never bound
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1%lo",
        "fd00:ec2::254",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "::127.0.0.1",
        "64:ff9b:1::",
        "fec0::1",
        "3fff::1",
        "168.63.129.16",
    ],
)
def test_no_address_that_is_not_public_is_posted_to(address: str) -> None:
    assert not is_permitted(address, ())


def test_public_addresses_and_listed_networks_are_posted_to() -> None:
    assert is_permitted("93.184.215.14", ())
    assert is_permitted("2606:2800:21f:cb07:6820:80da:af6b:8b2c", ())
    assert is_permitted("::ffff:93.184.215.14", ())
    assert is_permitted("64:ff9b::5db8:d70e", ())  # 93.184.215.14, in a network with IPv6 only
    assert is_permitted("10.1.2.3", (ipaddress.ip_network("10.0.0.0/8"),))
    assert is_permitted("::ffff:10.1.2.3", (ipaddress.ip_network("10.0.0.0/8"),))
    assert not is_permitted("10.1.2.3", (ipaddress.ip_network("10.2.0.0/16"),))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1"])
def test_however_it_is_written_this_machine_is_not_reached_unless_listed(host: str) -> None:
    endpoint = ReceivingEndpoint()
    with receiving(endpoint):
        error = refused(f"https://{host}:{endpoint.port}", Exchange((), SHORT))
    assert error.reason is Reason.ENDPOINT_ADDRESS
    assert endpoint.arrived == []


def test_a_name_that_changes_after_the_check_leads_nowhere_else() -> None:
    """The connection goes to the address that was checked, wherever the name leads by then.

    At the check the name leads to 127.0.0.9, where nothing listens; at any later look, and for
    the system, it leads to the server.
    """
    asked: list[str] = []

    def rebinding(host: str, _: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.9"] if len(asked) == 1 else ["127.0.0.1"]

    checked = (ipaddress.ip_network("127.0.0.9"),)
    endpoint, exchange = ReceivingEndpoint(), Exchange(checked, SHORT, resolve=rebinding)
    with receiving(endpoint):
        error = refused(f"http://localhost:{endpoint.port}", exchange)
    assert (error.reason, asked) == (Reason.DELIVERY_DOWN, ["localhost"])
    assert endpoint.arrived == []


def test_an_address_that_is_not_permitted_is_left_out_of_those_of_a_name() -> None:
    endpoint = ReceivingEndpoint()
    exchange = Exchange(
        (ipaddress.ip_network("127.0.0.1"),), SHORT, resolve=lambda *_: ["::1", "127.0.0.1"]
    )
    with receiving(endpoint):
        assert post(f"http://several.example:{endpoint.port}", exchange).status == 200
    assert endpoint.arrived[0].headers["host"] == f"several.example:{endpoint.port}"


def test_what_is_not_encrypted_stays_on_this_machine() -> None:
    exchange = Exchange(
        (ipaddress.ip_network("10.0.0.0/8"),), SHORT, resolve=lambda *_: ["10.255.255.1"]
    )
    assert refused("http://localhost:8080", exchange).reason is Reason.ENDPOINT_ADDRESS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def serving(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def test_the_certificate_must_be_for_the_name(authority: trustme.CA) -> None:
    endpoint = ReceivingEndpoint()
    with (
        authority.cert_pem.tempfile() as trusted,
        receiving(endpoint, serving(authority.issue_cert("hooks.example"))),
    ):
        exchange = Exchange(HERE, SHORT, authorities=trusted, resolve=lambda *_: ["127.0.0.1"])
        assert post(f"https://hooks.example:{endpoint.port}", exchange).status == 200
        other = refused(f"https://other.example:{endpoint.port}", exchange)
        untrusted = refused(
            f"https://hooks.example:{endpoint.port}",
            Exchange(HERE, SHORT, resolve=lambda *_: ["127.0.0.1"]),
        )
    assert other.answer == "its certificate is for another name"
    assert untrusted.answer == "its certificate is not trusted"
    assert len(endpoint.arrived) == 1


def test_a_plain_server_gets_nothing_over_an_encrypted_address() -> None:
    endpoint = ReceivingEndpoint()
    with receiving(endpoint):
        error = refused(f"https://127.0.0.1:{endpoint.port}")
    assert error.reason is Reason.DELIVERY_DOWN
    assert endpoint.arrived == []


def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    endpoint = ReceivingEndpoint()
    with receiving(endpoint) as url:
        endpoint.answer(302, Location=f"{url}/elsewhere")
        assert post(url).status == 302
    assert len(endpoint.arrived) == 1


def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with receiving(ReceivingEndpoint()) as url:
        assert post(url).status == 200


def test_an_answer_byte_by_byte_ends_with_the_deadline() -> None:
    def talk(line: Talking) -> None:
        line.receive()
        line.say(OK, b"X-A: ")
        line.drip(b"b", every_s=0.02)

    with talking(talk) as server:
        began = time.monotonic()
        error = refused(f"http://127.0.0.1:{server.port}", Exchange(HERE, SHORT))
        assert time.monotonic() - began < NEVER_S
    assert error.answer == "it did not answer in time"


def test_a_slow_or_endless_body_changes_nothing_about_the_answer() -> None:
    def talk(line: Talking) -> None:
        line.receive()
        line.say(OK, b"Content-Length: 5242880\r\n\r\n")
        line.drip(b"x" * 65_536, every_s=0)

    with talking(talk) as server:
        reply = post(f"http://127.0.0.1:{server.port}")
    assert reply.status == 200
    assert len(reply.body) <= 1_024


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"hello\r\n\r\n", "its answer is not HTTP"),
        (b"", "it closed the connection"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200, "its answer is not HTTP"),
        (b"HTTP/1.1 200 " + b"x" * 70_000, "its answer is not HTTP"),
    ],
)
def test_what_is_no_answer_has_a_sentence(said: bytes, why: str) -> None:
    with talking(saying(said)) as server:
        assert refused(f"http://127.0.0.1:{server.port}").answer == why


def test_nothing_that_listens_and_no_name_have_sentences() -> None:
    with talking(saying(b"")) as server:
        port = server.port
    assert refused(f"http://127.0.0.1:{port}").answer == "nothing listens at its address"
    assert refused("https://nowhere.invalid").answer == "its name is not known"


@pytest.mark.parametrize(("stated", "seconds"), [("120", 120.0), ("soon", None)])
def test_how_long_to_wait_is_read(stated: str, seconds: float | None) -> None:
    endpoint = ReceivingEndpoint()
    endpoint.answer(429, Retry_After=stated)
    with receiving(endpoint) as url:
        assert post(url).retry_after_s == seconds
