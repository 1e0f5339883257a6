"""One running service for the tests of a file; misbehaviour ends with its test."""

from collections.abc import Iterator

import pytest

from tests.e2e.house import House
from tests.pitfalls.pitfall_house import behave, pitfall_house


@pytest.fixture(scope="module")
def lived_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with pitfall_house(tmp_path_factory.mktemp("pitfalls")) as found:
        yield found


@pytest.fixture
def house(lived_in: House) -> Iterator[House]:
    lived_in.wait_idle()
    yield lived_in
    behave(lived_in)
