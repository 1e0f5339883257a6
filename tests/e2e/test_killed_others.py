"""A worker is killed while it posts or notes: a note is written once, a message keeps its id."""

import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.house import House, living
from tests.e2e.others_told import with_others_told, write_endpoints
from tests.servers.programs import wait_until

FINANCE = "Freelance Finance"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with living(tmp_path, **with_others_told(tmp_path)) as found:
        write_endpoints(found)
        found.start("serve", "worker", "clock")
        wait_until(found.ready, "the service ready")
        yield found


def kill_while_held(house: House, path: str, is_there: Callable[[], bool]) -> None:
    """Kill the worker once this was taken and its answer is held, and let the next one finish."""
    house.sandbox.post("/sandbox/faults", kind="hold", path=path)
    house.sandbox.enrol("Joël", FINANCE)
    wait_until(is_there, f"something taken at {path}; {house.tail()}")
    house.end("worker", signal.SIGKILL)
    house.sandbox.post("/sandbox/faults/release")
    house.start("worker")
    house.wait_idle()


def posts(house: House) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = house.sandbox.get("/sandbox/posts").json()
    return found


def notes(house: House) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = house.sandbox.get("/sandbox/staff-records").json()
    return found


def test_a_message_whose_answer_never_came_is_posted_again_with_the_same_id(house: House) -> None:
    kill_while_held(house, "/sandbox/endpoints/standard", lambda: len(posts(house)) > 0)
    arrived = posts(house)
    assert all(one["accepted"] for one in arrived)
    assert Counter(one["id"] for one in arrived).most_common() == [(arrived[0]["id"], 2)]
    assert (len(notes(house)), len(house.mails())) == (1, 1)


def test_a_note_whose_answer_never_came_is_found_and_not_written_again(house: House) -> None:
    kill_while_held(house, "POST /api/spaces/coworkernotes", lambda: len(notes(house)) > 0)
    assert len(notes(house)) == 1
    assert (len(posts(house)), len(house.mails())) == (1, 1)
    found = house.rows("SELECT receipt FROM actions WHERE kind = 'nexudus-note'")
    assert found == [(f"CoworkerNote {notes(house)[0]['Id']} was there already",)]
