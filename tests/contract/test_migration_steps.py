"""A ledger of an older version keeps every row when it is brought up to date.

What is filled is read from the database itself, so that each table of that time takes part.
"""

import json
import random
import re
import string
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Column, MetaData, Table, bindparam, select, text

from ledger.actions import copy_of, plan_action
from ledger.controls import set_value
from ledger.engine import Engine, lock_decisions, open_engine, reading, writing
from ledger.members import name_of_member
from ledger.migrate import migrate
from ledger.outbox import expire_handovers
from ledger.record_queries import update_names, with_changed_names
from ledger.records import SeenVersion, unknown_among
from ledger.reports import report_state
from ledger.revision import check_revision, current_revision, newest_revision
from ledger.tables import actions, records
from ledger.tables.columns import Instant
from ledger.upgrade import differences
from schemas.entity import Entity
from schemas.errors import ConfigurationError, LedgerNotReady
from tests.contract.ledger_rig import (
    NOW,
    ROOT,
    arrival,
    decide,
    keep,
    lesson_done,
    plan_for,
    planned,
)
from tests.servers.later_ledgers import LATER, upgrade_beyond
from workers.actions.email.message import MESSAGE, read_message

MOMENT = datetime(2026, 5, 4, 9, 30, 0, 123_456, tzinfo=UTC)
SINCE_0001: dict[str, dict[str, object]] = {
    "people": {
        "zone": None,
        "user_id": None,
        "language": None,
        "language_at": None,
        "search_key": "zoe 🔔\n@zoe 🔔",
    },
    "actions": {
        "asked": False,
        "released_at": None,
        "committed_at": None,
        "resend_of": None,
        "closed_at": None,
        "audience": None,
    },
    "attempts": {"tries": 1},
    "deliveries": {"size": None, "digest": None},
    "choices": {"until": None, "origin": None},
}
NEW_TABLES = (
    "checks",
    "completion_certificates",
    "control_log",
    "gaps",
    "mail_reports",
    "outages",
    "decisions",
    "operator_links",
    "operator_sessions",
    "operators",
    "pauses",
    "refusals",
    "report_copies",
    "reports",
    "sent_emails",
    "suppressions",
    "timers",
)

MEMBER = Entity.COURSE_MEMBER
NOTHING = dict.fromkeys(column.name for column in records.columns)
NAMED_ANEW = {
    "digest": "seen_digest",
    "decided": "decided_digest",
    "reason": "suppressed_reason",
    "quiet_upto": "suppressed_upto",
    "quiet_after": "suppressed_after",
}
# Enrolments in the tables before 0012: what is read of each, and what lists show of it.
READ = {
    "entity": "CourseMember",
    "record": {"Id": 2**63 - 1, "Title": "Zoë 🔔"},
    "updated_at": MOMENT,
    "fetched_at": MOMENT,
    "course_id": 4321,
    "coworker_id": 7,
    "decided_upto": 12,
}
LISTED = {
    "entity": "CourseMember",
    "changed_at": MOMENT,
    "created_at": MOMENT,
    "digest": "seen",
    "decided": "decided",
    "seen_at": MOMENT,
    "reason": None,
    "course_id": 4321,
    "coworker_id": 7,
    "full_name": "Zoë",
}
QUIET = {"decided": None, "reason": "before-start", "quiet_upto": MOMENT, "quiet_after": 0}
WERE_READ: list[dict[str, object]] = [
    {"record_id": 1},
    {"record_id": 2},
    {"record_id": 4, "gone_at": MOMENT},
]
WERE_LISTED: list[dict[str, object]] = [
    {"record_id": 1},
    {"record_id": 3, **QUIET},
    {"record_id": 4, "course_id": 1},
    {"record_id": 5, "gone_at": MOMENT},
]


