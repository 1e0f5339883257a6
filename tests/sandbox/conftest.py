"""Sandboxes for the tests of this folder, started once and reset for each test."""

from collections.abc import Iterator

import pytest

from tests.sandbox.sandbox_rig import (
    PASSWORD,
    USERNAME,
    Receiver,
    Running,
    receiving,
    running,
    wait_until_delivered,
)

_SIGN_IN = ("--username", USERNAME, "--password", PASSWORD)


@pytest.fixture(scope="module")
def listening() -> Iterator[Receiver]:
    """Give a receiver that all tests of a file share."""
    with receiving() as found:
        yield found


@pytest.fixture(scope="module")
def delivering(listening: Receiver) -> Iterator[Running]:
    """Give a sandbox that delivers, which all tests of a file share."""
    with running("--deliver-to", listening.url, "--retry-after", "0.001", *_SIGN_IN) as found:
        yield found


@pytest.fixture
def receiver(delivering: Running, listening: Receiver) -> Receiver:
    """Give the receiver, with no delivery received or on its way."""
    listening.status = 202
    wait_until_delivered(delivering)
    listening.received.clear()
    return listening


@pytest.fixture
def sandbox(delivering: Running, receiver: Receiver) -> Running:
    """Give the sandbox that delivers, as at its start."""
    assert receiver.received == []
    delivering.web.headers.pop("Authorization", None)
    delivering.post("/sandbox/reset")
    return delivering


@pytest.fixture
def silent_sandbox() -> Iterator[Running]:
    """Give a sandbox that delivers nothing, as at its start."""
    with running("--no-deliver", *_SIGN_IN) as found:
        found.sign_in()
        yield found


@pytest.fixture(scope="module")
def shared() -> Iterator[Running]:
    """Give one sandbox for the tests of a file, which switch off what they switch on."""
    with running("--no-deliver", *_SIGN_IN) as found:
        found.sign_in()
        yield found
