"""A ledger belongs to one secret key: no process works on it with another."""

import os
import pwd
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest
from click.testing import CliRunner

from ledger.controls import KeyCheck, accept_key, check_key, has_known_key
from ledger.engine import Engine, open_engine, writing
from ledger.tables import controls
from schemas.errors import ConfigurationError
from schemas.settings import load_settings
from service.cli.main import commands
from tests.contract.ledger_rig import NOW, at, at_once, rows
from tests.servers import forking
from tests.servers.ready_ledgers import sqlite_copy
from workers.local.server import free_port
from workers.secret_key import checked_secret_key, secret_key

OURS, ANOTHER = "a" * 40, "b" * 40
REFUSED = "not the secret key that the ledger belongs to"


def test_the_first_key_is_the_ledgers_and_another_is_refused(ledger_engine: Engine) -> None:
    assert not has_known_key(ledger_engine)
    for _ in range(2):
        check_key(ledger_engine, OURS, NOW)
        assert has_known_key(ledger_engine)
    with pytest.raises(ConfigurationError, match=REFUSED):
        check_key(ledger_engine, ANOTHER, NOW)
    with writing(ledger_engine) as connection:
        accept_key(connection, ANOTHER, "rita", at(1))
    check_key(ledger_engine, ANOTHER, NOW)
    with pytest.raises(ConfigurationError, match=REFUSED):
        check_key(ledger_engine, OURS, NOW)
    assert not [row for row in rows(ledger_engine, controls) if OURS in row.value]


def test_of_several_first_keys_one_is_accepted(ledger_engine: Engine) -> None:
    def come(number: int) -> bool:
        try:
            check_key(ledger_engine, f"{number}" * 40, NOW)
        except ConfigurationError:
            return False
        return True

    assert sum(at_once(4, come)) == 1


def test_a_running_process_is_checked_once_the_ledger_can_be_read(ledger_engine: Engine) -> None:
    check_key(ledger_engine, OURS, NOW)
    check = KeyCheck(ledger_engine, ANOTHER)
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=REFUSED):
            check.check(NOW)
    KeyCheck(ledger_engine, OURS).check(NOW)


def test_no_key_is_made_for_a_ledger_that_belongs_to_one(
    ledger_engine: Engine, tmp_path: Path
) -> None:
    settings = load_settings({"COURSEBELL_DATA_DIR": str(tmp_path / "var")})
    key = checked_secret_key(settings, ledger_engine, NOW)
    (tmp_path / "var" / "secret_key").unlink()
    with pytest.raises(ConfigurationError, match="restore the file"):
        checked_secret_key(settings, ledger_engine, NOW)
    assert not (tmp_path / "var" / "secret_key").exists()
    (tmp_path / "var" / "secret_key").write_text(key)
    assert checked_secret_key(settings, ledger_engine, NOW) == key


@pytest.mark.parametrize("content", ["", "\n", "0123", "  \n"])
def test_a_key_file_that_is_empty_or_cut_short_is_refused_and_stays(
    tmp_path: Path, content: str
) -> None:
    path = tmp_path / "secret_key"
    path.write_text(content)
    with pytest.raises(ConfigurationError, match="empty, truncated"):
        secret_key(load_settings({"COURSEBELL_DATA_DIR": str(tmp_path)}))
    assert path.read_text() == content


def test_processes_that_make_a_key_at_once_agree_on_one(tmp_path: Path) -> None:
    settings = load_settings({"COURSEBELL_DATA_DIR": str(tmp_path)})
    [key] = set(at_once(8, lambda _: secret_key(settings)))
    assert len(bytes.fromhex(key)) == 32
    assert [path.name for path in tmp_path.iterdir()] == ["secret_key"]
    assert (tmp_path / "secret_key").stat().st_mode & 0o777 == 0o600


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Give the settings of a machine whose key is not that of its ledger."""
    folder = tmp_path_factory.mktemp("another-key")
    url = sqlite_copy(folder / "ledger.db")
    clean = {name: value for name, value in os.environ.items() if "COURSEBELL" not in name}
    found = clean | {
        "COURSEBELL_DATA_DIR": str(folder / "var"),
        "COURSEBELL_DATABASE_URL": url,
        "COURSEBELL_BROKER_URL": "redis://127.0.0.1:1",
        "COURSEBELL_LISTEN": f"127.0.0.1:{free_port()}",
    }
    accepted = run(found | {"COURSEBELL_SECRET_KEY": OURS}, "config", "accept-key", "--yes")
    assert accepted.returncode == 0, accepted.stderr
    return found


def run(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return forking.run("service", *words, env=environment, timeout=60)


@pytest.mark.parametrize("name", ["serve", "worker", "clock", "up", "certify"])
def test_each_process_refuses_another_key_at_its_start(
    environment: dict[str, str], name: str
) -> None:
    done = run(environment | {"COURSEBELL_SECRET_KEY": ANOTHER}, name)
    assert done.returncode == 2
    assert REFUSED in done.stderr
    assert ANOTHER not in done.stderr


@pytest.mark.parametrize("name", ["serve", "worker", "certify"])
def test_a_process_that_signs_or_verifies_refuses_to_make_a_new_key(
    environment: dict[str, str], name: str
) -> None:
    done = run(environment, name)
    assert done.returncode == 2
    assert "belongs to a secret key that is not here" in done.stderr
    assert not (Path(environment["COURSEBELL_DATA_DIR"]) / "secret_key").exists()


def test_another_key_is_accepted_only_with_consent(
    environment: dict[str, str], tmp_path: Path
) -> None:
    url = sqlite_copy(tmp_path / "ledger.db")
    here = environment | {"COURSEBELL_DATABASE_URL": url, "COURSEBELL_SECRET_KEY": ANOTHER}
    asked = run(here, "config", "accept-key")
    assert asked.returncode == 3
    assert "--yes" in asked.stderr
    assert run(here, "config", "accept-key", "--yes").returncode == 0
    assert run(here | {"COURSEBELL_SECRET_KEY": OURS}, "certify").returncode == 2


def test_a_user_without_a_name_accepts_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nameless(uid: int) -> NoReturn:
        raise KeyError(uid)

    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nameless)  # as in a container
    url = sqlite_copy(tmp_path / "ledger.db")
    environment = {"COURSEBELL_DATABASE_URL": url, "COURSEBELL_SECRET_KEY": OURS}
    words = ["config", "accept-key", "--yes"]
    done = CliRunner().invoke(commands, words, env=environment, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    engine = open_engine(url)
    who = {row.name: row.changed_by for row in rows(engine, controls)}
    engine.dispose()
    assert who["secret_key_fingerprint"] == f"uid {os.getuid()}"
