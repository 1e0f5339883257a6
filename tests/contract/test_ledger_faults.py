"""Each fault of a database has its own sentence and next step, and repeats nothing of a URL."""

import contextlib
import os
import secrets
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import event, text
from sqlalchemy.engine import make_url

from ledger.engine import open_engine, writing
from ledger.faults import POSTGRESQL, SQLITE, connect_fault
from ledger.migrate import migrate
from schemas.errors import LedgerUnavailable
from schemas.settings import load_settings
from service.cli.common import wait_for_ledger
from tests.servers import forking
from tests.servers.postgres import Databases, address
from tests.servers.ready_ledgers import sqlite_copy
from workers.local.server import free_port

SECRET = "hush-hush-hush"


def met(url: str, statement: str = "SELECT 1") -> LedgerUnavailable:
    """Return how it ends to use a ledger; nothing of its URL may be repeated."""
    engine = open_engine(url)
    try:
        with pytest.raises(LedgerUnavailable) as caught, writing(engine) as connection:
            connection.execute(text(statement))
    finally:
        engine.dispose()
    said = f"{caught.value}. {caught.value.next_step}"
    parts = make_url(url)
    for kept_back in (SECRET, parts.host, parts.username, parts.database):
        assert kept_back is None or str(kept_back) not in said
    return caught.value


def is_fault(error: LedgerUnavailable, key: str) -> bool:
    fault = POSTGRESQL.get(key) or SQLITE[key]
    return (
        str(error).startswith(fault.sentence)
        and error.next_step == fault.next_step
        and error.needs_person == fault.needs_person
    )


