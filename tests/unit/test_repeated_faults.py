"""A fault that occurs on every turn of a loop is logged once a minute, and once when it is over."""

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from ledger.clock import SYSTEM_CLOCK
from ledger.engine import open_engine
from tests.doubles.still_clock import StillClock
from workers.logs import RepeatedFault
from workers.scheduler import Scheduler
from workers.wakeup import Wakeup

AWAY = "tick.failed"


class Turns(threading.Event):
    """An event that is set after so many turns of the loop that waits for it."""

    def __init__(self, turns: int) -> None:
        super().__init__()
        self.left = turns

    def wait(self, timeout: float | None = None) -> bool:
        del timeout
        self.left -= 1
        if self.left <= 0:
            self.set()
        return self.is_set()


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
def faults(clock: StillClock) -> RepeatedFault:
    return RepeatedFault(structlog.get_logger("loop"), "tick.worked", clock)


def fails(faults: RepeatedFault, error: str = "away") -> None:
    faults.occurred(logging.WARNING, AWAY, error)


def test_it_is_logged_at_first_then_once_a_minute_with_the_count(
    clock: StillClock, faults: RepeatedFault
) -> None:
    with capture_logs() as lines:
        for _ in range(150):
            fails(faults)
            clock.seconds += 1.0
    assert [(line["log_level"], line["event"], line["times"]) for line in lines] == [
        ("warning", AWAY, 1),
        ("warning", AWAY, 60),
        ("warning", AWAY, 60),
    ]


def test_its_end_is_logged_once_and_then_it_is_new_again(faults: RepeatedFault) -> None:
    with capture_logs() as lines:
        faults.is_over()
        for _ in range(3):
            fails(faults)
        faults.is_over()
        faults.is_over()
        fails(faults)
    assert [(line["event"], line["times"]) for line in lines] == [
        (AWAY, 1),
        ("tick.worked", 3),
        (AWAY, 1),
    ]


def test_another_text_is_logged_at_once_but_not_any_number_of_them(faults: RepeatedFault) -> None:
    with capture_logs() as lines:
        for number in range(50):
            fails(faults, f"fault {number % 2}")
    assert [line["error"] for line in lines] == ["fault 0", "fault 1"]
    with capture_logs() as lines:
        for number in range(50):
            fails(faults, f"another {number}")
    assert 0 < len(lines) < 10


@pytest.fixture
def idle_clock(tmp_path: Path) -> Iterator[Scheduler]:
    engine = open_engine(f"sqlite:///{tmp_path}/missing/ledger.db")
    wakeup = Wakeup(None, SYSTEM_CLOCK)
    yield Scheduler(engine, wakeup, SYSTEM_CLOCK)
    wakeup.close()
    engine.dispose()


def test_a_scheduler_without_its_ledger_does_not_log_every_second(idle_clock: Scheduler) -> None:
    with capture_logs() as lines:
        idle_clock.run(Turns(30))
    logged = [line for line in lines if line["event"] == "clock.ledger-unavailable"]
    assert len(logged) <= 2  # one while it runs, and one when its lease cannot be given back
