"""Where the web server listens: real sockets, and real processes where they matter."""

import contextlib
import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from schemas.errors import ConfigurationError
from schemas.settings import Settings, load_settings
from service.cli.listening import Address, announcement, free_address
from tests.e2e.house import House, living
from tests.servers.programs import wait_until
from workers.local.server import free_port


def settings(listen: str, **others: str) -> Settings:
    return load_settings({"COURSEBELL_LISTEN": listen, **others})


def refusal(listen: str, **others: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        free_address(settings(listen, **others))
    (sentence,) = caught.value.mistakes
    return sentence


class _Alive(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"alive":true}\n' if self.path == "/healthz" else b"{}")

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextlib.contextmanager
def answering(address: Address) -> Iterator[None]:
    """Answer at this address as a Coursebell web server does."""
    family = socket.AF_INET6 if ":" in address.listen.host else socket.AF_INET
    kind = type("Server", (http.server.ThreadingHTTPServer,), {"address_family": family})
    with kind((address.listen.host, address.listen.port), _Alive) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("host", "reached_at", "note"),
    [
        ("127.0.0.1", "127.0.0.1", ""),
        ("0.0.0.0", "127.0.0.1", "every network interface"),  # noqa: S104 - what is tested
        ("localhost", "127.0.0.1", "localhost is 127.0.0.1"),
        ("[::1]", "[::1]", ""),
        ("[::]", "[::1]", "every network interface"),
        ("[0:0:0:0:0:0:0:1]", "[::1]", "0:0:0:0:0:0:0:1 is ::1"),
    ],
)
def test_the_printed_address_works_whatever_the_setting_names(
    host: str, reached_at: str, note: str
) -> None:
    port = free_port()
    address = free_address(settings(f"{host}:{port}"))
    assert address.url == f"http://{reached_at}:{port}"
    assert note in address.note
    with answering(address):
        assert requests.get(f"{address.url}/healthz", timeout=5).json() == {"alive": True}


def test_an_address_that_cannot_be_used_is_refused_with_a_sentence() -> None:
    assert "cannot be resolved" in refusal("not..a.name:8000")
    assert "is not an address of this machine" in refusal("192.0.2.1:8000")
    assert "is not an address of this machine" in refusal("[2001:db8::1]:8000")
    assert "link-local IPv6 address is not supported" in refusal("[fe80::1%lo]:8000")


def test_a_port_in_use_is_reported_with_its_user(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(0)
        port = other.getsockname()[1]
        for listen in (f"localhost:{port}", f"0.0.0.0:{port}"):
            assert "in use by another program" in refusal(listen)
    address = free_address(settings(f"127.0.0.1:{free_port()}"))
    with answering(address):
        said = refusal(str(address.listen), COURSEBELL_DATA_DIR=str(tmp_path))
    assert "Coursebell is already running there" in said
    assert "`coursebell status`" in said
    assert str(tmp_path) in said


def test_up_is_announced_once_the_server_answers_and_not_before() -> None:
    address = free_address(settings(f"127.0.0.1:{free_port()}"))
    said: list[str] = []
    announce = announcement(address, said.append)
    announce()
    assert said == []
    with answering(address):
        announce()
        announce()
    assert said == [
        f"Coursebell is up at {address.url}",
        f"Its health is at {address.url}/readyz",
    ]


def test_a_server_that_does_not_answer_for_long_is_reported_once() -> None:
    address = free_address(settings(f"127.0.0.1:{free_port()}"))
    said: list[str] = []
    announce = announcement(address, said.append, late_after_s=0)
    announce()
    announce()
    assert [line.partition(";")[0] for line in said] == [
        f"The web server does not answer yet at {address.url}"
    ]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    port = free_port()
    folder = tmp_path_factory.mktemp("listening")
    with living(folder, COURSEBELL_LISTEN=f"localhost:{port}") as found:
        yield found


def test_up_prints_an_address_that_answers_when_a_host_name_is_set(house: House) -> None:
    log = house.folder / "up.log"
    house.start("up")
    wait_until(lambda: "Coursebell is up at" in log.read_text(), "the announcement")
    (line,) = [one for one in log.read_text().splitlines() if "Coursebell is up at" in one]
    url = line.split()[4]
    assert requests.get(f"{url}/healthz", timeout=5).json() == {"alive": True}
    assert "localhost is 127.0.0.1" in line
    for name, said in (
        ("serve", "Coursebell is already running there"),
        ("up", "`coursebell up` already runs on"),
    ):
        second = house.run(name)
        assert second.returncode == 2
        assert said in second.stderr
    house.end("up")


def test_of_two_servers_that_start_together_one_is_refused(house: House) -> None:
    house.start("serve")
    first = house.processes.pop("serve")
    house.start("serve")
    second = house.processes.pop("serve")
    house.processes |= {"first": first, "second": second}
    log = house.folder / "serve.log"
    wait_until(lambda: None not in {first.poll(), second.poll()} or _one_ended(house), "one ended")
    assert {first.poll(), second.poll()} == {None, 2}
    wait_until(lambda: "web.listening" in log.read_text(), "the other listens")
    assert log.read_text().count("web.listening") == 1
    assert "COURSEBELL_LISTEN" in log.read_text()
    assert "COURSEBELL_RELAY_TOKENS: it has fewer than 16 characters" in log.read_text()


def _one_ended(house: House) -> bool:
    return any(process.poll() is not None for process in house.processes.values())
