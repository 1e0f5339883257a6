"""The health routes on both engines: what a load balancer gets, and what a stranger does not."""

import secrets
import sqlite3
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import LiteralString
from urllib.parse import urlsplit

import psycopg
import pytest
import yaml
from psycopg import sql

from schemas.settings import load_settings
from service.app import Web, make_web
from tests.house.source_tree import ROOT
from tests.servers.postgres import address
from workers.local.server import free_port

TOKEN = "a-relay-token-for-this-test-only"
ENROLMENT = {"entity": "CourseMember", "id": 1}


@pytest.fixture
def web(ledger_url: str, tmp_path: Path) -> Iterator[Web]:
    """Give the web application where nothing else runs, and no broker is named."""
    yield from _web(ledger_url, tmp_path)


def _web(url: str, folder: Path) -> Iterator[Web]:
    environ = {
        "COURSEBELL_DATA_DIR": str(folder),
        "COURSEBELL_DATABASE_URL": url,
        "COURSEBELL_RELAY_TOKENS": TOKEN,
    }
    made = make_web(load_settings(environ))
    yield made
    made.close()


def asked(web: Web, path: str) -> tuple[int, object]:
    answer = web.app.test_client().get(path)
    return answer.status_code, answer.json


def relayed(web: Web) -> int:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    return web.app.test_client().post("/hooks/relay", json=ENROLMENT, headers=headers).status_code


def test_the_web_process_is_ready_without_broker_worker_clock_and_nexudus(web: Web) -> None:
    assert asked(web, "/readyz")[0] == 503
    assert asked(web, "/readyz?for=web") == (200, {"ready": True, "parts": {"ledger": "ok"}})
    assert relayed(web) == 202


def test_without_its_tables_the_web_process_is_not_ready(
    empty_database_url: str, tmp_path: Path
) -> None:
    for web in _web(empty_database_url, tmp_path):
        status, said = asked(web, "/readyz?for=web")
        assert status == 503
        assert "coursebell migrate" in str(said)
        assert relayed(web) == 503


def test_a_read_only_ledger_is_not_ready(ledger_url: str, tmp_path: Path) -> None:
    if ledger_url.startswith("sqlite"):
        writer = sqlite3.connect(ledger_url.removeprefix("sqlite:///"), isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")
        url, undo = ledger_url, writer.close
    else:
        url, undo = _for_a_reader(ledger_url)
    try:
        for web in _web(url, tmp_path):
            assert asked(web, "/readyz?for=web")[0] == 503
    finally:
        undo()


def _for_a_reader(ledger_url: str) -> tuple[str, Callable[[], None]]:
    """Make a role that may read the ledger; return its address, and what removes it."""
    owner = psycopg.connect(address(ledger_url), autocommit=True)
    role = f"reader_{secrets.token_hex(4)}"

    def run(*statements: LiteralString) -> None:
        for statement in statements:
            owner.execute(sql.SQL(statement).format(role=sql.Identifier(role)))

    run(
        "CREATE ROLE {role} LOGIN PASSWORD 'reader'",
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}",
    )
    parts = urlsplit(ledger_url)
    place = f"{parts.hostname}:{parts.port}"
    url = parts._replace(netloc=f"{role}:reader@{place}").geturl()

    def undo() -> None:
        run("DROP OWNED BY {role}", "DROP ROLE {role}")
        owner.close()

    return url, undo


def test_the_reason_is_logged_and_not_in_the_answer(
    web: Web, ledger_url: str, postgres_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if ledger_url.startswith("sqlite"):
        Path(ledger_url.removeprefix("sqlite:///")).write_bytes(b"this is no database" * 1_000)
    else:
        name = ledger_url.rpartition("/")[2]
        with psycopg.connect(address(postgres_url), autocommit=True) as connection:
            connection.execute(
                sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
            )
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            connection.execute(
                sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(name))
            )
    sentence = "cannot be read or written now; the log has the reason"
    not_ready = {"ready": False, "parts": {"ledger": sentence}}
    assert asked(web, "/readyz?for=web") == (503, not_ready)
    assert "web.unready" in capsys.readouterr().out


@pytest.mark.parametrize("query", ["for=", "for=worker", "for=WEB", "for=web&for=worker"])
def test_an_unknown_value_of_for_is_refused_so_that_a_typo_in_a_probe_shows(
    web: Web, query: str
) -> None:
    assert asked(web, f"/readyz?{query}") == (400, {"error": "expected for=web, or no parameter"})


def test_the_documented_probes_of_kubernetes_are_answered(web: Web) -> None:
    page = (ROOT / "docs" / "running-it.md").read_text(encoding="utf-8")
    block = page.partition("```yaml\n")[2].partition("```")[0]
    probes = yaml.safe_load(textwrap.dedent(block))
    assert list(probes) == ["startupProbe", "livenessProbe", "readinessProbe"]
    for probe in probes.values():
        assert asked(web, probe["httpGet"]["path"])[0] == 200


def test_a_broker_with_tls_that_does_not_answer_may_have_a_self_signed_certificate(
    tmp_path: Path,
) -> None:
    environ = {
        "COURSEBELL_DATA_DIR": str(tmp_path),
        "COURSEBELL_BROKER_URL": f"rediss://127.0.0.1:{free_port()}",
    }
    web = make_web(load_settings(environ))
    assert "?ssl_cert_reqs=none" in web.app.test_client().get("/readyz").text
    web.close()
