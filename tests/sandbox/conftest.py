"""One sandbox per test, so that no test meets another's people."""

from collections.abc import Iterator

import pytest

from tests.sandbox.sandbox_rig import PASSWORD, USERNAME, Receiver, Running, receiving, running


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture
def sandbox(receiver: Receiver) -> Iterator[Running]:
    sign_in = ("--username", USERNAME, "--password", PASSWORD)
    with running("--deliver-to", receiver.url, "--retry-after", "0.001", *sign_in) as found:
        yield found


@pytest.fixture
def silent_sandbox() -> Iterator[Running]:
    with running("--no-deliver", "--username", USERNAME, "--password", PASSWORD) as found:
        found.sign_in()
        yield found


@pytest.fixture(scope="module")
def shared() -> Iterator[Running]:
    """Give one sandbox for the tests of a file, which switch off what they switch on."""
    with running("--no-deliver", "--username", USERNAME, "--password", PASSWORD) as found:
        found.sign_in()
        yield found
