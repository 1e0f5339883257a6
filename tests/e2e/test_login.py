"""A user with a second factor signs in once by hand, and workers renew that sign-in."""

import json
import os
import pty
import select
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from ledger.engine import open_engine, reading
from ledger.source_state import SignIn, sign_in_of
from tests.contract.token_rig import INVALID, SigningIn, signing_in
from tests.servers import forking
from tests.servers.ready_ledgers import sqlite_copy
from workers.local.server import free_port

PASSWORD = "correct horse"
KEY = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
_PATIENCE_S = 60.0


@dataclass
class Desk:
    """A place with settings and a ledger, from which a person gives commands."""

    environment: dict[str, str]
    server: SigningIn

    def run(self, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
        stated = {name: text for name, text in {**self.environment, **settings}.items() if text}
        return forking.run("service", *words, env=stated, timeout=_PATIENCE_S)

    def kept(self) -> SignIn:
        engine = open_engine(f"sqlite:///{self.environment['COURSEBELL_DATA_DIR']}/coursebell.db")
        with reading(engine) as connection:
            found = sign_in_of(connection)
        engine.dispose()
        return found


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with signing_in() as server:
        clean = {name: text for name, text in os.environ.items() if "COURSEBELL_" not in name}
        environment = {
            **clean,
            "COURSEBELL_DATA_DIR": str(tmp_path / "var"),
            "COURSEBELL_NEXUDUS_URL": server.url,
            "COURSEBELL_NEXUDUS_USERNAME": "api@example.org",
            "COURSEBELL_NEXUDUS_PASSWORD": PASSWORD,
        }
        sqlite_copy(tmp_path / "var" / "coursebell.db")
        yield Desk(environment, server)


def test_a_code_signs_in_and_the_tokens_are_stored_for_workers(desk: Desk) -> None:
    done = desk.run("login", "--code", "123 456", "--json")
    assert done.returncode == 0, done.stderr
    [asked] = desk.server.asked
    assert (asked.form["password"], asked.form["totp"]) == (PASSWORD, "123456")
    said = json.loads(done.stdout)
    signed_in_at = datetime.fromisoformat(said["signed_in_at"])
    assert datetime.fromisoformat(said["lasts_until"]) - signed_in_at == timedelta(days=15)
    kept = desk.kept()
    assert (kept.version, kept.access_token, kept.refresh_token) == (1, "access-1", "refresh-1")
    result = desk.run("login", "--code", "")
    assert result.returncode == 0
    assert "totp" not in desk.server.asked[1].form
    assert "expires if no worker reaches Nexudus until" in result.stdout
    for secret in ("access-", "refresh-", PASSWORD):
        assert secret not in done.stdout + done.stderr + result.stdout + result.stderr


def test_without_a_terminal_it_is_tried_without_a_code(desk: Desk) -> None:
    assert desk.run("login").returncode == 0
    assert "totp" not in desk.server.asked[0].form


def test_a_known_key_makes_its_own_code(desk: Desk) -> None:
    assert desk.run("login", COURSEBELL_NEXUDUS_TOTP=KEY).returncode == 0
    assert len(desk.server.asked[0].form["totp"]) == 6


def test_a_refused_sign_in_says_what_to_try_and_changes_nothing(desk: Desk) -> None:
    desk.server.answers = [(400, INVALID), (302, ""), (503, "")]
    before = desk.kept()
    for code in (1, 1, 4):
        done = desk.run("login", "--code", "123456")
        assert done.returncode == code
        assert done.stdout == ""
        assert "coursebell " in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr
        assert PASSWORD not in done.stderr
    assert desk.kept() == before
    away = desk.run(
        "login", "--code", "1234567", COURSEBELL_NEXUDUS_URL=f"http://127.0.0.1:{free_port()}"
    )
    assert away.returncode == 4
    assert "nothing listens" in away.stderr


@pytest.mark.parametrize(
    ("words", "unset", "named"),
    [
        (("--code", "12345"), "", "6 digits"),
        (("--code", "12345x"), "", "6 digits"),
        (("--code", "123456"), "COURSEBELL_NEXUDUS_USERNAME", "COURSEBELL_NEXUDUS_USERNAME"),
        (("--code", "123456"), "COURSEBELL_NEXUDUS_PASSWORD", "COURSEBELL_NEXUDUS_PASSWORD"),
    ],
)
def test_missing_settings_are_named_and_no_request_is_made(
    desk: Desk, words: tuple[str, ...], unset: str, named: str
) -> None:
    done = desk.run("login", *words, **({unset: ""} if unset else {}))
    assert done.returncode == 2
    assert named in done.stderr
    assert desk.server.asked == []


def test_a_terminal_prompts_for_password_and_code_and_hides_the_password(
    desk: Desk,
) -> None:
    del desk.environment["COURSEBELL_NEXUDUS_PASSWORD"]
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "service", "login"],
        env=desk.environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        shown = bytearray()
        try:
            _type_after(ours, shown, b"Password:", b"typed word\n")
            _type_after(ours, shown, b"if there is none):", b"12x\n")
            _type_after(ours, shown, b"6 digits", b"")
            _type_after(ours, shown, b"if there is none):", b"654 321\n")
            _type_after(ours, shown, None, b"")
            assert process.wait(timeout=_PATIENCE_S) == 0, shown
        finally:
            process.kill()
            os.close(ours)
    assert b"Signed in" in shown
    assert b"typed word" not in shown
    [asked] = desk.server.asked
    assert (asked.form["password"], asked.form["totp"]) == ("typed word", "654321")


def _type_after(terminal: int, shown: bytearray, words: bytes | None, typed: bytes) -> None:
    """Type once a terminal shows these words; None: read until its program has ended.

    What is shown is blotted out up to there, so that the next words are new ones.
    """
    while words is None or words not in shown:
        if not select.select([terminal], [], [], _PATIENCE_S)[0]:
            raise TimeoutError(f"{words!r} not in {bytes(shown)!r}")
        try:
            piece = os.read(terminal, 4096)
        except OSError:
            return  # so does a terminal end on Linux
        if not piece:
            return
        shown += piece
    after = shown.index(words) + len(words)
    shown[:after] = shown[:after].replace(words, b"#" * len(words))
    os.write(terminal, typed)
