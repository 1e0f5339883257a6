"""Translates database errors into a fixed sentence and a next step for the operator.

A driver's own text may quote values, hosts or names, so it is never passed on. PostgreSQL reports
errors by SQLSTATE. When a connection fails, libpq gives only text: its English messages map to the
same table, anything else to a general entry.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from schemas.errors import LedgerUnavailable

_URL = "COURSEBELL_DATABASE_URL"
# The transaction was rolled back because of another one. A lost connection does not belong here:
# its commit may have succeeded.
_UNDONE_STATES = frozenset({"40P01", "40001"})  # deadlock_detected, serialization_failure
_BUSY_CODES = frozenset({5, 6})  # SQLITE_BUSY, SQLITE_LOCKED; extended codes share the low byte


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong, what to do next, and whether only a person can fix it."""

    sentence: str
    next_step: str
    needs_person: bool = False


_UNDONE = Fault(
    "PostgreSQL rolled back the transaction because it conflicted with another one",
    "No action is needed: it is retried.",
)
_TABLES = Fault(
    "the ledger's tables do not match this version",
    "Run `coursebell migrate`.",
)
_AWAY = "Check that PostgreSQL runs, and the host and port in COURSEBELL_DATABASE_URL."

# By SQLSTATE, by its class (the first two characters), or by a name of ours for texts of libpq.
POSTGRESQL: dict[str, Fault] = {
    "28P01": Fault(
        "PostgreSQL refuses the user or the password",
        f"Check the user and the password in {_URL}.",
        needs_person=True,
    ),
    "28000": Fault(
        "PostgreSQL does not let this user log in",
        f"Check the user in {_URL}, that the role exists and may log in, and that pg_hba.conf"
        " allows it from this machine, with or without TLS.",
        needs_person=True,
    ),
    "3D000": Fault(
        "the database does not exist on that server",
        f"Create it, or correct the name at the end of {_URL}.",
        needs_person=True,
    ),
    "42501": Fault(
        "the database user lacks a right that the ledger needs",
        "Make the user the owner of the database, or grant it CONNECT on the database and CREATE"
        " and USAGE on its schema public.",
        needs_person=True,
    ),
    "no-schema": Fault(
        "there is no schema for the ledger's tables",
        "Create the schema public in the database, or name another with search_path.",
        needs_person=True,
    ),
    "42P07": Fault(
        "the database already holds tables of another program",
        "Give Coursebell a database of its own.",
        needs_person=True,
    ),
    "53300": Fault(
        "PostgreSQL has no free connection",
        "Raise max_connections or the role's limit, or run fewer processes: each uses up to 18.",
    ),
    "53100": Fault("the disk of PostgreSQL is full", "Free space on the database server's disk."),
    "53": Fault(
        "PostgreSQL lacks memory or another resource", "Look at the database server and its log."
    ),
    "25006": Fault(
        "PostgreSQL only allows reading: it is a standby, or was set to read-only",
        f"Let {_URL} lead to the primary; with several hosts add target_session_attrs=read-write.",
    ),
    "55P03": Fault(
        "another transaction held a lock for too long",
        "No action is needed if it passes; otherwise look for long transactions in"
        " pg_stat_activity.",
    ),
    "40": _UNDONE,
    "42P01": _TABLES,
    "42703": _TABLES,
    "3F000": _TABLES,
    "26000": Fault(
        "a pooler between us and PostgreSQL lost a prepared statement",
        "Set pool_mode to transaction or session in the pooler.",
        needs_person=True,
    ),
    "08P01": Fault(
        "the server at that address does not speak the PostgreSQL protocol Coursebell needs",
        f"Check host and port in {_URL}; a pooler needs pool_mode transaction or session.",
        needs_person=True,
    ),
    "55000": Fault(
        "the database does not accept connections now",
        "Allow connections to it (ALTER DATABASE … ALLOW_CONNECTIONS true), or name another.",
        needs_person=True,
    ),
    "57014": Fault(
        "PostgreSQL ended a statement that took too long",
        "Look at statement_timeout of the role and the database, and at the server's load.",
    ),
    "57P03": Fault(
        "PostgreSQL is starting, stopping or recovering", "Wait until it accepts connections."
    ),
    "57": Fault("PostgreSQL ended the connection", _AWAY),
    "08": Fault("the connection to PostgreSQL was lost", _AWAY),
    "58": Fault(
        "PostgreSQL reported an operating system error",
        "Look at the database server, its disk and its log.",
    ),
    "XX": Fault(
        "PostgreSQL reported an internal error, perhaps damaged files",
        "Look at the database server's log before anything else.",
    ),
    "refused": Fault("PostgreSQL does not accept connections at that host and port", _AWAY),
    "no-folder": Fault(
        "the folder of the PostgreSQL socket does not exist on this machine",
        f"Correct the folder in {_URL}, or start PostgreSQL, which creates it.",
    ),
    "no-socket": Fault(
        "no PostgreSQL server listens on a socket in that folder",
        f"Check that PostgreSQL runs and uses that folder (unix_socket_directories) and the port in"
        f" {_URL}, which is part of the socket's name.",
    ),
    "socket-right": Fault(
        "this user may not use the PostgreSQL socket",
        "Let the user Coursebell runs as enter the folder of the socket and write to the socket"
        " (unix_socket_permissions).",
        needs_person=True,
    ),
    "silent": Fault(
        "PostgreSQL did not answer in time",
        f"{_AWAY} A firewall that drops packets looks the same.",
    ),
    "no-host": Fault(
        "the host of the database is not known to this machine's name service",
        f"Check the host in {_URL} and this machine's DNS.",
    ),
    "no-tls": Fault(
        "TLS is required, and PostgreSQL does not offer it",
        f"Switch TLS on at the server, or remove sslmode from {_URL} if the network is trusted.",
        needs_person=True,
    ),
    "tls": Fault(
        "no trusted TLS connection to PostgreSQL could be established",
        f"Check sslmode, sslrootcert and the host in {_URL} against the server's certificate.",
        needs_person=True,
    ),
    "parameter": Fault(
        "a parameter of the database URL has an unusable value",
        f"Check the parameters after ? in {_URL}, the files it names, and ~/.pg_service.conf.",
        needs_person=True,
    ),
    "start-parameter": Fault(
        "the server or a pooler before it refuses a parameter of the database URL",
        f"Remove options from {_URL}, or add it to ignore_startup_parameters of the pooler.",
        needs_person=True,
    ),
    "unknown": Fault(
        "PostgreSQL refused the connection or failed",
        f"Look at the database server's log for the reason, and at {_URL}.",
    ),
}