class Server:
    """The shared server, with roles and a database made to fail in one way each."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._mark = secrets.token_hex(4)
        self.databases = Databases(url)
        self.name, _ = self.databases.create()
        self._roles: list[str] = []

    def run(self, *statements: str, **names: str) -> None:
        with psycopg.connect(address(self._url), autocommit=True) as connection:
            for statement in statements:
                made = {name: sql.Identifier(value) for name, value in names.items()}
                connection.execute(sql.SQL(statement).format(**made))

    def role(self, options: str) -> str:
        name = f"role_{self._mark}_{len(self._roles)}"
        self.run(f"CREATE ROLE {{role}} {options} PASSWORD '{SECRET}'", role=name)
        self._roles.append(name)
        return name

    def url(self, role: str, password: str = SECRET, name: str = "", query: str = "") -> str:
        place = make_url(self._url)
        database = name or self.name
        url = f"postgres://{role}:{password}@{place.host}:{place.port}/{database}{query}"
        return load_settings({"COURSEBELL_DATABASE_URL": url}).database_url

    def close(self) -> None:
        self.databases.drop(self.name)
        self.databases.close()
        for role in self._roles:
            self.run("DROP ROLE {role}", role=role)


@pytest.fixture(scope="module")
def server(postgres_url: str) -> Iterator[Server]:
    found = Server(postgres_url)
    yield found
    found.close()


def no_such_role(server: Server) -> str:
    return server.url("nobody-of-that-name")


def wrong_password(server: Server) -> str:
    return server.url(server.role("LOGIN"), password="guess-hush-hush-hush")


def no_login(server: Server) -> str:
    return server.url(server.role("NOLOGIN"))


def no_database(server: Server) -> str:
    return server.url(server.role("LOGIN"), name="nothing-of-that-name")


def too_many(server: Server) -> str:
    return server.url(server.role("LOGIN CONNECTION LIMIT 0"))


def no_tls(server: Server) -> str:
    return server.url(server.role("LOGIN"), query="?sslmode=require&gssencmode=disable")


def no_standby(server: Server) -> str:
    return server.url(server.role("LOGIN"), query="?target_session_attrs=standby")


def bad_parameter(server: Server) -> str:
    return server.url(server.role("LOGIN"), query="?sslmode=hush-hush-hush")


def bad_option(server: Server) -> str:
    return server.url(server.role("LOGIN"), query="?options=-chush.hush=1%20-cnothing=1")


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("key", "place"),
    [
        ("28P01", wrong_password),
        ("28P01", no_such_role),
        ("28000", no_login),
        ("3D000", no_database),
        ("53300", too_many),
        ("no-tls", no_tls),
        ("25006", no_standby),
        ("parameter", bad_parameter),
        ("start-parameter", bad_option),
    ],
)
def test_a_connection_that_postgresql_refuses_says_why(
    server: Server, key: str, place: Callable[[Server], str]
) -> None:
    assert is_fault(met(place(server)), key)


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("key", "statement"),
    [
        ("42501", "CREATE TABLE public.one (id integer)"),
        ("no-schema", "SET LOCAL search_path = nowhere; CREATE TABLE one (id integer)"),
        ("42P01", "SELECT * FROM lookups"),
        ("25006", "SET TRANSACTION READ ONLY; CREATE TABLE one (id integer)"),
        ("57014", "SET LOCAL statement_timeout = 1; SELECT pg_sleep(9)"),
        ("57", "SELECT pg_terminate_backend(pg_backend_pid())"),
        # What cannot be produced here is raised on the server, with its own code.
        ("53100", "DO $$ BEGIN RAISE 'full' USING ERRCODE = '53100'; END $$"),
        ("53", "DO $$ BEGIN RAISE 'memory' USING ERRCODE = '53200'; END $$"),
        ("58", "DO $$ BEGIN RAISE 'disk' USING ERRCODE = '58030'; END $$"),
        ("XX", "DO $$ BEGIN RAISE 'damaged' USING ERRCODE = 'XX001'; END $$"),
        ("40", "DO $$ BEGIN RAISE 'deadlock' USING ERRCODE = '40P01'; END $$"),
        ("55P03", "DO $$ BEGIN RAISE 'lock' USING ERRCODE = '55P03'; END $$"),
    ],
)
def test_a_statement_that_postgresql_refuses_says_why(
    server: Server, key: str, statement: str
) -> None:
    assert is_fault(met(server.url(server.role("LOGIN")), statement), key)


@pytest.mark.postgres
def test_tables_of_another_program_are_not_changed(server: Server) -> None:
    name, url = server.databases.create()
    engine = open_engine(url)
    with writing(engine) as connection:
        connection.execute(text("CREATE TABLE people (name text)"))
    with pytest.raises(LedgerUnavailable, match="tables of another program"):
        migrate(engine)
    engine.dispose()
    server.databases.drop(name)


@pytest.mark.parametrize(
    ("key", "host", "query"),
    [
        ("refused", "127.0.0.1", ""),
        ("no-host", "nowhere.invalid", ""),
        ("no-folder", "%2Fnowhere%2Fat%2Fall", ""),
        ("no-socket", "%2Ftmp", ""),
    ],
)
def test_a_missing_server_is_reported_as_missing(key: str, host: str, query: str) -> None:
    url = f"postgres://someone:{SECRET}@{host}:{free_port()}/ledger-of-ours{query}"
    assert is_fault(met(load_settings({"COURSEBELL_DATABASE_URL": url}).database_url), key)


@contextlib.contextmanager
def answering(*answers: bytes) -> Iterator[int]:
    """Listen as something that is no PostgreSQL: it gives each answer to what it is sent."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    line, _ = listener.accept()
                    with line:
                        for answer in answers:
                            line.recv(4096)
                            line.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


IN_ANOTHER_LANGUAGE = b"SFATAL\0C28P01\0Mauthentification impossible : hush-hush-hush\0\0"


@pytest.mark.parametrize(
    ("key", "answers", "query"),
    [
        ("08P01", [b"HTTP/1.1 400 Bad Request\r\n\r\n"], "?sslmode=disable"),
        ("tls", [b"S", b"no TLS at all"], "?sslmode=require"),
        ("tls", [b"S", b""], "?sslmode=verify-full&sslrootcert=/nowhere/hush-hush-hush"),
        (
            "unknown",
            [b"E" + (len(IN_ANOTHER_LANGUAGE) + 4).to_bytes(4, "big") + IN_ANOTHER_LANGUAGE],
            "?sslmode=disable",
        ),
    ],
    ids=["another protocol", "broken TLS", "no certificate of an authority", "French"],
)
def test_an_unusable_answer_says_what_to_check(key: str, answers: list[bytes], query: str) -> None:
    with answering(*answers) as port:
        url = f"postgres://someone:{SECRET}@127.0.0.1:{port}/ledger-of-ours{query}"
        assert is_fault(met(load_settings({"COURSEBELL_DATABASE_URL": url}).database_url), key)


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("28000", 'FATAL:  no pg_hba.conf entry for host "192.0.2.1", user "u", no encryption'),
        ("tls", "SSL error: certificate verify failed"),
        ("tls", 'server certificate for "a" does not match host name "b"'),
        ("53300", "FATAL:  sorry, too many clients already"),
        ("53300", "FATAL:  remaining connection slots are reserved for roles with SUPERUSER"),
        ("57P03", "FATAL:  the database system is starting up"),
        ("25006", "session is read-only"),
        ("3D000", "FATAL:  no such database: n"),
        ("silent", "connection timeout expired"),
        ("08", "server closed the connection unexpectedly"),
        ("unknown", "something else"),
    ],
)
def test_messages_of_libpq_and_pgbouncer_are_recognised(key: str, said: str) -> None:
    assert connect_fault(said) is POSTGRESQL[key]


