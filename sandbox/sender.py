"""Tells the receiver what changed, as the source would: signed, in order, again when it fails.

Each followed entity has a hook with a thread of its own, so that nobody's change waits for a slow
receiver. After ten failures in a row a hook switches itself off, silently, as the real one does.
"""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import count
from typing import Any
from urllib.parse import SplitResult, urlsplit

from sandbox.clock import WorldClock
from sandbox.hook import ROUTES, Answer, Hook, post
from sandbox.misbehaviour.board import Board
from sandbox.misbehaviour.telling import Waiting, copies, letter, next_together
from sandbox.refused import Refused
from sandbox.wire import Record
from schemas.entity import Entity

_LOG_LENGTH = 500
_LONGEST_PAUSE_S = 1.0


@dataclass(frozen=True, slots=True)
class Try:
    """One line of the log: one POST, or one that was not made because the hook is off."""

    number: int
    at: str
    entity: str
    id: int
    attempt: int
    status: int | None
    error: str


@dataclass(frozen=True, slots=True)
class Aim:
    """Where deliveries go and how. Without `automatic`, only those asked for by hand are made."""

    deliver_to: str | None
    secret: str
    automatic: bool = True
    first_pause_s: float = 0.1  # doubles at each failure, to one second at most

    def url_of(self, entity: Entity) -> str:
        """Return where the deliveries about one kind of record go."""
        return f"{(self.deliver_to or '').rstrip('/')}{ROUTES[entity]}"


class Sender:
    """The webhooks of the sandbox."""

    def __init__(
        self, aim: Aim, board: Board | None = None, clock: WorldClock | None = None
    ) -> None:
        self.aim = self._aim = aim
        self._board = board or Board()
        self._clock = clock or WorldClock()
        self._watch: Callable[[Hook], None] = lambda _: None
        self._target: SplitResult | None = urlsplit(aim.deliver_to) if aim.deliver_to else None
        self._lock = threading.Lock()
        self._hooks = {entity: Hook(entity) for entity in ROUTES}
        self._queues: dict[Entity, queue.Queue[Waiting]] = {
            entity: queue.Queue() for entity in ROUTES
        }
        self._tries: deque[Try] = deque(maxlen=_LOG_LENGTH)
        self._numbers = count(1)
        self._stopping = threading.Event()

    def start(self) -> None:
        """Begin delivering; the threads end with the program."""
        for entity in self._queues:
            threading.Thread(target=self._run, args=(entity,), daemon=True).start()

    def stop(self) -> None:
        """Make no further try."""
        self._stopping.set()

    def watch(self, noted: Callable[[Hook], None]) -> None:
        """Have `noted` called with a hook after each try, and when it is switched on."""
        self._watch = noted

    def tell(self, entity: Entity, record: Record, business_id: int | None = None) -> None:
        """Have the record delivered soon, on another thread; it concerns that location."""
        if self._aim.automatic and self._target is not None and entity in self._queues:
            for one in copies(self._board, record, business_id):
                self._queues[entity].put(one)

    def deliver_now(self, entity: Entity, record: Record, times: int) -> list[int | None]:
        """Deliver once per time, without retries, and return the statuses; None is no answer.

        Asked for by hand, so it neither minds whether the hook is on nor counts as its failure.
        """
        if self._target is None or entity not in self._queues:
            raise Refused("There is nobody to deliver this to.", 409)
        return [self._post(self._target, entity, record, 1).status for _ in range(times)]

    def switch_on(self, entity: Entity) -> None:
        """Switch a hook on again, as a person would at Nexudus."""
        with self._lock:
            self._hooks[entity].switch_on()
        self._watch(self._hooks[entity])

    def follow(self, entity: Entity, *, active: bool, error_count: int) -> None:
        """Have a hook be as its record says; so many failures in a row are remembered."""
        with self._lock:
            self._hooks[entity].active = active
            self._hooks[entity].error_count = error_count

    def begin_again(self) -> None:
        """Have all hooks as at the beginning."""
        with self._lock:
            for hook in self._hooks.values():
                hook.switch_on()
                hook.last_trigger = None

    def report(self) -> dict[str, Any]:
        """Return `deliveries` (oldest first) and `hooks` with what still waits to be delivered."""
        with self._lock:
            return {
                "deliveries": [asdict(one) for one in self._tries],
                "hooks": [
                    {
                        "entity": entity.value,
                        "url": self._aim.url_of(entity),
                        "active": hook.active,
                        "error_count": hook.error_count,
                        "last_error": hook.last_error,
                        "waiting": self._queues[entity].unfinished_tasks,
                    }
                    for entity, hook in self._hooks.items()
                ],
                "automatic": self._aim.automatic and self._target is not None,
            }

    def _run(self, entity: Entity) -> None:
        waiting = self._queues[entity]
        while not self._stopping.is_set():
            for one in next_together(self._board, waiting):
                try:
                    self._stopping.wait(max(0.0, one.not_before - time.monotonic()))
                    self._deliver(entity, one.record)
                finally:
                    waiting.task_done()

    def _deliver(self, entity: Entity, record: Record) -> None:
        hook, target = self._hooks[entity], self._target
        pause_s = self._aim.first_pause_s
        if target is None or not hook.active:
            self._log(entity, record, 0, Answer(None, "not sent, the webhook is switched off"))
            return
        for attempt in count(1):
            answer = self._post(target, entity, record, attempt)
            with self._lock:
                tries_again = hook.note(answer, self._clock())
            self._watch(hook)
            if not tries_again or self._stopping.wait(pause_s):
                return
            pause_s = min(_LONGEST_PAUSE_S, pause_s * 2)

    def _post(self, target: SplitResult, entity: Entity, record: Record, attempt: int) -> Answer:
        answer = post(target, letter(self._board, entity, record, self._aim.secret))
        self._log(entity, record, attempt, answer)
        return answer

    def _log(self, entity: Entity, record: Record, attempt: int, answer: Answer) -> None:
        at = self._clock().isoformat(timespec="seconds")
        with self._lock:
            line = (next(self._numbers), at, entity.value, record["Id"], attempt)
            self._tries.append(Try(*line, status=answer.status, error=answer.error))