# English texts of libpq, of the server and of PgBouncer, when a connection cannot be made.
_TEXTS: tuple[tuple[str, str], ...] = (
    (r'on socket ".*" failed: Permission denied', "socket-right"),
    (r"password authentication failed|no password supplied|SASL authentication failed", "28P01"),
    (r"no pg_hba\.conf entry|not permitted to log in|role .* does not exist|no such user", "28000"),
    (r"authentication failed|pg_hba\.conf rejects|authentication method requirement", "28000"),
    (r"database .* does not exist|no such database", "3D000"),
    (r"permission denied for database", "42501"),
    (r"not currently accepting connections", "55000"),
    (r"too many (connections|clients)|remaining connection slots|no more connections", "53300"),
    (r"unsupported startup parameter|unrecognized configuration parameter", "start-parameter"),
    (r"does not support SSL|SSL (is )?not in use|SSL is not enabled", "no-tls"),
    (r"root certificate file|certificate|SSL error|SSL SYSCALL|TLS|private key file", "tls"),
    (r"invalid .* value|invalid (integer|connection option)|service .* not found", "parameter"),
    (r"not in hot standby|session is (not )?read-only|server is in hot standby", "25006"),
    (r"the database system is", "57P03"),
    (r"resolve host|translate host name|Name or service not known", "no-host"),
    (r"expected authentication request|invalid response to|unsupported frontend", "08P01"),
    (r"timeout|timed out|unreachable|No route to host", "silent"),
    (r"refused|No such file or directory|cannot connect to server|login.*fail", "refused"),
    (r"terminating connection|closed the connection|connection.*(lost|closed)|reset by peer", "08"),
)  # fmt: skip

