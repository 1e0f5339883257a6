"""Any process is killed at any moment: nothing accepted is lost, no email or note goes twice.

`make kills` runs this, 200 kills on each engine; `make test` does not collect it. What it counts is
tested in tests/unit/test_kill_verdict.py.
"""

import os
import random
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import func, select

from ledger.engine import open_engine, reading
from ledger.tables import action_events, actions, attempts, events, lookups, notifications
from sandbox.world import CROWD_PERSON_ID
from schemas.actions import ActionState, LookupState
from schemas.reasons import Reason
from tests.doubles.slow_smtp import SlowSmtp
from tests.e2e.house import House, living
from tests.e2e.others_told import with_others_told, write_endpoints
from tests.endurance.killer import Killer
from tests.endurance.stream import CROWD, PEOPLE, Stream
from tests.endurance.verdict import Kept, Told, judge, judge_told
from tests.servers.programs import wait_until

KILLS = int(os.environ.get("COURSEBELL_TEST_KILLS", "200"))
# The same seed makes the same choices, but not the same timing.
SEED = os.environ.get("COURSEBELL_TEST_SEED") or secrets.token_hex(4)
STREAMS = 3
WORKERS = 4
_LIMITS = "1000/second;100000/minute"
_PAUSE_S = (0.3, 1.7)  # before a kill
_SENDING = 0.5  # of the kills, so many come while an email is on its way, if one is soon
_SOON_S, _EMAIL_S = 8.0, 0.9
_ANSWER_S = (0.05, 0.2)  # the mail server's, so that kills meet every step of an email
_LONGEST_S = 6 * KILLS + 60  # for all kills
_DRAIN_S = 300.0


def chance(of: str) -> random.Random:
    """Return what makes the choices of one part of a run."""
    return random.Random(f"{SEED} {of}")  # noqa: S311 - chance, not secrecy


