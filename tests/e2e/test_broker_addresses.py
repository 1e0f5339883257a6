"""Every spelling of a broker's address means the same to Celery, to the limiter and to our PING.

One real server with a user, a password, sixteen databases, a port and a Unix socket; TLS stands in
front of it, since the server in the wheel has none.
"""

import contextlib
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
import redis
import trustme
from kombu.exceptions import KombuError

from ledger.clock import SYSTEM_CLOCK
from schemas.errors import ConfigurationError
from tests.contract.budget_rig import at_once
from tests.doubles.tls_front import tls_front
from tests.e2e.house import open_house
from tests.servers.programs import wait_until
from workers.app import make_worker_app
from workers.broker import broker_answers, choose_broker
from workers.environment import load
from workers.local.server import free_port
from workers.queues import LOOKUP_DRAIN, WORK
from workers.source.budget import Budget
from workers.wakeup import make_publisher

USER, PASSWORD = "ana", "o/d:d@%2F#?"
LOGIN = f"{USER}:{quote(PASSWORD, safe='')}@"
PLAIN = "plain-password"


@dataclass(frozen=True)
class Server:
    """Where the one server is reached, and the files that TLS needs."""

    port: int
    socket: Path
    tls_port: int
    strict_port: int  # TLS that wants a client's certificate
    ca: Path
    certificate: Path

    def fill(self, form: str) -> str:
        return form.format(
            login=LOGIN,
            plain=f":{PLAIN}@",
            port=self.port,
            tls=self.tls_port,
            strict=self.strict_port,
            socket=quote(str(self.socket)),
            ca=quote(str(self.ca)),
            certificate=quote(str(self.certificate)),
        )

    def database(self, number: int) -> redis.Redis:
        return redis.Redis(port=self.port, password=PLAIN, db=number, decode_responses=True)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("a broker; with TLS")
    socket, port = folder / "broker.sock", free_port()
    conf = folder / "broker.conf"
    conf.write_text(
        f'port {port}\nunixsocket "{socket}"\nrequirepass {PLAIN}\nsave ""\nappendonly no\n'
        f'user {USER} on ">{PASSWORD}" ~* &* +@all\n'
    )
    binary = choose_broker(None, folder, search_path="").binary
    assert binary is not None
    ca = trustme.CA()
    issued = ca.issue_cert("127.0.0.1")
    ca.cert_pem.write_to_path(folder / "ca.pem")
    issued.private_key_and_cert_chain_pem.write_to_path(folder / "client.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(context)
    strict = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(strict)
    ca.configure_trust(strict)
    strict.verify_mode = ssl.CERT_REQUIRED
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen([str(binary), str(conf)], stdout=log) as program,
        contextlib.closing(redis.Redis(port=port, password=PLAIN)) as client,
        tls_front(context, port) as tls_port,
        tls_front(strict, port) as strict_port,
    ):
        wait_until(lambda: _pings(client), "the server up")
        yield Server(port, socket, tls_port, strict_port, folder / "ca.pem", folder / "client.pem")
        program.terminate()


def _pings(client: redis.Redis) -> bool:
    with contextlib.suppress(redis.ConnectionError):
        return bool(client.ping())
    return False


SPELLINGS = {
    "redis://{plain}127.0.0.1:{port}": 0,
    "redis://{plain}localhost:{port}/?family=0": 0,
    "redis://{login}127.0.0.1:{port}/3": 3,
    "redis://{login}127.0.0.1:{port}/?db=4&visibility_timeout=3600": 4,
    "redis+socket://{plain}{socket}": 0,
    "redis+socket://{login}{socket}?virtual_host=2": 2,
    "redis+socket://{login}{socket}?virtual_host=/5&visibility_timeout=3600": 5,
    "rediss://{login}127.0.0.1:{tls}/6?ssl_ca_certs={ca}": 6,
    "rediss://{plain}127.0.0.1:{tls}/7?ssl_cert_reqs=CERT_REQUIRED&ssl_ca_certs={ca}": 7,
    "rediss://{plain}127.0.0.1:{tls}/8?ssl_cert_reqs=optional&ssl_ca_certs={ca}": 8,
    "rediss://{plain}127.0.0.1:{tls}/9?ssl_cert_reqs=CERT_NONE&family=0": 9,
    "rediss://{plain}127.0.0.1:{tls}/10?ssl_cert_reqs=none": 10,
    "rediss://{plain}localhost:{tls}/11?ssl_check_hostname=false&ssl_ca_certs={ca}": 11,
    "rediss://{plain}127.0.0.1:{strict}/12?ssl_certfile={certificate}&ssl_ca_certs={ca}": 12,
}