_SOCKET = re.compile(r'on socket "(.+)" failed: (?:No such file or directory|Connection refused)')

# By the name of SQLite's result code, or by its first two words.
SQLITE: dict[str, Fault] = {
    "SQLITE_CANTOPEN": Fault(
        "the ledger's file cannot be opened",
        f"Check that COURSEBELL_DATA_DIR or {_URL} names a file in a folder that exists and that"
        " this user may write to.",
        needs_person=True,
    ),
    "SQLITE_READONLY": Fault(
        "the ledger's file cannot be written",
        "Make the file and its folder writable for the user Coursebell runs as.",
        needs_person=True,
    ),
    "SQLITE_READONLY_DBMOVED": Fault(
        "the ledger's file was moved or replaced while it was open", "Restart Coursebell."
    ),
    "SQLITE_NOTADB": Fault(
        "the ledger's file is no SQLite database, or is encrypted",
        "Restore it from a backup, or name another file.",
        needs_person=True,
    ),
    "SQLITE_CORRUPT": Fault(
        "the ledger's file is damaged",
        "Stop Coursebell, keep a copy of the file, and restore it from a backup.",
        needs_person=True,
    ),
    "SQLITE_FULL": Fault("the disk is full", "Free space on the disk that holds the ledger."),
    "SQLITE_IOERR": Fault(
        "the disk that holds the ledger cannot be read or written",
        "Look at the disk, its free space and its quota; SQLite needs a local disk.",
    ),
    "SQLITE_BUSY": Fault(
        "another program kept the ledger locked for too long",
        "No action is needed if it passes; otherwise end the program that has the file open.",
    ),
    "SQLITE_LOCKED": Fault(
        "the ledger is locked by another transaction", "No action is needed if it passes."
    ),
    "SQLITE_PROTOCOL": Fault(
        "the ledger's file cannot be locked",
        "Keep it on a local disk: network file systems do not lock as SQLite needs.",
        needs_person=True,
    ),
    "SQLITE_ERROR": _TABLES,
}

_NO_CONNECTION = Fault(
    "every connection of this process to the database is in use",
    "No action is needed if it passes; otherwise look at the database's load.",
)
_UNKNOWN = Fault(
    "the database failed in an unexpected way",
    f"Look at {_URL}, the database's log and its disk.",
)


def unavailable(error: SQLAlchemyError) -> LedgerUnavailable:
    """Return `error` as a `LedgerUnavailable` that tells an operator what to do."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    code, fault = _fault(cause)
    return LedgerUnavailable(
        f"{fault.sentence} ({code})",
        next_step=fault.next_step,
        needs_person=fault.needs_person,
        is_undone=_is_undone(cause),
    )


def _is_undone(cause: BaseException | None) -> bool:
    result_code = getattr(cause, "sqlite_errorcode", None)
    if result_code is not None:
        return result_code & 0xFF in _BUSY_CODES
    return getattr(cause, "sqlstate", None) in _UNDONE_STATES


def connect_fault(text: str) -> Fault:
    """Return the fault that a connection error text of libpq stands for."""
    key = next((key for pattern, key in _TEXTS if re.search(pattern, text)), "unknown")
    socket = _SOCKET.search(text)
    if key == "refused" and socket is not None:
        key = "no-socket" if Path(socket[1]).parent.is_dir() else "no-folder"
    return POSTGRESQL[key]


def _fault(cause: BaseException | None) -> tuple[str, Fault]:
    kind = type(cause).__name__
    if isinstance(cause, PoolTimeout):
        return kind, _NO_CONNECTION
    name = getattr(cause, "sqlite_errorname", None)
    if name is not None:
        primary = "_".join(name.split("_")[:2])
        return name, SQLITE.get(name) or SQLITE.get(primary) or _UNKNOWN
    state = getattr(cause, "sqlstate", None)
    if state == "3F000" and "to create in" in str(cause):
        return state, POSTGRESQL["no-schema"]
    if state is not None:
        return state, POSTGRESQL.get(state) or POSTGRESQL.get(state[:2]) or _UNKNOWN
    if type(cause).__module__.partition(".")[0] == "psycopg":
        return kind, connect_fault(str(cause))
    return kind, _UNKNOWN