class UnevenSmtp(SlowSmtp):
    """Takes another time over each answer."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__(0)
        self._chance = chance

    def wait(self) -> None:
        """Take some time over an answer."""
        self.delay_s = self._chance.uniform(*_ANSWER_S)
        super().wait()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def ledger(request: pytest.FixtureRequest) -> dict[str, str]:
    """Give the settings of the engine; without one the house makes a SQLite file."""
    if request.param == "sqlite":
        return {}
    return {"COURSEBELL_DATABASE_URL": request.getfixturevalue("postgres_database_url")}


@pytest.mark.timeout(_LONGEST_S + _DRAIN_S + 120)
def test_kills_lose_and_repeat_nothing(
    tmp_path: Path, ledger: dict[str, str], record_property: Callable[[str, object], None]
) -> None:
    seed = tmp_path / "seed.yaml"
    seed.write_text(CROWD)
    settings = {
        "COURSEBELL_WORKERS": str(WORKERS),
        "COURSEBELL_NEXUDUS_LIMITS": _LIMITS,
        **with_others_told(tmp_path),
        **ledger,
    }
    with UnevenSmtp(chance("mail")) as smtp:
        settings["COURSEBELL_SMTP_URL"] = smtp.url
        with living(tmp_path, seed=str(seed), **settings) as house:
            write_endpoints(house)
            house.start("serve", "worker", "clock")
            wait_until(house.ready, "the service ready")
            killer = Killer(house, chance("kills"))
            began = time.monotonic()
            with notified(house) as streams:
                sending = kill_often(killer, smtp)
            took_s = time.monotonic() - began
            drain(house, killer)
            kept, told = what_is_kept(house), what_was_told(house)
    accepted = [one for stream in streams for one in stream.accepted]
    verdict = judge(accepted, kept, smtp.taken, smtp.undotted)
    others = judge_told(told)
    parts = ", ".join(f"{part} {number}" for part, number in sorted(killer.kills.items()))
    figure = (
        f"{'postgresql' if ledger else 'sqlite'}, seed {SEED}: {verdict.line}\n"
        f"  {others.line}\n"
        f"  {killer.kills.total()} kills in {took_s:.0f} s ({parts}), {sending} of them while an "
        f"email was on its way; {killer.ended.total()} processes ended by themselves"
    )
    record_property("figure", figure)
    faults = [*verdict.faults, *others.faults]
    assert not faults, "\n".join([figure, *faults])
    assert killer.kills.total() >= KILLS, f"Not all kills in {_LONGEST_S} s. {figure}"


def kill_often(killer: Killer, smtp: SlowSmtp) -> int:
    """Kill as often as asked for; return how often an email was on its way."""
    pace = chance("pace")
    give_up_at = time.monotonic() + _LONGEST_S
    sending = 0
    while killer.kills.total() < KILLS and time.monotonic() < give_up_at:
        killer.rest(pace.uniform(*_PAUSE_S))
        if pace.random() < _SENDING:
            soon = time.monotonic() + _SOON_S
            while not smtp.open and time.monotonic() < soon:
                killer.rest(0.05)
            killer.rest(pace.uniform(0, _EMAIL_S))
        sending += smtp.open > 0
        killer.kill()
    return sending


@contextmanager
def notified(house: House) -> Iterator[list[Stream]]:
    """Have people do things meanwhile."""
    crowd = [CROWD_PERSON_ID + number for number in range(PEOPLE)]
    streams = [
        Stream(house.sandbox, crowd[number::STREAMS], chance(f"stream {number}"))
        for number in range(STREAMS)
    ]
    stop = threading.Event()
    with ThreadPoolExecutor(STREAMS) as pool:
        running = [pool.submit(stream.run, stop) for stream in streams]
        try:
            yield streams
        finally:
            stop.set()
        for one in running:
            one.result()


def drain(house: House, killer: Killer) -> None:
    """Let everything that was begun come to its end, for a while; the rest counts as lost."""
    give_up_at = time.monotonic() + _DRAIN_S
    while time.monotonic() < give_up_at and not is_drained(house):
        killer.rest(0.5)


def is_drained(house: House) -> bool:
    engine = open_engine(house.environment["COURSEBELL_DATABASE_URL"])
    busy = [LookupState.DUE, LookupState.LEASED, LookupState.WAITING]
    begun = [ActionState.PLANNED, ActionState.WAITING, ActionState.PERFORMING]
    with reading(engine) as connection:
        some_lookup = select(lookups.c.id).where(lookups.c.state.in_(busy)).limit(1)
        some_action = select(actions.c.id).where(actions.c.state.in_(begun)).limit(1)
        found = connection.scalar(some_lookup), connection.scalar(some_action)
    engine.dispose()
    return found == (None, None)


def what_is_kept(house: House) -> Kept:
    engine = open_engine(house.environment["COURSEBELL_DATABASE_URL"])
    about = select(events.c.key, actions.c.key).where(
        action_events.c.event_id == events.c.id,
        action_events.c.action_id == actions.c.id,
        actions.c.kind == "email",
    )
    states = select(actions.c.key, actions.c.state).where(actions.c.kind == "email")
    interrupted = (
        select(func.count())
        .select_from(attempts)
        .join(actions, attempts.c.action_id == actions.c.id)
        .where(attempts.c.reason == Reason.MAIL_INTERRUPTED, actions.c.kind == "email")
    )
    with reading(engine) as connection:
        named = select(notifications.c.entity, notifications.c.record_id)
        looked_up = select(lookups.c.entity, lookups.c.record_id, lookups.c.state)
        kept = Kept(
            Counter((entity, record) for entity, record in connection.execute(named)),
            {(entity, record): state for entity, record, state in connection.execute(looked_up)},
            dict(connection.execute(about).all()),
            dict(connection.execute(states).all()),
            connection.scalar(interrupted) or 0,
        )
    engine.dispose()
    return kept


def what_was_told(house: House) -> Told:
    """Return what was posted and noted, beside what the ledger says about it."""
    engine = open_engine(house.environment["COURSEBELL_DATABASE_URL"])
    others = select(actions.c.key, actions.c.kind, actions.c.state).where(actions.c.kind != "email")
    with reading(engine) as connection:
        found = {key: (kind, state) for key, kind, state in connection.execute(others)}
    engine.dispose()
    posts = house.sandbox.get("/sandbox/posts").json()
    records = house.sandbox.get("/sandbox/staff-records").json()
    return Told(found, [one["id"] for one in posts], [one["Notes"] for one in records])
