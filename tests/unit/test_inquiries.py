"""Questions to Nexudus that pages ask in the background."""

import threading
from datetime import timedelta
from functools import partial

from schemas.entity import Entity
from schemas.errors import SourceUnavailable
from service.desk.inquiries import KEPT_FOR, Inquiries, Inquiry
from tests.contract.source_rig import HandClock
from tests.servers.programs import wait_until
from workers.sync.compare import Difference, DifferenceKind
from workers.sync.listed_rows import ListRow
from workers.sync.person_check import PersonCheck

CLOCK = HandClock()
SAME = PersonCheck(1, 2, 0, ())
ROW = ListRow(Entity.COURSE_MEMBER, 5, CLOCK.now())
DIFFERS = PersonCheck(1, 2, 0, (Difference(DifferenceKind.MISSING, ROW),))


def ended(inquiries: Inquiries, coworker_id: int = 1) -> Inquiry:
    """Return the question once it was answered."""

    def is_answered() -> bool:
        found = inquiries.of(coworker_id)
        return found is not None and not found.is_open

    wait_until(is_answered, "the question was answered")
    found = inquiries.of(coworker_id)
    assert found
    return found


def test_an_answer_is_kept_for_some_minutes() -> None:
    clock = HandClock()
    inquiries = Inquiries(clock)
    assert inquiries.of(1) is None
    assert inquiries.ask(1, lambda: SAME)
    assert ended(inquiries).check == SAME
    clock.time += KEPT_FOR + timedelta(seconds=1)
    assert inquiries.of(1) is None


def test_one_question_is_asked_at_a_time_and_the_same_one_only_once() -> None:
    inquiries, go_on = Inquiries(HandClock()), threading.Event()
    asked: list[int] = []

    def ask(number: int) -> PersonCheck:
        asked.append(number)
        assert go_on.wait(20)
        return SAME

    for number in (1, 2, 1):
        assert inquiries.ask(number, partial(ask, number))
    wait_until(lambda: asked == [1], "the first was asked")
    assert [one.name for one in threading.enumerate()].count("inquiries") == 1
    go_on.set()
    ended(inquiries, 1)
    ended(inquiries, 2)
    assert asked == [1, 2]


def test_questions_beyond_the_limit_are_refused() -> None:
    inquiries, go_on = Inquiries(HandClock()), threading.Event()

    def ask() -> PersonCheck:
        assert go_on.wait(20)
        return SAME

    taken = [inquiries.ask(number, ask) for number in range(1, 40)]
    assert taken[:20] == [True] * 20
    assert not taken[-1]
    go_on.set()
    ended(inquiries, 20)


def test_an_error_or_a_fault_ends_the_question_and_not_the_thread() -> None:
    inquiries = Inquiries(HandClock())

    def fail(error: Exception) -> PersonCheck:
        raise error

    inquiries.ask(1, lambda: fail(SourceUnavailable("it did not answer")))
    inquiries.ask(2, lambda: fail(ValueError("person@example.org")))
    inquiries.ask(3, lambda: SAME)
    assert ended(inquiries, 1).error == "it did not answer"
    assert ended(inquiries, 2).error == ""
    assert ended(inquiries, 3).check == SAME


def test_what_differs_is_brought_in_once() -> None:
    inquiries = Inquiries(HandClock())
    assert not inquiries.bring(1, lambda _: 1, is_emailed=False), "nothing was asked"
    inquiries.ask(1, lambda: DIFFERS)
    ended(inquiries)
    brought: list[PersonCheck] = []

    def bring(check: PersonCheck) -> int:
        brought.append(check)
        return 1

    assert inquiries.bring(1, bring, is_emailed=True)
    assert ended(inquiries).brought == 1
    assert not inquiries.bring(1, bring, is_emailed=True)
    assert brought == [DIFFERS]
    inquiries.ask(2, lambda: SAME)
    ended(inquiries, 2)
    assert not inquiries.bring(2, bring, is_emailed=False), "there is nothing to bring"
