"""Delivers changes to the receiver as the source does: signed, in order, repeated on failure.

Each followed entity has a webhook with a thread of its own, so that no change waits for another
entity's. After ten failures in a row a webhook switches itself off without notice, as the real one
does (contract, sections 5.4 and 5.6). Signatures are made in the documented way (5.5), written
independently of the receiver's verifier: two readings of one document can contradict each other.
"""

import hashlib
import hmac
import http.client
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import count
from typing import Any
from urllib.parse import SplitResult, urlsplit
from zoneinfo import ZoneInfo

from sandbox.misbehaviour.board import Board
from sandbox.misbehaviour.switch import Refused
from sandbox.records import Record
from sandbox.tenant import WorldClock
from sandbox.wire import delivery_body
from schemas.entity import Entity

SIGNATURE_HEADER = "X-Nexudus-Hook-Signature"
FAILURES_UNTIL_OFF = 10
ROUTES = {
    Entity.COURSE_MEMBER: "/hooks/nexudus/course-members",
    Entity.COMPLETED_LESSON: "/hooks/nexudus/course-completed-lessons",
}
_TIMEOUT_S = 10.0
_LOG_LENGTH = 500
_LONGEST_PAUSE_S = 1.0
_HIGHEST_ASCII = 0x7F


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of one POST: a status, or the reason why there is none."""

    status: int | None
    error: str = ""

    @property
    def is_success(self) -> bool:
        """Any 2xx; a redirect is a failure."""
        return self.status is not None and 200 <= self.status < 300  # noqa: PLR2004 - the 2xx range


@dataclass(slots=True)
class Hook:
    """The state of one webhook, as in its record (contract, section 5.6)."""

    entity: Entity
    active: bool = True
    error_count: int = 0
    last_error: str = ""
    last_trigger: datetime | None = None

    def note(self, answer: Answer, now: datetime) -> bool:
        """Count a failure, or reset the count; return whether the delivery is repeated."""
        self.last_trigger = now
        if answer.is_success:
            self.error_count = 0
            return False
        self.error_count += 1
        self.last_error = answer.error or f"HTTP {answer.status}"
        if self.error_count >= FAILURES_UNTIL_OFF:
            self.active = False
        return self.active

    def switch_on(self) -> None:
        """Activate it, with no failures counted."""
        self.active, self.error_count, self.last_error = True, 0, ""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One line of the log: one POST, or one that was not made because the webhook is off."""

    number: int
    at: str
    entity: str
    id: int
    attempt: int
    status: int | None
    error: str


@dataclass(frozen=True, slots=True)
class Target:
    """Where deliveries go and how. Without `automatic`, only requested ones are made."""

    deliver_to: str | None
    secret: str
    automatic: bool = True
    first_pause_s: float = 0.1  # doubles at each failure, up to one second

    def url_of(self, entity: Entity) -> str:
        """Return the URL of deliveries about one kind of record."""
        return f"{(self.deliver_to or '').rstrip('/')}{ROUTES[entity]}"


@dataclass(frozen=True, slots=True)
class _Waiting:
    record: Record
    not_before: float = 0.0  # on the monotonic clock


