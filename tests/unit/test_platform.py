"""`PORT`, `DATABASE_URL` and `REDIS_URL` of a platform, where our own settings are unset."""

from pathlib import Path

import pytest

from schemas.errors import ConfigurationError
from schemas.settings import Listen, describe, load_settings
from workers.environment import load

PLATFORM = {
    "PORT": "5000",
    "DATABASE_URL": "postgres://u:hunter2hunter2@h:5432/n",
    "REDIS_URL": "rediss://:hunter2hunter2@h:6380",
}
ALL_INTERFACES = "0.0.0.0"  # noqa: S104 - nothing listens
OURS = {
    "COURSEBELL_LISTEN": "127.0.0.1:8001",
    "COURSEBELL_DATABASE_URL": "sqlite:////srv/ledger.db",
    "COURSEBELL_BROKER_URL": "redis://127.0.0.1:6379",
}
BECAUSE = "it is read because {ours} is not set, so set {ours} if {theirs} belongs to another"


def test_a_platforms_variables_take_the_place_of_what_is_unset() -> None:
    settings = load(PLATFORM)
    assert settings.listen == Listen(ALL_INTERFACES, 5000)
    assert settings.database_url == "postgresql+psycopg://u:hunter2hunter2@h:5432/n"
    assert settings.broker_url == "rediss://:hunter2hunter2@h:6380"


def test_config_show_names_the_variable_that_each_came_from() -> None:
    origins = {line.name: line.origin for line in describe(load(PLATFORM), PLATFORM)}
    assert origins["COURSEBELL_LISTEN"] == "PORT"
    assert origins["COURSEBELL_DATABASE_URL"] == "DATABASE_URL"
    assert origins["COURSEBELL_BROKER_URL"] == "REDIS_URL"
    assert origins["COURSEBELL_ZONE"] == "default"


@pytest.mark.parametrize("suffix", ["", "_FILE"])
def test_our_own_settings_come_first(tmp_path: Path, suffix: str) -> None:
    ours = OURS
    if suffix:
        for name, text in ours.items():
            (tmp_path / name).write_text(text)
        ours = {f"{name}_FILE": str(tmp_path / name) for name in ours}
    settings = load(PLATFORM | ours)
    assert settings.listen == Listen("127.0.0.1", 8001)
    assert settings.database_url == "sqlite:////srv/ledger.db"
    assert settings.broker_url == "redis://127.0.0.1:6379"
    origins = {line.name: line.origin for line in describe(settings, PLATFORM | ours)}
    assert origins["COURSEBELL_LISTEN"] == ("file" if suffix else "environment")


@pytest.mark.parametrize("text", ["", " ", "''"])
def test_an_empty_variable_is_unset_on_both_sides(text: str) -> None:
    assert load(dict.fromkeys(PLATFORM, text)) == load_settings({})
    assert load({**PLATFORM, "COURSEBELL_LISTEN": text}) == load(PLATFORM)


@pytest.mark.parametrize(
    ("theirs", "text", "ours"),
    [
        ("PORT", "http", "COURSEBELL_LISTEN"),
        ("PORT", "0", "COURSEBELL_LISTEN"),
        ("PORT", "65536", "COURSEBELL_LISTEN"),
        ("PORT", "tcp://10.0.0.1:80", "COURSEBELL_LISTEN"),
        ("DATABASE_URL", "mysql://u:hunter2hunter2@h/n", "COURSEBELL_DATABASE_URL"),
        ("DATABASE_URL", "sqlite:///db.sqlite3", "COURSEBELL_DATABASE_URL"),
        ("REDIS_URL", "memory://hunter2hunter2", "COURSEBELL_BROKER_URL"),
    ],
)
def test_a_value_that_cannot_be_ours_is_refused_by_its_variables_name(
    theirs: str, text: str, ours: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load({theirs: text})
    (mistake,) = caught.value.mistakes
    assert mistake.startswith(f"{theirs}: expected ")
    assert BECAUSE.format(ours=ours, theirs=theirs) in mistake
    assert "hunter2" not in mistake
    load({theirs: text, ours: OURS[ours]})


def test_the_loader_itself_sees_only_our_own_names() -> None:
    assert load_settings(PLATFORM) == load_settings({})
