"""The sandbox as a program: what it is told, and how."""

import json
import os
import subprocess
import sys

import pytest
import requests

from tests.sandbox.sandbox_rig import PASSWORD, SECRET, USERNAME, Running

WORDS = {"SANDBOX_SECRET": SECRET, "SANDBOX_USERNAME": USERNAME, "SANDBOX_PASSWORD": PASSWORD}


def start(*options: str, **words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "sandbox", "--no-deliver", *options],
        env={name: text for name, text in os.environ.items() if name not in WORDS} | words,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("words", [WORDS, {**WORDS, "SANDBOX_PASSWORD": "another"}])
def test_secrets_may_stand_in_the_environment_and_options_go_before_them(
    words: dict[str, str],
) -> None:
    options = () if words == WORDS else ("--password", PASSWORD)
    with start(*options, **words) as process, requests.Session() as web:
        assert process.stdout is not None
        try:
            web.trust_env = False
            sandbox = Running(process, json.loads(process.stdout.readline()), web)
            assert sandbox.get("/api/spaces/coursemembers").status_code == 401
            assert sandbox.sign_in()["access_token"]
        finally:
            process.terminate()
            process.communicate(timeout=20)


def test_without_a_secret_it_does_not_start() -> None:
    with start() as process:
        _, said = process.communicate(timeout=20)
    assert process.returncode == 2
    assert "--secret is needed, or SANDBOX_SECRET" in said
