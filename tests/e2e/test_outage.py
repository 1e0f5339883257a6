"""An outage of Nexudus under load: nothing is lost, and the backlog drains."""

import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import requests

from tests.e2e.house import House, living
from tests.sandbox.sandbox_rig import SECRET
from tests.servers.programs import wait_until
from workers.local.server import free_port

OUTAGE_S = 12  # a lookup is tried again after about 2, 4 and 8 seconds
PEOPLE = range(1, 9)
COURSE = (
    "{id: 900, title: Bookkeeping, lessons: "
    "[{id: 911, title: One}, {id: 912, title: Two}, {id: 913, title: Three}]}"
)


def seed_file(folder: Path) -> Path:
    """Write a world in which every person enrolled just now and finished two of three lessons."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    lines = [f"courses: [{COURSE}]", "people:"]
    lines += [f"  - {{id: {7000 + n}, name: Person {n}, email: p{n}@example.org}}" for n in PEOPLE]
    lines += ["enrolments:"]
    lines += [
        f"  - {{id: {8000 + n}, person: Person {n}, course: Bookkeeping, at: {now}}}"
        for n in PEOPLE
    ]
    lines += ["completions:"]
    lines += [
        f"  - {{id: {9000 + 10 * n + k}, enrolment: {8000 + n}, lesson: {word}, at: {now}}}"
        for n in PEOPLE
        for k, word in enumerate(("One", "Two"))
    ]
    path = folder / "seed.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path


@contextmanager
def source(port: int, seed: Path) -> Iterator[subprocess.Popen[str]]:
    """Give a stand-in of its own that may be killed; the same file gives the same records."""
    command = [sys.executable, "-m", "sandbox", "--secret", SECRET, "--no-deliver"]
    command += ["--port", str(port), "--seed", str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


def only_nexudus_lacks(house: House) -> bool:
    """Say whether everything runs, though Nexudus was never reached."""
    with suppress(requests.RequestException):
        parts = requests.get(f"{house.url}/readyz", timeout=5).json()["parts"]
        return {name for name, says in parts.items() if says != "ok"} == {"nexudus"}
    return False


def make_sign_in_old(house: House) -> None:
    """Date the sign-in back, as it would be if this house had run for longer than a minute.

    The stand-in that comes back knows no token of before, and a token that is refused within a
    minute of its sign-in counts as a missing right.
    """
    path = house.environment["COURSEBELL_DATABASE_URL"].removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, isolation_level=None, timeout=20)) as ledger:
        ledger.execute("UPDATE sign_ins SET signed_in_at = '2026-01-01 00:00:00.000000'")


def test_an_outage_of_the_source_under_load_loses_nothing_and_the_backlog_drains(
    tmp_path: Path,
) -> None:
    port = free_port()
    changes = [{"entity": "CourseMember", "id": 8000 + n} for n in PEOPLE]
    changes += [
        {"entity": "CourseCompletedLesson", "id": 9000 + 10 * n + k} for n in PEOPLE for k in (0, 1)
    ]
    address = f"http://127.0.0.1:{port}"
    with living(tmp_path, COURSEBELL_NEXUDUS_URL=address) as house:
        house.start("serve", "worker", "clock")
        wait_until(partial(only_nexudus_lacks, house), "all but Nexudus")
        seed = seed_file(tmp_path)
        with source(port, seed):
            house.relay(*changes[:4])
            wait_until(lambda: len(house.mails()) >= 1, "a first email")
            house.relay(*changes[4:8])
        ended_at = time.monotonic() + OUTAGE_S
        for one in changes[8:20]:
            house.relay(one)
            house.relay(one)
            time.sleep(OUTAGE_S / 13)
        assert house.rows("SELECT 1 FROM lookups WHERE reason = 'nexudus-down' LIMIT 1")
        make_sign_in_old(house)
        while time.monotonic() < ended_at:
            time.sleep(0.1)
        with source(port, seed):
            house.relay(*changes[20:])
            house.wait_idle()
            wait_until(lambda: len(house.mails()) == 3 * len(PEOPLE), "every email")
            sent = Counter(mail["to"] for mail in house.mails())
            assert set(sent.values()) == {3}
            assert house.rows("SELECT DISTINCT state, reason FROM lookups") == [("done", None)]
