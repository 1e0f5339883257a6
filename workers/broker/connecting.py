"""How each library connects to the broker: one address, in the words of Celery and of redis-py."""

import ssl
from typing import Any
from urllib.parse import quote

from redis import Connection, ConnectionPool, SSLConnection, UnixDomainSocketConnection
from redis.backoff import NoBackoff
from redis.retry import Retry

from schemas.settings.broker_address import BrokerTls, broker_address

IN_MEMORY = "memory://"  # Celery inside one process; no setting may say so
_VISIBILITY_TIMEOUT_S = 900  # longer than a task may take, so nothing is delivered twice


def celery_broker(url: str) -> dict[str, Any]:
    """Return Celery's settings `broker_url` and `broker_use_ssl` for this address."""
    if url == IN_MEMORY:
        return {"broker_url": url}
    address = broker_address(url)
    login = ""
    if address.password:
        login = f"{quote(address.username or '', safe='')}:{quote(address.password, safe='')}@"
    if address.socket_path is not None:
        path = f"{quote(address.socket_path)}?virtual_host={address.database}"
        return {"broker_url": f"redis+socket://{login}{path}"}
    host = f"[{address.host}]" if ":" in (address.host or "") else address.host
    written = f"redis://{login}{host}:{address.port}/{address.database}"
    if address.tls is None:
        return {"broker_url": written}
    return {"broker_url": written, "broker_use_ssl": _tls_options(address.tls)}


def visibility_timeout_s(url: str) -> int:
    """Return after how many seconds a message that a worker never acknowledged comes back."""
    return broker_address(url).visibility_timeout_s or _VISIBILITY_TIMEOUT_S


def redis_pool(url: str, *, timeout_s: float) -> ConnectionPool:
    """Return a pool of connections that gives up on any step after so many seconds.

    A kept connection may have been closed at the other end, so a command is tried once more.
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
        options |= _tls_options(address.tls)
    return ConnectionPool(connection_class=kind, **options)


def unusable_files(url: str) -> list[str]:
    """Return a sentence for each file named in the address that TLS cannot use."""
    tls = broker_address(url).tls
    if tls is None:
        return []
    mistakes = []
    context = ssl.create_default_context()
    if tls.ca_file is not None:
        try:
            context.load_verify_locations(cafile=tls.ca_file)
        except (OSError, ValueError) as error:
            mistakes.append(f"ssl_ca_certs: expected a PEM file of certificates; {_why(error)}")
    if tls.certificate_file is not None:
        try:
            # A key that needs a password is refused instead of asking for it on the terminal.
            context.load_cert_chain(tls.certificate_file, tls.key_file, password="")
        except (OSError, ValueError) as error:
            mistakes.append(
                "ssl_certfile, ssl_keyfile: expected PEM files of a certificate and its key,"
                f" without a password; {_why(error)}"
            )
    return mistakes


def _tls_options(tls: BrokerTls) -> dict[str, Any]:
    return {
        "ssl_cert_reqs": tls.certificate,
        "ssl_check_hostname": tls.check_hostname,
        "ssl_ca_certs": tls.ca_file,
        "ssl_certfile": tls.certificate_file,
        "ssl_keyfile": tls.key_file,
    }


def _why(error: OSError | ValueError) -> str:
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError):
        return (error.strerror or "the system refuses it").lower()
    return "its content is something else"
