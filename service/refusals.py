"""Counts refused deliveries and limits senders who prove nothing.

Counts are kept in memory and written at most every few seconds, as one row for each hour and reason
and one log line, so that strangers cannot make the ledger or the log grow at will.
"""

import ipaddress
import threading
from collections import Counter, OrderedDict
from dataclasses import dataclass
from http import HTTPStatus

import structlog

from ledger.clock import Clock
from ledger.engine import Engine, writing
from ledger.refusals import count_refusals
from schemas.errors import LedgerUnavailable, Rejected, frames_of
from schemas.refusals import UNPROVEN, Refusal

PAUSE_S = 10.0  # between two rows and two log lines
MOST_PER_MINUTE = 30  # refused requests of one address; then it is answered 429
RETRY_AFTER_S = 5  # when the server or the ledger is busy
_MOST_ADDRESSES = 4096
_MINUTE_S = 60

_log = structlog.get_logger("receiver")


class AddressLimit:
    """Counts refused requests by address, for at most `_MOST_ADDRESSES` addresses at a time.

    It never decides whether a request is accepted: a signature that matches always is. So nobody
    can lock Nexudus out, also not from behind the same proxy.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._counts)

    def count(self, address: str) -> bool:
        """Count a refused request; return whether its address is over the limit."""
        key, now = _network(address), self._clock.monotonic()
        with self._lock:
            began_at, count = self._counts.pop(key, (now, 0))
            if now - began_at >= _MINUTE_S:
                began_at, count = now, 0
            self._counts[key] = began_at, count + 1
            if len(self._counts) > _MOST_ADDRESSES:
                self._counts.popitem(last=False)
        return count + 1 > MOST_PER_MINUTE


@dataclass(frozen=True, slots=True)
class RefusedAnswer:
    """The answer to a refused request."""

    status: int
    sentence: str
    retry_after_s: int | None = None

    @property
    def is_hurried(self) -> bool:
        """Say whether no more time is spent on the sender."""
        return self.status in {408, 429, 503}


class Refusals:
    """Counts refusals and writes the counts from a thread of its own."""

    def __init__(self, engine: Engine, clock: Clock, *, pause_s: float = PAUSE_S) -> None:
        self._engine = engine
        self._clock = clock
        self._pause_s = pause_s
        self._addresses = AddressLimit(clock)
        self._counts: Counter[Refusal] = Counter()
        self._changed = threading.Condition()
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="refusals", daemon=True)
        self._thread.start()

    def count(self, refusal: Refusal) -> None:
        """Count a refused delivery. Never waits."""
        with self._changed:
            self._counts[refusal] += 1
            self._changed.notify()

    def answer(self, error: Rejected, address: str) -> RefusedAnswer:
        """Count a refused delivery and return its answer: 429 if its address has had too many."""
        if error.refusal is not None:
            self.count(error.refusal)
        if error.refusal in UNPROVEN and self._addresses.count(address):
            sentence = f"{error}; too many refused requests from this address"
            return RefusedAnswer(429, sentence, _MINUTE_S)
        is_busy = error.http_status == HTTPStatus.SERVICE_UNAVAILABLE
        retry_after_s = RETRY_AFTER_S if is_busy else None
        return RefusedAnswer(error.http_status, str(error), retry_after_s)

    def close(self) -> None:
        """Write what was counted and end the thread."""
        with self._changed:
            self._ending = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        unwritten: Counter[Refusal] = Counter()
        while not self._ending:
            with self._changed:
                self._changed.wait_for(self._is_wanted, None if not unwritten else self._pause_s)
            unwritten = self._write(unwritten)
            with self._changed:
                self._changed.wait_for(lambda: self._ending, self._pause_s)
        self._write(unwritten)

    def _is_wanted(self) -> bool:
        return self._ending or bool(self._counts)

    def _write(self, unwritten: Counter[Refusal]) -> Counter[Refusal]:
        """Log what was counted since the last time, and write it; return what cannot be written."""
        with self._changed:
            counts, self._counts = self._counts, Counter()
        if counts:
            _log.warning("deliveries.refused", **{name: counts[name] for name in sorted(counts)})
        counts.update(unwritten)
        if not counts:
            return counts
        try:
            with writing(self._engine) as connection:
                count_refusals(connection, counts, self._clock.now())
        except LedgerUnavailable:
            return counts
        except Exception as error:  # noqa: BLE001 - the thread must outlive any fault
            _log.error("refusals.fault", error=frames_of(error))
        return Counter()


def _network(address: str) -> str:
    """Return the address, or for IPv6 the /64 network that one sender usually has."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(int(parsed) >> 64)
