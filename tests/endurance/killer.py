"""Kills one process of ours after the other, and starts again what does not run."""

import contextlib
import os
import random
import signal
import time
from collections import Counter
from enum import StrEnum

import psutil

from tests.e2e.house import House
from tests.servers.programs import is_alive, wait_until

_LOOK_EVERY_S = 0.05
_ALONE_S = 0.3  # so long at most what a killed process leaves behind lives on by itself


class Part(StrEnum):
    """What is killed."""

    WEB = "web"
    WORKER = "worker"
    CHILD = "worker child"
    SCHEDULER = "scheduler"
    BROKER = "broker"


PROGRAMS = {Part.WEB: "serve", Part.WORKER: "worker", Part.SCHEDULER: "clock"}


class Killer:
    """Each part is killed once before any is killed again. `kills` counts them.

    `ended` counts the processes that ended by themselves and were started again: Celery's parent
    does when a child is killed while it starts.
    """

    def __init__(self, house: House, chance: random.Random) -> None:
        self._house = house
        self._chance = chance
        self._next: list[Part] = []
        self.kills: Counter[Part] = Counter()
        self.ended: Counter[str] = Counter()

    def kill(self) -> None:
        """Kill one process, and start again what does not run."""
        self._next = self._next or self._chance.sample(list(Part), len(Part))
        for part in self._next:
            victims = self._victims(part)
            if victims:
                break
        else:
            self.start_again()
            return
        victim = self._chance.choice(victims)
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
            self.kills[part] += 1
            self._next.remove(part)
        wait_until(lambda: not is_alive(victim), f"the end of {part} {victim}")
        self.start_again()

    def rest(self, for_s: float) -> None:
        """Let the service work for a while."""
        until = time.monotonic() + for_s
        while time.monotonic() < until:
            self.start_again()
            time.sleep(_LOOK_EVERY_S)

    def start_again(self) -> None:
        """Start whatever does not run, after what it left behind was ended too."""
        self._house.broker.restart_if_dead()
        for name in PROGRAMS.values():
            program = self._house.processes[name]
            if is_alive(program.pid):
                continue
            time.sleep(self._chance.uniform(0, _ALONE_S))
            self._house.end(name, signal.SIGKILL)
            if program.returncode != -signal.SIGKILL:
                self.ended[name] += 1
            self._house.start(name)

    def _victims(self, part: Part) -> list[int]:
        """Return the processes of a part that run now."""
        if part is Part.BROKER:
            broker = self._house.broker
            return [broker.pid] if broker.is_up and broker.pid is not None else []
        leader = self._house.processes[PROGRAMS.get(part, "worker")].pid
        try:
            children = [child.pid for child in psutil.Process(leader).children()]
        except psutil.NoSuchProcess:
            return []
        if part is Part.CHILD:
            return children
        return [leader, *children] if part is Part.WEB else [leader]
