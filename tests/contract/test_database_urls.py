"""A database URL means the same to the ledger as to every other PostgreSQL program."""

import pytest
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import text
from sqlalchemy.engine import make_url

from ledger.engine import open_engine, reading
from schemas.errors import ConfigurationError
from schemas.settings import describe, load_settings
from workers.local.server import free_port


def loaded(url: str) -> str:
    return load_settings({"COURSEBELL_DATABASE_URL": url}).database_url


@pytest.mark.parametrize(
    "url",
    [
        "postgres://u:p@h/n",
        "postgresql://u:p%40%2F%25x@h:5432/n?sslmode=require&channel_binding=require",
        "postgresql://u@%2Fvar%2Frun%2Fpostgresql/n",
        "postgresql://%2Frun%2Fpg:5433/n",
        "postgresql:///n?host=/run/pg&port=5433",
        "postgresql:///n?host=%2Frun%2Fpg",
        "postgresql://u:p@one.example:5432,two.example/n?target_session_attrs=read-write",
        "postgresql://u:p@one.example,two.example",
        "postgresql://u:p@[::1]:5432,[fe80::1]:5433/n",
        "postgresql://u:p@[::1]/n",
        "postgresql://u:p@h/my%20courses%3F",
        "postgresql://h/n?user=me%40x&password=a+b%26c&connect_timeout=9",
        "postgresql://h/n?ssl=true",
        "postgresql://u:p@h/n?options=-csearch_path%3Dcourses&application_name=c%20b",
        "postgresql:///?service=courses",
    ],
)
def test_libpq_gets_the_parameters_that_it_would_read_in_the_url(url: str) -> None:
    parsed = make_url(loaded(url))
    _, arguments = parsed.get_dialect()().create_connect_args(parsed)
    arguments.pop("context", None)
    expected = {name: text for name, text in conninfo_to_dict(url).items() if text is not None}
    assert {name: str(value) for name, value in arguments.items()} == expected


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgres://u:hush@h/n?pgbouncer=true", "has no parameter pgbouncer"),
        ("postgres://u:hush@h/n?hush=1", "libpq knows"),
        ("postgres://u:hush@h/n?sslmode", "libpq knows"),
        ("postgres://u:hush@h/n?connect_timeout=hush", "libpq knows"),
        ("postgres://u:hush@h/n?sslmode=require&sslmode=disable", "once"),
        ("postgres://u:hush@h,i/n?host=/run", "once"),
        ("postgres://u:hush@h,/n", "expected hosts"),
        ("postgres://u:hush@h,[::1/n", "expected hosts"),
        ("postgres://u:hush@h:0,i/n", "expected hosts"),
        ("postgres://u:hush@h:65536,i/n", "expected hosts"),
        ("postgres://u:hush@h%40i/n", "expected hosts"),
    ],
)
def test_parameters_that_libpq_would_refuse_are_refused_at_the_start(
    url: str, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        loaded(url)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgres://u:hush@h,i:5433/n",
        "postgres://u:hush@%2Frun%2Fpg/n",
        "postgres://h,i/n?user=u&password=hush&sslpassword=hush",
    ],
)
def test_no_password_is_shown_whatever_the_form(url: str) -> None:
    environ = {"COURSEBELL_DATABASE_URL": url}
    shown = {line.name: line.value for line in describe(load_settings(environ), environ)}
    assert "hush" not in shown["COURSEBELL_DATABASE_URL"]
    assert "***" in shown["COURSEBELL_DATABASE_URL"]


@pytest.mark.postgres
def test_of_several_hosts_the_one_that_answers_is_used(postgres_url: str) -> None:
    alive = make_url(postgres_url)
    hosts = f"127.0.0.1:{free_port()},{alive.host}:{alive.port}"
    login = f"{alive.username}:{alive.password}"
    url = loaded(f"postgres://{login}@{hosts}/postgres?target_session_attrs=read-write")
    engine = open_engine(url)
    with reading(engine) as connection:
        assert connection.scalar(text("SELECT 1")) == 1
    engine.dispose()
