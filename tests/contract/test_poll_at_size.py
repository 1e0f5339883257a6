"""The poll over HTTP with thousands of rows: few requests, nothing missed, and it resumes."""

import contextlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from ledger.checks import CheckKind, last_run
from ledger.engine import Engine, reading
from ledger.record_queries import count_seen
from ledger.tables import lookups, records
from sandbox.world import CROWD_ENROLMENT_ID
from schemas.entity import FOLLOWED, PATHS, Entity
from tests.contract.source_rig import Line, line_to, reads, sqlite_ledger
from tests.sandbox.sandbox_rig import PASSWORD, USERNAME, Running, running
from workers.source.client import Source
from workers.source.limits import Patience
from workers.source.lists import Changes
from workers.sync.poll import PollResult, poll_all
from workers.sync.rows import SyncContext

ENROLMENTS, COMPLETIONS = 400, 2_200
_SEED = f"""\
crowd: {{people: 100, courses: 10, lessons: 12, enrolments: {ENROLMENTS},
  completions: {COMPLETIONS}, random_seed: 7}}
"""
_LISTS = {entity: f"/api/{PATHS[entity]}" for entity in FOLLOWED}


class Killed(BaseException):
    """What ends a program in the middle of its work."""


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Give a stand-in with a crowd in it."""
    seed = tmp_path_factory.mktemp("seed") / "world.yaml"
    seed.write_text(_SEED)
    sign_in = ("--username", USERNAME, "--password", PASSWORD)
    with running("--no-deliver", *sign_in, "--secret", "x", "--seed", str(seed)) as sandbox:
        yield sandbox


@pytest.fixture
def line(crowded: Running, tmp_path: Path) -> Iterator[Line]:
    """Give a way there, over a ledger that knows nothing yet."""
    crowded.post("/sandbox/reset")
    with (
        sqlite_ledger(tmp_path) as engine,
        line_to(crowded.addresses["api"], engine) as found,
    ):
        yield found


def sync(line: Line, *, killed_after: int | None = None) -> SyncContext:
    """Return what a check works with; it may be killed after so many pages."""
    source = line.source()

    @contextlib.contextmanager
    def lend(patience: Patience) -> Iterator[Source]:
        source.session.patience = patience
        yield source if killed_after is None else _Mortal(source, killed_after)

    return SyncContext(line.engine, lend, line.clock)


class _Mortal(Source):
    """A way to the source whose program is killed when it has brought so many pages."""

    def __init__(self, source: Source, pages: int) -> None:
        self.session, self.lists, self._left = source.session, source.lists, pages

    def changed_since(self, entity: Entity, moment: datetime) -> Iterator[Changes]:
        for page in super().changed_since(entity, moment):
            if not self._left:
                raise Killed
            self._left -= 1
            yield page


def until_done(line: Line, *, for_s: float = 60.0) -> list[PollResult]:
    """Poll until nothing is left."""
    done = [poll_all(sync(line), for_s=for_s)]
    while done[-1].more:
        done.append(poll_all(sync(line), for_s=for_s))
    return done


def seen(engine: Engine) -> list[int]:
    """Return how many enrolments and completions were seen."""
    with reading(engine) as connection:
        return [count_seen(connection, entity) for entity in FOLLOWED]


def asked_about(engine: Engine) -> int:
    """Return how many lookups were requested."""
    with reading(engine) as connection:
        return connection.scalar(select(func.count()).select_from(lookups)) or 0


def test_the_baseline_requests_lists_only_a_thousand_rows_at_a_time(
    line: Line, crowded: Running
) -> None:
    until_done(line)
    assert seen(line.engine) == [ENROLMENTS, COMPLETIONS]
    assert asked_about(line.engine) == 0
    found = reads(crowded)
    assert set(found) == set(_LISTS.values())
    # One more each to make sure that it was all.
    assert found[_LISTS[Entity.COURSE_MEMBER]] == 2
    assert found[_LISTS[Entity.COMPLETED_LESSON]] == 4


def test_it_pauses_for_other_work_and_resumes_where_it_stopped(
    line: Line, crowded: Running
) -> None:
    assert len(until_done(line, for_s=0)) > 2
    assert seen(line.engine) == [ENROLMENTS, COMPLETIONS]
    assert sum(reads(crowded).values()) <= 9
    with reading(line.engine) as connection:
        run = last_run(connection, [CheckKind.BASELINE], Entity.COMPLETED_LESSON)
    assert run is not None
    assert (run.total, run.news) == (COMPLETIONS, 0)


def test_after_a_kill_at_any_page_the_next_poll_resumes_and_nothing_is_missed(
    line: Line, crowded: Running
) -> None:
    crowded.post("/sandbox/misbehaviours", name="cut-size", on=True, rows=300)
    for pages in range(9):
        with contextlib.suppress(Killed):
            poll_all(sync(line, killed_after=min(pages, 2)), for_s=60)
    until_done(line)
    assert seen(line.engine) == [ENROLMENTS, COMPLETIONS]
    assert asked_about(line.engine) == 0
    with reading(line.engine) as connection:
        reasons = connection.scalars(select(records.c.suppressed_reason).distinct()).all()
    assert reasons == ["before-start"]


def test_twenty_new_rows_among_thousands_take_four_requests_at_most(
    line: Line, crowded: Running
) -> None:
    until_done(line)
    before = sum(reads(crowded).values())
    line.clock.move(300)
    for number in range(20):
        member = CROWD_ENROLMENT_ID + number
        moment = line.clock.time - timedelta(seconds=60)
        crowded.post("/sandbox/finish-lesson", course_member_id=member, at=moment.isoformat())
    [done] = until_done(line)
    assert done.news == 20  # that their enrolments say so too is no news
    assert sum(reads(crowded).values()) - before <= 4
    assert asked_about(line.engine) == 20


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "ignore-order"},
        {"name": "words-for-direction"},
        {"name": "cut-size", "rows": 400},
        {"name": "partial-rows", "fields": "CourseId,CourseMemberId"},
    ],
    ids=lambda wrong: str(wrong["name"]),
)
def test_misbehaving_lists_hide_nothing(
    line: Line, crowded: Running, wrong: dict[str, object]
) -> None:
    crowded.post("/sandbox/misbehaviours", on=True, **wrong)
    until_done(line)
    assert seen(line.engine) == [ENROLMENTS, COMPLETIONS]
    line.clock.move(300)
    moment = line.clock.time - timedelta(seconds=60)
    crowded.post(
        "/sandbox/finish-lesson", course_member_id=CROWD_ENROLMENT_ID, at=moment.isoformat()
    )
    assert sum(done.news for done in until_done(line)) in {1, 2}  # partial rows tell less
    line.clock.move(300)
    assert sum(done.news for done in until_done(line)) == 0


def test_an_unordered_list_is_read_without_a_pause(line: Line, crowded: Running) -> None:
    crowded.post("/sandbox/misbehaviours", name="ignore-order", on=True)
    crowded.post("/sandbox/misbehaviours", name="cut-size", on=True, rows=300)
    assert len(until_done(line, for_s=0)) == 1
    assert seen(line.engine) == [ENROLMENTS, COMPLETIONS]