class Sender:
    """The webhooks of the sandbox. Safe to use from several threads."""

    def __init__(
        self, target: Target, board: Board | None = None, clock: WorldClock | None = None
    ) -> None:
        self.target = target
        self._board = board or Board()
        self._clock = clock or WorldClock()
        self._observe: Callable[[Hook], None] = lambda _: None
        self._address = urlsplit(target.deliver_to) if target.deliver_to else None
        self._lock = threading.Lock()
        self._hooks = {entity: Hook(entity) for entity in ROUTES}
        self._queues: dict[Entity, queue.Queue[_Waiting]] = {
            entity: queue.Queue() for entity in ROUTES
        }
        self._log: deque[Attempt] = deque(maxlen=_LOG_LENGTH)
        self._numbers = count(1)
        self._stopping = threading.Event()

    def start(self) -> None:
        """Start delivering; the threads end with the program."""
        for entity in self._queues:
            threading.Thread(target=self._run, args=(entity,), daemon=True).start()

    def stop(self) -> None:
        """Make no further attempt."""
        self._stopping.set()

    def on_change(self, observe: Callable[[Hook], None]) -> None:
        """Call `observe` with a webhook after each attempt, and when it is switched on."""
        self._observe = observe

    def deliver(self, entity: Entity, record: Record, business_id: int | None = None) -> None:
        """Deliver the record soon, on another thread; the change is at that location."""
        if self._address is not None and self.target.automatic and entity in self._queues:
            for one in self._deliveries(record, business_id):
                self._queues[entity].put(one)

    def deliver_now(self, entity: Entity, record: Record, times: int) -> list[int | None]:
        """Deliver this many times without repeats, and return the statuses; None is no answer.

        A person asked for it, so it works with the webhook off and does not count as its failure.
        """
        if self._address is None or entity not in self._queues:
            raise Refused("There is no receiver for this delivery.", 409)
        return [self._post(self._address, entity, record, 1).status for _ in range(times)]

    def switch_on(self, entity: Entity) -> None:
        """Switch a webhook on again, as a person would at Nexudus."""
        with self._lock:
            self._hooks[entity].switch_on()
        self._observe(self._hooks[entity])

    def adopt(self, entity: Entity, *, active: bool, error_count: int) -> None:
        """Set a webhook to the state of its edited record."""
        with self._lock:
            self._hooks[entity].active = active
            self._hooks[entity].error_count = error_count

    def reset(self) -> None:
        """Set all webhooks to the state of the start, and empty the log."""
        with self._lock:
            self._log.clear()
            for hook in self._hooks.values():
                hook.switch_on()
                hook.last_trigger = None

    def report(self) -> dict[str, Any]:
        """Return `deliveries` (oldest first) and `hooks` with the number of waiting deliveries."""
        with self._lock:
            return {
                "deliveries": [asdict(one) for one in self._log],
                "hooks": [
                    {
                        "entity": entity.value,
                        "url": self.target.url_of(entity),
                        "active": hook.active,
                        "error_count": hook.error_count,
                        "last_error": hook.last_error,
                        "waiting": self._queues[entity].unfinished_tasks,
                    }
                    for entity, hook in self._hooks.items()
                ],
                "automatic": self.target.automatic and self._address is not None,
            }

    def _deliveries(self, record: Record, business_id: int | None) -> list[_Waiting]:
        """Return the deliveries of one change: one, several, a late one, or none."""
        only = self._board.now("hooks-for-one-location")
        known_elsewhere = only is not None and business_id not in {None, only.whole("business_id")}
        if known_elsewhere or self._board.is_on("no-deliveries"):
            return []
        late, twice = self._board.now("late-deliveries"), self._board.now("duplicate-deliveries")
        not_before = 0.0
        if late is not None:
            pause_s = late.number("seconds") + self._board.spread(late.number("jitter"))
            not_before = time.monotonic() + pause_s
        return [_Waiting(record, not_before)] * (1 if twice is None else twice.whole("times_each"))

    def _next(self, waiting: "queue.Queue[_Waiting]") -> list[_Waiting]:
        """Wait for the next delivery and return it, or several in reverse order."""
        found = [waiting.get()]
        mixed = self._board.now("out-of-order-deliveries")
        if mixed is None:
            return found
        until = time.monotonic() + mixed.number("seconds")
        while len(found) < mixed.whole("together"):
            try:
                found.append(waiting.get(timeout=max(0.0, until - time.monotonic())))
            except queue.Empty:
                break
        return found[::-1]

    def _run(self, entity: Entity) -> None:
        waiting = self._queues[entity]
        while not self._stopping.is_set():
            for one in self._next(waiting):
                try:
                    self._stopping.wait(max(0.0, one.not_before - time.monotonic()))
                    self._deliver(entity, one.record)
                finally:
                    waiting.task_done()

    def _deliver(self, entity: Entity, record: Record) -> None:
        hook, pause_s = self._hooks[entity], self.target.first_pause_s
        if self._address is None or not hook.active:
            self._keep(entity, record, 0, Answer(None, "not sent, the webhook is switched off"))
            return
        for attempt in count(1):
            answer = self._post(self._address, entity, record, attempt)
            with self._lock:
                is_repeated = hook.note(answer, self._clock())
            self._observe(hook)
            if not is_repeated or self._stopping.wait(pause_s):
                return
            pause_s = min(_LONGEST_PAUSE_S, pause_s * 2)

    def _post(self, address: SplitResult, entity: Entity, record: Record, attempt: int) -> Answer:
        local, form = (
            self._board.now("local-times-in-deliveries"),
            self._board.now("signature-form"),
        )
        body = delivery_body(
            self._board,
            entity,
            record,
            zone=UTC if local is None else ZoneInfo(local.text("zone")),
            is_bare=self._board.is_on("bare-object-deliveries"),
        )
        way = "utf16-units" if form is None else form.text("form")
        signed = signature(self.target.secret, body, way)
        answer = _sent(address, ROUTES[entity], body, signed)
        self._keep(entity, record, attempt, answer)
        return answer

    def _keep(self, entity: Entity, record: Record, attempt: int, answer: Answer) -> None:
        at = self._clock().isoformat(timespec="seconds")
        with self._lock:
            line = (next(self._numbers), at, entity.value, record["Id"], attempt)
            self._log.append(Attempt(*line, status=answer.status, error=answer.error))


def _sent(address: SplitResult, route: str, body: str, signed: str | None) -> Answer:
    """Send one delivery and return the answer. Redirects are not followed."""
    host, port = address.hostname or "127.0.0.1", address.port or 80
    connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)
    headers = {"Content-Type": "application/json; charset=utf-8"}
    if signed is not None:
        headers[SIGNATURE_HEADER] = signed
    try:
        path = address.path.rstrip("/") + route
        connection.request("POST", path, body.encode("utf-8", "surrogatepass"), headers)
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException) as error:
        return Answer(None, type(error).__name__)
    else:
        return Answer(answer.status)
    finally:
        connection.close()


def ascii_folded(text: str) -> bytes:
    """Return the bytes of .NET's ASCIIEncoding: `?` for each UTF-16 unit above 0x7F.

    A character outside the basic plane (an emoji) is two units and becomes `??`.
    """
    units = text.encode("utf-16-le", "surrogatepass")
    found = (low | high << 8 for low, high in zip(units[::2], units[1::2], strict=True))
    return bytes(unit if unit <= _HIGHEST_ASCII else ord("?") for unit in found)


def signature(secret: str, text: str, form: str = "utf16-units") -> str | None:
    """Return the upper-case hex HMAC-SHA256 of a delivery; key and text are folded.

    Another form is one of the choices of the switch `signature-form`; `none` is no signature.
    """
    key, content = ascii_folded(secret), ascii_folded(text)
    if form == "none":
        return None
    if form == "wrong":
        content += b" "
    if form == "raw":
        key, content = (part.encode("utf-8", "surrogatepass") for part in (secret, text))
    if form == "code-points":
        key, content = (part.encode("ascii", "replace") for part in (secret, text))
    found = hmac.new(key, content, hashlib.sha256).hexdigest()
    return found if form == "lower-case" else found.upper()