def by_number(rows: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    return {row["record_id"]: row for row in rows}


def renamed(rows: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    of_name = {"name_key": "zoe"}
    return by_number(
        [{NAMED_ANEW.get(name, name): one[name] for name in one} | of_name for one in rows]
    )


def step(engine: Engine, direction: str, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(ROOT / "ledger" / "migrations"))
    with writing(engine) as connection:
        config.attributes["connection"] = connection
        getattr(command, direction)(config, revision)


def tables_of(engine: Engine) -> dict[str, Table]:
    found = MetaData()
    with reading(engine) as connection:
        found.reflect(connection)
    return {table.name: table for table in found.sorted_tables if table.name != "alembic_version"}


def something(column: Column[Any]) -> object:
    kind = column.type.python_type
    if kind is datetime:
        is_zoned = getattr(column.type, "timezone", False)
        return MOMENT if is_zoned else MOMENT.replace(tzinfo=None)
    values: dict[type, object] = {int: 1, str: "Zoë 🔔", bytes: b"[\x00\xff]", bool: True}
    return values.get(kind, {"Id": 2**63 - 1})


def fill(engine: Engine) -> None:
    tables = tables_of(engine)
    with writing(engine) as connection:
        for table in tables.values():
            row = {column.name: something(column) for column in table.columns}
            connection.execute(table.insert().values(row))


def rows_of(engine: Engine) -> dict[str, list[dict[str, Any]]]:
    tables = tables_of(engine)
    with reading(engine) as connection:
        return {
            name: [dict(row) for row in connection.execute(select(table)).mappings()]
            for name, table in tables.items()
        }


@pytest.fixture
def first_ledger(empty_database_url: str) -> Iterator[Engine]:
    """Give a ledger of the first version, with a row in every table."""
    engine = open_engine(empty_database_url)
    step(engine, "upgrade", "0001")
    fill(engine)
    yield engine
    engine.dispose()


def test_migrating_a_filled_ledger_keeps_every_row(first_ledger: Engine) -> None:
    before = rows_of(first_ledger)
    assert len(before) > 10
    assert {len(rows) for rows in before.values()} == {1}
    assert migrate(first_ledger) == current_revision(first_ledger) == newest_revision()
    assert differences(first_ledger) == []
    after = rows_of(first_ledger)
    [copy], [old] = after.pop("copies"), before.pop("copies")
    message = read_message(copy["body"])
    assert old == {
        "action_id": copy["action_id"],
        "written_at": copy["written_at"],
        "wording": copy["version"],
        "recipient": copy["recipient"],
        "subject": copy["title"],
        "message_id": message.message_id,
        "text": message.text,
        "html": message.html,
    }
    expected = {
        name: [row | SINCE_0001.get(name, {}) for row in rows] for name, rows in before.items()
    }
    noted = after.pop("revisions")
    assert [(row["revision"], row["oldest_code"]) for row in noted] == [
        ("0004", "0004"),
        ("0005", "0004"),
        ("0006", "0004"),
        ("0007", "0007"),
        ("0008", "0007"),
        ("0009", "0007"),
        ("0010", "0007"),
        ("0011", "0011"),
        ("0012", "0012"),
        ("0013", "0013"),
        ("0014", "0013"),
        ("0015", "0013"),
        ("0016", "0013"),
        ("0017", "0017"),
        ("0018", "0017"),
        ("0019", "0017"),
        ("0020", "0017"),
        ("0021", "0017"),
        ("0022", "0017"),
        ("0023", "0023"),
        ("0024", "0023"),
        ("0025", "0023"),
        ("0026", "0023"),
        ("0027", "0023"),
        ("0028", "0023"),
        ("0029", "0023"),
        ("0030", "0023"),
        ("0031", "0023"),
        ("0032", "0023"),
        ("0033", "0033"),
    ]
    kept = {row["name"]: row["number"] for row in after.pop("tallies")}
    assert kept == dict.fromkeys(("actions", "deliveries", "events", "lookups", "notifications"), 1)
    [snapshot] = expected.pop("snapshots")
    assert after.pop("records") == [NOTHING | snapshot]
    assert after == expected | {name: [] for name in NEW_TABLES}


def test_an_email_being_handed_over_during_an_upgrade_is_not_repeated(first_ledger: Engine) -> None:
    with writing(first_ledger) as connection:
        connection.execute(text("UPDATE actions SET state = 'performing'"))
        connection.execute(text("DELETE FROM attempts"))
    migrate(first_ledger)
    with writing(first_ledger) as connection:
        expired = expire_handovers(
            connection, MOMENT + timedelta(days=1), lease_s=60, repeatable=set()
        )
    assert (expired.repeated, expired.unknown) == (0, 1)


def test_what_mail_providers_reported_before_they_could_of_digests_stays(
    empty_database_url: str,
) -> None:
    engine = open_engine(empty_database_url)
    step(engine, "upgrade", "0028")
    tables = tables_of(engine)
    with writing(engine) as connection:
        for name in ("actions", "sent_emails", "mail_reports"):
            row = {column.name: something(column) for column in tables[name].columns}
            known = {"id": 1, "action_id": 1, "reference": "a"}
            mine = {key: value for key, value in known.items() if key in row}
            connection.execute(tables[name].insert(), row | mine)
    before = rows_of(engine)
    migrate(engine)
    after = rows_of(engine)
    for name in ("sent_emails", "mail_reports"):
        [row] = after[name]
        assert row.pop("report_id") is None
        assert [row] == before[name]
    step(engine, "downgrade", "0028")
    assert rows_of(engine) == before
    engine.dispose()


def test_names_longer_than_an_index_entry_are_cut(empty_database_url: str) -> None:
    engine = open_engine(empty_database_url)
    step(engine, "upgrade", "0015")
    long = "".join(random.Random(7).choices(string.ascii_letters, k=6_000))  # noqa: S311 - no secret
    with writing(engine) as connection:
        rows = [
            NOTHING | {"entity": MEMBER, "record_id": number, "full_name": name}
            for number, name in ((1, long), (2, "Zoë"))
        ]
        connection.execute(tables_of(engine)["records"].insert(), rows)
    migrate(engine)
    names = {row["full_name"]: row["name_key"] for row in rows_of(engine)["records"]}
    assert names == {long[:200]: long[:200].lower(), "Zoë": "zoe"}
    engine.dispose()


def test_the_version_read_and_the_version_listed_become_one_row(
    empty_database_url: str,
) -> None:
    engine = open_engine(empty_database_url)
    step(engine, "upgrade", "0011")
    tables = tables_of(engine)
    with writing(engine) as connection:
        for one in WERE_READ:
            connection.execute(tables["snapshots"].insert().values(READ | one))
        for one in WERE_LISTED:
            connection.execute(tables["sightings"].insert().values(LISTED | one))
    before = rows_of(engine)
    migrate(engine)
    assert differences(engine) == []
    after = {row["record_id"]: row for row in rows_of(engine)["records"]}
    assert after == {
        1: NOTHING | by_number(before["snapshots"])[1] | renamed(before["sightings"])[1],
        2: NOTHING | by_number(before["snapshots"])[2],
        3: NOTHING | renamed(before["sightings"])[3],
        4: NOTHING | renamed(before["sightings"])[4] | by_number(before["snapshots"])[4],
        5: NOTHING | renamed(before["sightings"])[5],
    }
    assert (after[4]["gone_at"], after[4]["course_id"]) == (after[5]["gone_at"], 4321)
    with writing(engine) as connection:
        named = with_changed_names(
            connection, MEMBER, [SeenVersion(3, MOMENT, "b", full_name="Zo")]
        )
        update_names(connection, MEMBER, named)
        assert name_of_member(connection, 7) == "Zo"
        unknown = unknown_among(
            connection, MEMBER, [SeenVersion(one, MOMENT, "decided") for one in range(1, 7)]
        )
        assert [one.record_id for one in unknown] == [2, 3, 4, 5, 6]
        update_names(connection, MEMBER, [SeenVersion(3, MOMENT, "b", full_name="Zoë")])
    step(engine, "downgrade", "0011")
    back = rows_of(engine)
    assert by_number(back["snapshots"]) == by_number(before["snapshots"])
    # Only what the two tables said differently of one record is lost.
    assert by_number(back["sightings"]) == {
        number: row | {name: after[number][name] for name in ("gone_at", "course_id")}
        for number, row in by_number(before["sightings"]).items()
    }
    engine.dispose()


def test_the_time_of_creation_of_each_version_becomes_a_column(empty_database_url: str) -> None:
    engine = open_engine(empty_database_url)
    step(engine, "upgrade", "0012")
    created = ["2026-05-04T09:30:00.123456+00:00", "2026-05-04T09:30:00+00:00", None]
    versions = [READ | {"record": {"CreatedOn": one}} for one in created]
    versions += [READ | {"entity": "Course"}, READ | {"record": None, "fetched_at": None}]
    table = tables_of(engine)["records"]
    with writing(engine) as connection:
        for number, version in enumerate(versions):
            connection.execute(table.insert().values(version | {"record_id": number}))
    before = by_number(rows_of(engine)["records"])
    migrate(engine)
    with reading(engine) as connection:
        found = connection.execute(
            select(records.c.source_created_at).order_by(records.c.record_id)
        ).scalars()
        assert list(found) == [MOMENT, MOMENT.replace(microsecond=0), None, None, None]
    step(engine, "downgrade", "0012")
    assert by_number(rows_of(engine)["records"]) == before
    engine.dispose()


def test_emails_kept_before_an_upgrade_are_shown_as_before(first_ledger: Engine) -> None:
    step(first_ledger, "upgrade", "0010")
    [copy] = rows_of(first_ledger)["copies"]
    [action] = rows_of(first_ledger)["actions"]
    more = range(2, 503)  # with the first, more than are changed at once
    names = {"message_id": f"<{'a' * 40}@{'b' * 150}.example>", "subject": "Schön \U0001f514 " * 20}
    texts = {
        one: {"text": f"Hello,\n\n.\nFrom {one} dóne\n", "html": f"<p>\U0001f514 {one}</p>\n"}
        for one in more
    }
    tables = tables_of(first_ledger)
    with writing(first_ledger) as connection:
        others = [action | {"id": one, "key": f"{one}", "resend_of": None} for one in more]
        connection.execute(tables["actions"].insert(), others)
        kept = [copy | names | texts[one] | {"action_id": one} for one in more]
        connection.execute(tables["copies"].insert(), kept)
    migrate(first_ledger)
    with reading(first_ledger) as connection:
        found = {one: copy_of(connection, one) for one in more}
    for one, new in found.items():
        assert new is not None
        message = read_message(new.body)
        assert {"text": message.text, "html": message.html} == texts[one]
        assert (message.message_id, new.title) == tuple(names.values())
        assert (new.recipient, new.media_type) == (copy["recipient"], MESSAGE)


def test_a_downgrade_removes_only_what_its_upgrade_added(first_ledger: Engine) -> None:
    before = rows_of(first_ledger)
    migrate(first_ledger)
    step(first_ledger, "downgrade", "0001")
    assert rows_of(first_ledger) == before
    assert current_revision(first_ledger) == "0001"


def test_each_migration_states_the_oldest_code_that_may_run_after_it() -> None:
    config = Config()
    config.set_main_option("script_location", str(ROOT / "ledger" / "migrations"))
    for script in ScriptDirectory.from_config(config).walk_revisions():
        assert re.fullmatch(r"\d{4}", script.revision)
        assert re.fullmatch(r"\d{4}", script.module.oldest_code)
        assert script.module.oldest_code <= script.revision


def test_code_may_run_on_a_later_ledger_that_allows_it(ledger_url: str, tmp_path: Path) -> None:
    upgrade_beyond(ledger_url, tmp_path / "later", oldest_code=newest_revision())
    engine = open_engine(ledger_url)
    check_revision(engine)
    assert migrate(engine) == current_revision(engine) == LATER
    keep(engine, arrival(7))
    planned(engine)
    engine.dispose()


@pytest.mark.parametrize("use", [check_revision, migrate])
def test_code_refuses_a_later_ledger_that_does_not_allow_it(
    ledger_url: str, tmp_path: Path, use: Callable[[Engine], object]
) -> None:
    upgrade_beyond(ledger_url, tmp_path / "later", oldest_code=LATER)
    engine = open_engine(ledger_url)
    with pytest.raises(ConfigurationError, match="install the version that upgraded it"):
        use(engine)
    engine.dispose()


@pytest.mark.parametrize("use", [check_revision, migrate])
@pytest.mark.parametrize("revision", ["ae1027a6acf", "0002", "9001"])
def test_the_database_of_another_program_is_refused_and_not_changed(
    empty_database_url: str, revision: str, use: Callable[[Engine], object]
) -> None:
    engine = open_engine(empty_database_url)
    with writing(engine) as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num varchar(32))"))
        connection.execute(text(f"INSERT INTO alembic_version VALUES ('{revision}')"))
    with pytest.raises(ConfigurationError, match="another program"):
        use(engine)
    assert tables_of(engine) == {}
    engine.dispose()


@pytest.mark.parametrize("revision", [None, "0001", "0003"])
def test_a_ledger_that_is_missing_or_older_is_not_ready(
    empty_database_url: str, revision: str | None
) -> None:
    engine = open_engine(empty_database_url)
    if revision is not None:
        step(engine, "upgrade", revision)
    with pytest.raises(LedgerNotReady, match="coursebell migrate"):
        check_revision(engine)
    engine.dispose()


def test_emails_to_others_are_skipped_before_older_code_could_send_them_to_members(
    empty_database_url: str,
) -> None:
    engine = open_engine(empty_database_url)
    migrate(engine)
    event = lesson_done()
    decide(engine, event, plan_for(event))
    with writing(engine) as connection:
        lock_decisions(connection)
        for audience in ("host", "0123456789abcdef"):
            plan = replace(plan_for(event, rule="tell"), key=f"tell/{audience}", audience=audience)
            plan_action(connection, plan, 1, NOW)
    step(engine, "downgrade", "0022")
    found = {(row["rule"], row["state"], row["reason"]) for row in rows_of(engine)["actions"]}
    assert found == {
        ("congratulate-lesson", "planned", None),
        ("tell", "skipped", "kind-off"),
    }
    assert migrate(engine) == newest_revision()
    with reading(engine) as connection:
        assert len(connection.execute(select(actions)).all()) == 3
    engine.dispose()


def test_what_alerts_said_that_did_not_arrive_counts_as_not_said(empty_database_url: str) -> None:
    engine = open_engine(empty_database_url)
    step(engine, "upgrade", "0027")
    begun = {
        "a": ["done"],
        "b": ["done", "failed"],
        "c": ["failed", "done"],
        "d": ["done", "unknown"],
        "e": ["waiting"],
        "f": [],
    }
    noted = {"known": {"held": 1}, "said_at": None, "streak": 1, "number": 2}
    insert_one = text(
        "INSERT INTO reports (key, name, audience, planned_at, state, due_at, attempts)"
        " VALUES (:key, 'attention', :audience, :now, :state, :now, 1)"
    ).bindparams(bindparam("now", NOW, type_=Instant()))
    with writing(engine) as connection:
        for audience, states in begun.items():
            for number, state in enumerate(states):
                values = {"key": f"{audience}/{number}", "audience": audience, "state": state}
                connection.execute(insert_one, values)
        of_all = json.dumps(dict.fromkeys(begun, noted))
        set_value(connection, "report_state.attention", of_all, "a test", NOW)
    migrate(engine)
    with reading(engine) as connection:
        after = report_state(connection, "attention")
    assert {one for one, state in after.items() if state == noted} == {"a", "c", "f"}
    assert all(state in (noted, noted | {"known": {}}) for state in after.values())
    step(engine, "downgrade", "0027")
    engine.dispose()
