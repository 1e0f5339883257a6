"""A backup in the middle of the day, the ledger lost and restored: no email is sent twice.

With real processes and our own check alone, which finds everything again by itself.
"""

import contextlib
import shutil
import signal
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, text

from ledger.engine import Connection, open_engine, reading, writing
from ledger.interventions import held_by_reason
from ledger.tables import checks
from schemas.reasons import Reason
from tests.e2e.house import House, living
from tests.servers.programs import wait_until

PROCESSES = ("worker", "clock")


class Story:
    """The house, and how many emails each person got about what."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.people = [one["name"] for one in house.sandbox.get("/sandbox/people").json()]
        self.course = house.sandbox.get("/sandbox/courses").json()[0]["title"]

    def sent(self) -> Counter[tuple[str, str]]:
        return Counter((mail["to"], mail["subject"]) for mail in self.house.mails())

    def wait_sent(self, number: int) -> None:
        wait_until(lambda: self.sent().total() >= number, f"{number} emails; {self.house.tail()}")

    def enrol(self, *numbers: int) -> list[int]:
        return [
            self.house.sandbox.enrol(self.people[number], self.course, deliver=False)
            for number in numbers
        ]

    def finish_lesson(self, *members: int) -> None:
        for member in members:
            self.house.sandbox.post(
                "/sandbox/finish-lesson", course_member_id=member, deliver=False
            )

    def held(self) -> dict[Reason, int]:
        with self._looked_into() as connection:
            return held_by_reason(connection)

    def has_baseline(self) -> bool:
        """Say whether what is new from now on is written about."""
        ended = select(checks).where(checks.c.kind == "baseline", checks.c.ended_at.is_not(None))
        with self._looked_into() as connection:
            return len(connection.execute(ended).all()) == 2

    @contextlib.contextmanager
    def _looked_into(self) -> Iterator[Connection]:
        engine = open_engine(self.house.environment["COURSEBELL_DATABASE_URL"])
        try:
            with reading(engine) as connection:
                yield connection
        finally:
            engine.dispose()

    def stop(self) -> None:
        for name in reversed(PROCESSES):
            self.house.end(name)

    def start(self) -> None:
        self.house.start(*PROCESSES)


@contextlib.contextmanager
def running_story(folder: Path, **settings: str) -> Iterator[Story]:
    """Give the story, with everything running that finds, decides and sends."""
    with living(folder, COURSEBELL_CHECK_EVERY_S="1", COURSEBELL_WORKERS="1", **settings) as house:
        story = Story(house)
        story.start()
        wait_until(story.has_baseline, f"the baseline of both lists;  {house.tail()}")
        yield story
        for name in list(house.processes):
            house.end(name, signal.SIGKILL)


def lost_and_restored(
    story: Story, back_up: Callable[[], None], lose_and_restore: Callable[[], None]
) -> None:
    """Tell the story: seven emails are sent in the gap, none of them twice unless released."""
    before = story.enrol(0, 1, 2)
    story.wait_sent(3)
    back_up()
    between = story.enrol(3, 4, 5)
    story.finish_lesson(*before[:2], *between[:2])
    story.wait_sent(10)
    sent = story.sent()
    story.stop()

    lose_and_restore()
    story.start()
    wait_until(lambda: story.held() == {Reason.RESTORED: 7}, f"seven held; {story.house.tail()}")
    story.enrol(9)
    story.wait_sent(11)
    assert (story.sent() - sent).total() == 1
    assert sent - story.sent() == Counter()
    released = story.house.run("release", "--reason", "restored", "--yes")
    assert released.stdout == "7 emails released, due now.\n"
    story.wait_sent(18)
    wait_until(lambda: story.held() == {}, "nothing held")
    assert set(story.sent().values()) == {1, 2}
    assert list(story.sent().values()).count(2) == 7


def test_a_backup_restored_as_documented_repeats_nothing(tmp_path: Path) -> None:
    with running_story(tmp_path / "house") as story:
        house, ledger = story.house, tmp_path / "house" / "ledger.db"
        backup = tmp_path / "backup.db"

        def back_up() -> None:
            made = house.run("backup", str(backup))
            assert made.returncode == 0, made.stderr
            # While it runs there is no way back, and nothing is touched.
            refused = house.run("restore", str(backup), "--yes")
            assert (refused.returncode, "Stop it, then try again" in refused.stderr) == (1, True)

        def lose_and_restore() -> None:
            for path in ledger.parent.glob("ledger.db*"):
                path.unlink()
            (ledger.parent / "secret_key").unlink()
            restored = house.run("restore", str(backup), "--yes")
            assert restored.returncode == 0, restored.stderr
            assert "held" in restored.stdout

        lost_and_restored(story, back_up, lose_and_restore)


def test_a_copy_put_in_place_by_hand_repeats_nothing_either(tmp_path: Path) -> None:
    with running_story(tmp_path / "house") as story:
        ledger, copy = tmp_path / "house" / "ledger.db", tmp_path / "copy.db"

        def back_up() -> None:
            with (
                contextlib.closing(sqlite3.connect(ledger)) as source,
                contextlib.closing(sqlite3.connect(copy)) as target,
            ):
                source.backup(target)

        def lose_and_restore() -> None:
            # A new machine: nothing but the ledger and its key is carried there.
            for path in ledger.parent.iterdir():
                if path.name.startswith("ledger.db") or path.name == "last_alive":
                    path.unlink()
            shutil.copyfile(copy, ledger)

        lost_and_restored(story, back_up, lose_and_restore)


@pytest.mark.postgres
def test_on_postgresql_a_backup_is_restored_into_an_empty_database(
    tmp_path: Path, postgres_database_url: str
) -> None:
    with running_story(tmp_path, COURSEBELL_DATABASE_URL=postgres_database_url) as story:
        house, backup = story.house, tmp_path / "backup.db"

        def back_up() -> None:
            made = house.run("backup", str(backup))
            assert made.returncode == 0, made.stderr

        def lose_and_restore() -> None:
            engine = open_engine(postgres_database_url)
            with writing(engine) as connection:
                connection.execute(text("DROP SCHEMA public CASCADE"))
                connection.execute(text("CREATE SCHEMA public"))
            engine.dispose()
            restored = house.run("restore", str(backup), "--yes")
            assert restored.returncode == 0, restored.stderr

        lost_and_restored(story, back_up, lose_and_restore)