@pytest.mark.parametrize(("form", "database"), SPELLINGS.items())
def test_celery_the_limiter_and_our_ping_reach_the_same_database(
    server: Server, tmp_path: Path, form: str, database: int
) -> None:
    url = server.fill(form)
    settings = load({"COURSEBELL_DATA_DIR": str(tmp_path), "COURSEBELL_BROKER_URL": url})
    assert settings.broker_url == url
    assert broker_answers(url)
    with contextlib.closing(server.database(database)) as inside:
        inside.flushdb()
        budget = Budget("5/second;50/minute", url, shares=1, clock=SYSTEM_CLOCK)
        budget.take(at_once())
        assert budget.state().shared
        budget.close()
        assert inside.keys("coursebell:budget:*")
        with make_publisher(url) as publisher:
            publisher.send_task(LOOKUP_DRAIN)
        assert inside.llen(f"coursebell:{WORK}") == 1
    received = []
    with make_worker_app(settings) as app, app.connection_for_read() as connection:
        channel = connection.channel()
        with app.amqp.TaskConsumer(
            channel, callbacks=[lambda _, message: received.append(message)]
        ):
            connection.drain_events(timeout=10)
        expected = 3600 if "visibility_timeout" in url else 900
        assert channel.visibility_timeout == expected  # type: ignore[attr-defined]  # of this transport
    assert [message.headers["task"] for message in received] == [LOOKUP_DRAIN]


@pytest.mark.parametrize(
    "form",
    [
        "rediss://{plain}127.0.0.1:{tls}/0",
        "rediss://{plain}localhost:{tls}/0?ssl_ca_certs={ca}",
        "rediss://{plain}127.0.0.1:{strict}/0?ssl_ca_certs={ca}",
        # A database of its own: kombu shares connections that differ in nothing but TLS.
        "rediss://{plain}127.0.0.1:{port}/15?ssl_cert_reqs=none",
        "redis://:wrong@127.0.0.1:{port}/0",
    ],
    ids=["unknown authority", "another name", "no client certificate", "no TLS", "wrong password"],
)
def test_a_server_that_is_not_the_one_asked_for_is_away_for_all_of_them(
    server: Server, form: str
) -> None:
    url = server.fill(form)
    assert not broker_answers(url)
    budget = Budget("5/second", url, shares=1, clock=SYSTEM_CLOCK)
    budget.take(at_once())
    assert not budget.state().shared
    budget.close()
    no_answer = (KombuError, redis.RedisError, OSError)
    with make_publisher(url) as publisher, pytest.raises(no_answer) as refused:
        publisher.send_task(LOOKUP_DRAIN)
    assert "wrong" not in str(refused.value)


def test_certificate_files_that_cannot_be_used_are_named_at_start(
    server: Server, tmp_path: Path
) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("no certificate")
    for option, path, why in (
        ("ssl_ca_certs", tmp_path / "gone.pem", "no such file or directory"),
        ("ssl_ca_certs", text, "its content is something else"),
        ("ssl_certfile", server.ca, "its content is something else"),
    ):
        url = f"rediss://h/0?{option}={quote(str(path))}"
        with pytest.raises(ConfigurationError, match=f"COURSEBELL_BROKER_URL: {option}") as caught:
            load({"COURSEBELL_BROKER_URL": url})
        assert why in str(caught.value)
        assert str(path) not in str(caught.value)


def test_a_house_whose_broker_is_behind_tls_delivers(server: Server, tmp_path: Path) -> None:
    url = server.fill("rediss://{login}127.0.0.1:{tls}/1?ssl_ca_certs={ca}&family=0")
    with open_house(tmp_path, COURSEBELL_BROKER_URL=url) as house:
        house.sandbox.enrol("Joël", "Freelance Finance")
        house.wait_mails("joel", 1)
    with contextlib.closing(server.database(1)) as inside:
        assert inside.keys("coursebell:*")
