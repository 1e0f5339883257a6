"""Fetches what verifying messages of Amazon SNS needs: its certificate, and the confirmation.

Both addresses are made or checked by `service.sns`. Strangers can cause requests too, by forged
messages that name a certificate which does not exist. So each request is small and short, only one
runs at a time, and an address that failed has a pause. All have one after SNS itself could not be
reached. A certificate that is known waits for no request of others, and is used for longer than a
day if it cannot be fetched again: its own dates end it.
"""

import threading
from collections import OrderedDict

from urllib3 import BaseHTTPResponse, PoolManager, Timeout
from urllib3.exceptions import HTTPError

from ledger.clock import Clock
from schemas.errors import SourceUnavailable

_OK = 200
_MOST_BYTES = 16 * 1024  # a certificate has about 2 KiB
_LONGEST_S = 5.0
_PAUSE_S = 10.0  # after a request that failed
_KEPT_FOR_S = 24 * 3600.0  # SNS replaces its certificate once a year
_MOST_KEPT = 8  # SNS still has those of some years
_MOST_PAUSED = 256


class SnsRequests:
    """Makes requests to SNS. Safe to share between threads."""

    def __init__(self, clock: Clock, pool: PoolManager | None = None) -> None:
        """`pool` makes the connections, if not the usual one with the machine's authorities."""
        self._clock = clock
        self._pool = pool or PoolManager(maxsize=1, retries=False)
        self._lock = threading.Lock()
        self._certificates: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._paused_until: float | None = None  # if SNS does not answer
        self._failed: OrderedDict[str, float] = OrderedDict()  # address, and until when it pauses

    def certificate(self, address: str) -> bytes:
        """Return the file at this address, which is fetched once a day.

        Raises:
            SourceUnavailable: it cannot be fetched now.
        """
        kept = self._certificates.get(address)
        if kept is None:
            self._lock.acquire()
        elif self._is_fresh(kept) or not self._lock.acquire(blocking=False):
            return kept[1]
        try:
            return self._renewed(address)
        finally:
            self._lock.release()

    def _renewed(self, address: str) -> bytes:
        kept = self._certificates.get(address)
        if kept is not None and self._is_fresh(kept):
            return kept[1]
        try:
            found = self._get(address)
        except SourceUnavailable:
            if kept is None:
                raise
            return kept[1]
        self._certificates[address] = self._clock.monotonic(), found
        if len(self._certificates) > _MOST_KEPT:
            self._certificates.popitem(last=False)
        return found

    def _is_fresh(self, kept: tuple[float, bytes]) -> bool:
        return self._clock.monotonic() - kept[0] < _KEPT_FOR_S

    def confirm(self, address: str) -> None:
        """Confirm a subscription.

        Raises:
            SourceUnavailable: SNS did not accept it.
        """
        with self._lock:
            self._get(address)

    def _get(self, address: str) -> bytes:
        now = self._clock.monotonic()
        if now < max(self._paused_until or now, self._failed.get(address, now)):
            raise SourceUnavailable("this request to Amazon SNS failed a moment ago")
        try:
            answer = self._pool.request(
                "GET",
                address,
                redirect=False,
                retries=False,
                preload_content=False,
                timeout=Timeout(total=_LONGEST_S),
            )
            try:
                body = self._read(answer, now + _LONGEST_S)
            finally:
                answer.close()
            if answer.status != _OK:
                raise SourceUnavailable(f"Amazon SNS answered {answer.status}")  # noqa: TRY301 - the pause follows below
        except (HTTPError, OSError) as error:
            self._paused_until = self._clock.monotonic() + _PAUSE_S
            raise SourceUnavailable(f"Amazon SNS: {type(error).__name__}") from None
        except SourceUnavailable:
            self._failed[address] = self._clock.monotonic() + _PAUSE_S
            self._failed.move_to_end(address)
            if len(self._failed) > _MOST_PAUSED:
                self._failed.popitem(last=False)
            raise
        self._paused_until = None
        return body

    def _read(self, answer: BaseHTTPResponse, end: float) -> bytes:
        body = b""
        for piece in answer.stream(_MOST_BYTES):
            body += piece
            if len(body) > _MOST_BYTES or self._clock.monotonic() > end:
                raise SourceUnavailable("the answer is too large or too slow")
        return body
