"""Limits how often one sender may do what costs work or must not succeed by guessing."""

import ipaddress
import threading
from collections import OrderedDict

from ledger.clock import Clock

MOST_PER_MINUTE = 30  # of what is counted from one address; more are answered 429
MINUTE_S = 60
_MOST_ADDRESSES = 4096


class AddressLimit:
    """Counts requests by address, for at most `_MOST_ADDRESSES` addresses at a time.

    Only requests that cannot be right are counted, such as one without a matching signature, so a
    sender cannot lock out others behind the same address.
    """

    def __init__(self, clock: Clock, most: int = MOST_PER_MINUTE) -> None:
        self._clock = clock
        self._most = most
        self._lock = threading.Lock()
        self._counts: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._counts)

    def count(self, address: str) -> bool:
        """Count a request and return whether its address, or any other key, is over the limit."""
        key, now = _network(address), self._clock.monotonic()
        with self._lock:
            began_at, count = self._counts.pop(key, (now, 0))
            if now - began_at >= MINUTE_S:
                began_at, count = now, 0
            self._counts[key] = began_at, count + 1
            if len(self._counts) > _MOST_ADDRESSES:
                self._counts.popitem(last=False)
        return count + 1 > self._most

    def is_reached(self, address: str) -> bool:
        """Return whether the next request that is counted would be over the limit."""
        with self._lock:
            began_at, count = self._counts.get(_network(address), (0.0, 0))
        return count >= self._most and self._clock.monotonic() - began_at < MINUTE_S


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
