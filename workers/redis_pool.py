"""Connections to the broker with the redis library, which takes long to import."""

from typing import Any

from redis import (
    Connection,
    ConnectionPool,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.backoff import NoBackoff
from redis.retry import Retry

from schemas.settings.broker_address import broker_address
from workers.broker import tls_options


def redis_pool(url: str, *, timeout_s: float) -> ConnectionPool:
    """Return a connection pool whose every step times out after `timeout_s`.

    The server may have closed a kept connection, so a command is tried once more.
    """
    address = broker_address(url)
    options: dict[str, Any] = {
        "db": address.database,
        "username": address.username,
        "password": address.password,
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "retry": Retry(NoBackoff(), 1),
    }
    if address.socket_path is not None:
        kind: type[Any] = UnixDomainSocketConnection
        options |= {"path": address.socket_path}
    else:
        kind = Connection if address.tls is None else SSLConnection
        options |= {"host": address.host, "port": address.port}
    if address.tls is not None:
        options |= tls_options(address.tls)
    return ConnectionPool(connection_class=kind, **options)
