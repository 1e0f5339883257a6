"""The sandbox as a program: its options, its environment, its start and its stop."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests

from tests.sandbox.sandbox_rig import PASSWORD, SECRET, USERNAME, Running, running
from tests.servers import forking

WORDS = {"SANDBOX_SECRET": SECRET, "SANDBOX_USERNAME": USERNAME, "SANDBOX_PASSWORD": PASSWORD}


def environment(**words: str) -> dict[str, str]:
    return {name: text for name, text in os.environ.items() if name not in WORDS} | words


@contextmanager
def started(*options: str, **words: str) -> Iterator[Running]:
    reader, writer = os.pipe()
    with os.fdopen(reader, encoding="utf-8") as printed, requests.Session() as web:
        with os.fdopen(writer, "wb") as output:
            env = environment(**words)
            options = ("--no-deliver", *options)
            process = forking.start("sandbox", *options, env=env, stdout=output, stderr=2)
        try:
            web.trust_env = False
            yield Running(process, json.loads(printed.readline()), web, printed)
        finally:
            process.terminate()
            process.wait(20)


@pytest.mark.parametrize("words", [WORDS, {**WORDS, "SANDBOX_PASSWORD": "another"}])
def test_secrets_can_be_in_the_environment_and_options_override_them(
    words: dict[str, str],
) -> None:
    options = () if words == WORDS else ("--password", PASSWORD)
    with started(*options, **words) as sandbox:
        assert sandbox.get("/api/spaces/coursemembers").status_code == 401
        assert sandbox.sign_in()["access_token"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--no-deliver",), "--secret is needed, or SANDBOX_SECRET"),
        (("--secret", "s"), "--deliver-to is needed, or --no-deliver"),
        (("--secret", "s", "--deliver-to", "https://x"), "--deliver-to must begin with http://"),
        (
            ("--secret", "s", "--no-deliver", "--username", "u"),
            "--username and --password go together",
        ),
    ],
)
def test_options_that_do_not_fit_end_it_with_2(options: tuple[str, ...], sentence: str) -> None:
    ended = forking.run("sandbox", *options, env=environment(), timeout=20)
    assert ended.returncode == 2
    assert sentence in ended.stderr


def test_it_prints_one_line_and_stops_cleanly() -> None:
    with running("--no-deliver") as sandbox:
        assert set(sandbox.addresses) == {"page", "mailbox", "api", "smtp"}
        sandbox.process.terminate()
        assert sandbox.process.wait(10) == 0
        assert sandbox.printed is not None
        assert sandbox.printed.read() == ""