def no_database_file(path: Path) -> None:
    path.write_bytes(b"this is no database" * 100)


def a_folder(path: Path) -> None:
    path.mkdir()


def damaged(path: Path) -> None:
    sqlite_copy(path)
    pages = bytearray(path.read_bytes())
    pages[4096 : 40 * 4096] = b"\xff" * (39 * 4096)
    path.write_bytes(pages)


def locked(path: Path) -> None:
    sqlite_copy(path)
    holder = sqlite3.connect(path, check_same_thread=False)
    holder.execute("PRAGMA journal_mode=WAL")
    holder.execute("BEGIN IMMEDIATE")
    _HOLDERS.append(holder)


_HOLDERS: list[sqlite3.Connection] = []


@pytest.fixture(autouse=True)
def _end_holders() -> Iterator[None]:
    yield
    while _HOLDERS:
        _HOLDERS.pop().close()


@pytest.mark.parametrize(
    ("key", "prepare"),
    [
        ("SQLITE_NOTADB", no_database_file),
        ("SQLITE_CANTOPEN", a_folder),
        ("SQLITE_CORRUPT", damaged),
        ("SQLITE_BUSY", locked),
    ],
)
def test_a_file_that_cannot_be_used_says_why(
    tmp_path: Path, key: str, prepare: Callable[[Path], None]
) -> None:
    prepare(tmp_path / "ledger.db")
    engine = open_engine(f"sqlite:///{tmp_path / 'ledger.db'}", busy_timeout_ms=50)
    with pytest.raises(LedgerUnavailable) as caught, writing(engine) as connection:
        connection.execute(text("SELECT count(*) FROM lookups"))
    assert is_fault(caught.value, key)
    assert str(tmp_path) not in f"{caught.value} {caught.value.next_step}"
    engine.dispose()


@pytest.mark.parametrize(
    ("key", "pragma"),
    [("SQLITE_FULL", "max_page_count = 1"), ("SQLITE_READONLY", "query_only = ON")],
)
def test_a_file_that_cannot_grow_or_change_says_why(tmp_path: Path, key: str, pragma: str) -> None:
    engine = open_engine(sqlite_copy(tmp_path / "ledger.db"))

    def limit(connection: Any, _: object) -> None:  # noqa: ANN401 - a driver's connection
        connection.execute(f"PRAGMA {pragma}")

    event.listen(engine, "connect", limit)
    with pytest.raises(LedgerUnavailable) as caught, writing(engine) as connection:
        connection.execute(text("CREATE TABLE more AS SELECT randomblob(1000000) AS it"))
    assert is_fault(caught.value, key)
    engine.dispose()


def test_a_process_starts_during_an_outage_but_not_if_a_person_must_act(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    away = f"postgres://someone:{SECRET}@127.0.0.1:{free_port()}/n"
    wait_for_ledger(load_settings({"COURSEBELL_DATABASE_URL": away}))
    assert POSTGRESQL["refused"].sentence in capsys.readouterr().err
    no_database_file(tmp_path / "coursebell.db")
    with pytest.raises(LedgerUnavailable):
        wait_for_ledger(load_settings({"COURSEBELL_DATA_DIR": str(tmp_path)}))


def test_commands_report_an_unreachable_database_and_do_not_suggest_migrate() -> None:
    url = f"postgres://someone:{SECRET}@127.0.0.1:{free_port()}/n"
    clean = {name: value for name, value in os.environ.items() if "COURSEBELL" not in name}
    for words in (["status"], ["migrate"], ["why", "a@example.org"], ["tail"]):
        environment = {**clean, "COURSEBELL_DATABASE_URL": url}
        done = forking.run("service", *words, env=environment, timeout=60)
        assert done.returncode == 4
        fault = POSTGRESQL["refused"]
        assert done.stderr == (
            f"The ledger cannot be used: {fault.sentence} (OperationalError).\n{fault.next_step}\n"
        )
