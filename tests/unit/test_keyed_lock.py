"""The lock by key: one thread at a time for each key, and no memory for keys nobody holds."""

from threading import Event, Thread

import pytest

from workers.leases import KeyedLock, LeaseLost


def keep() -> None:
    """Do nothing, as a lease that needs no renewal."""


def test_locks_that_nobody_holds_are_forgotten() -> None:
    locks = KeyedLock()
    for number in range(100):
        with locks.hold(number, keep) as has_waited:
            assert not has_waited
            assert len(locks) == 1
    assert len(locks) == 0


def test_a_second_thread_waits_and_is_told_so() -> None:
    locks, is_waiting, found = KeyedLock(), Event(), []

    def wait() -> None:
        with locks.hold("one", is_waiting.set) as has_waited:
            found.append(has_waited)

    thread = Thread(target=wait)
    with locks.hold("one", keep):
        thread.start()
        assert is_waiting.wait(20)
        with locks.hold("another", keep) as has_waited:
            assert not has_waited
    thread.join(20)
    assert found == [True]
    assert len(locks) == 0


def test_a_thread_that_gives_up_waiting_leaves_the_lock_to_others() -> None:
    locks, failed = KeyedLock(), Event()

    def give_up() -> None:
        raise LeaseLost

    def wait() -> None:
        with pytest.raises(LeaseLost), locks.hold("one", give_up):
            pass
        failed.set()

    thread = Thread(target=wait)
    with locks.hold("one", keep):
        thread.start()
        assert failed.wait(20)
    thread.join(20)
    with locks.hold("one", keep) as has_waited:
        assert not has_waited
