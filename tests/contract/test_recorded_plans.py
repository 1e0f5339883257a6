"""Every statement that the service sends while it works finds its rows by an index.

The statements are recorded from what really runs: requests, lookups, deliveries, a tick, commands.
So a new query takes part by itself. Commands that read everything on purpose are not run here.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from sqlalchemy import Connection, event, text
from sqlalchemy.engine import Engine as AnyEngine

from bench.ledger_fill import fill_study, fill_waiting
from ledger.activity import entries_since, newest_entries
from ledger.clock import SYSTEM_CLOCK
from ledger.controls import accept_forecast
from ledger.engine import Engine, reading, writing
from ledger.tables import metadata
from schemas.entity import Entity
from schemas.settings import load_settings
from service.app import make_web
from service.cli.status import status
from service.cli.why import why
from tests.builders.records import NOON
from tests.contract.study_rig import SHIPPED, Space, rules_of
from workers.deliver.claim import sweep
from workers.scheduler import Scheduler
from workers.wakeup import Wakeup

TOKEN = "a-relay-token-for-this-test-only"
EVENTS, WAITING = 1_500, 1_500
# They do not grow with what happens: one row for each setting, process, reason or hour.
BOUNDED = {
    *("controls", "gaps", "heartbeats", "leases", "outages", "pauses", "refusals", "revisions"),
    *("sign_ins", "tallies"),
}
GROWING = metadata.tables.keys() - BOUNDED
# These hold only rows that are unfinished or need a person. Reading one from end to end, or from
# one end until something is found, is no scan of its table.
SMALL = {
    *("actions_due", "actions_due_of_kind", "actions_performing", "actions_undecided"),
    *("actions_waiting", "checks_open", "deliveries_by_relay", "deliveries_unreadable"),
    *("lookups_due", "lookups_failed", "lookups_leased", "lookups_waiting"),
    *("lookups_waiting_for", "lookups_waiting_since", "reports_due"),
}
# Without each of these, something that is done reads a whole table: the test notices that.
NEEDED = {
    "lookups_leased": "a tick of the scheduler",
    "lookups_due": "a tick of the scheduler",
}
Statements = dict[str, Any]  # each once, with parameters it was sent with


@contextmanager
def recorded() -> Iterator[Statements]:
    """Yield what every engine sends in this process while the block runs."""
    found: Statements = {}

    def note(*sent: Any) -> None:  # noqa: ANN401 - as SQLAlchemy calls it
        _, _, statement, parameters, _, is_many = sent
        if statement.lstrip().startswith(("SELECT", "UPDATE", "DELETE", "WITH")):
            found.setdefault(statement, parameters[0] if is_many else parameters)

    event.listen(AnyEngine, "before_cursor_execute", note)
    yield found
    event.remove(AnyEngine, "before_cursor_execute", note)


def requests(_: Engine, url: str, folder: Path) -> None:
    """Send a delivery and ask for both health routes."""
    environ = {
        "COURSEBELL_DATA_DIR": str(folder),
        "COURSEBELL_DATABASE_URL": url,
        "COURSEBELL_RELAY_TOKENS": TOKEN,
    }
    web = make_web(load_settings(environ))
    client = web.app.test_client()
    headers = {"Authorization": f"Bearer {TOKEN}"}
    sent = client.post("/hooks/relay", json={"entity": "CourseMember", "id": 7}, headers=headers)
    refused = client.post("/hooks/relay", json={}, headers={"Authorization": "Bearer wrong"})
    assert (sent.status_code, refused.status_code) == (202, 401)
    assert client.get("/readyz?for=web").status_code == 200
    assert "lookups" in client.get("/readyz").get_json()["parts"]
    web.close()


def work(engine: Engine, _: str, __: Path) -> None:
    """Look up an enrolment and finished lessons, send the emails, and sweep."""
    space = Space(engine, rules_of(SHIPPED.replace("spread: 45m", "spread: 45m\n  brake: 2x")))
    with writing(engine) as connection:
        busiest = {rule.name: 9 for rule in space.rules.rules}
        accept_forecast(connection, busiest, space.rules.digest, "Rita", NOON)
    ana = space.enrol(1)
    space.work()
    space.later(minutes=10)
    space.finish(ana, 1, 2)
    space.later(hours=3)
    space.finish(ana, 3)
    space.later(hours=3)
    sweep(space.delivery)
    assert space.mailer.caught


def tick(engine: Engine, _: str, __: Path) -> None:
    """Ask what is due, as the scheduler does each second."""
    wakeup = Wakeup(None, SYSTEM_CLOCK)
    Scheduler(engine, wakeup, SYSTEM_CLOCK, check_every_s=300).tick()
    wakeup.close()


def commands(_: Engine, url: str, folder: Path) -> None:
    """Run the commands that operators use most."""
    environ = {"COURSEBELL_DATABASE_URL": url, "COURSEBELL_DATA_DIR": str(folder)}
    runner = CliRunner(env=environ)
    assert '"deliveries"' in runner.invoke(status, ["--json"]).output
    for who in ("person500001@example.com", "500001"):
        assert "Finished" in runner.invoke(why, [who]).output


def follow(engine: Engine, _: str, __: Path) -> None:
    """Read recent activity, as `tail` does each second."""
    with reading(engine) as connection:
        found, mark = entries_since(connection, newest_entries(connection, 10))
        entries_since(connection, replace(mark, missing_events={1: None}, missing_attempts={1: 1}))
    assert len(found) > 10


DONE: dict[str, Callable[[Engine, str, Path], None]] = {
    "requests": requests,
    "lookups and deliveries": work,
    "a tick of the scheduler": tick,
    "status and why": commands,
    "tail": follow,
}


def scans_on_sqlite(connection: Connection, sent: str, parameters: Any) -> Iterator[str]:  # noqa: ANN401 - as the driver takes them
    for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sent}", parameters):
        step = str(row.detail)
        words = step.split()
        # Of a min() or max() that reads all rows it says SEARCH, without an index; ids need none.
        is_search = words[0] == "SEARCH" and "USING" not in words and "id)" not in sent
        # All enrolments, or all finished lessons, are nearly all rows; a space has few courses.
        is_kind = step.endswith(" (entity=?)") and Entity.COURSE not in parameters
        is_scan = words[0] == "SCAN" or is_search or is_kind
        if is_scan and words[1] in GROWING and not SMALL & set(words):
            yield step


def scans_on_postgres(connection: Connection, sent: str, parameters: Any) -> Iterator[str]:  # noqa: ANN401 - as the driver takes them
    # Of small tables the server would read all rows. Without that, it does so only if it must.
    for way in ("seqscan", "mergejoin", "hashjoin"):
        connection.execute(text(f"SET LOCAL enable_{way} = off"))
    [plan] = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {sent}", parameters).one()
    steps = [entry["Plan"] for entry in plan]
    while steps:
        step = steps.pop()
        steps += step.get("Plans", [])
        index = step.get("Index Name")
        is_scan = step["Node Type"] == "Seq Scan" and step.get("Relation Name") in GROWING
        is_walk = index is not None and step.get("Relation Name") in GROWING
        is_walk = is_walk and index not in SMALL and "Index Cond" not in step
        if is_scan or (is_walk and not index.startswith("checks")):
            yield json.dumps({key: step[key] for key in step if key != "Plans"})


def scans_of(connection: Connection, found: Statements) -> dict[str, list[str]]:
    """Return the steps in which a statement would read a whole table, by statement."""
    scans = scans_on_sqlite if connection.dialect.name == "sqlite" else scans_on_postgres
    steps = {sent: list(scans(connection, sent, given)) for sent, given in found.items()}
    return {sent: wrong for sent, wrong in steps.items() if wrong}


def test_no_statement_of_the_running_service_reads_a_whole_table(
    ledger_engine: Engine, ledger_url: str, tmp_path: Path
) -> None:
    fill_study(ledger_engine, EVENTS, NOON, polls_for=timedelta(days=3))
    # Due after all that this test does: their number matters, and processing them takes long.
    fill_waiting(ledger_engine, WAITING, NOON + timedelta(hours=6.5))
    sent: dict[str, Statements] = {}
    for name, do in DONE.items():
        with recorded() as found:
            do(ledger_engine, ledger_url, tmp_path)
        assert len(found) > 3, name
        sent[name] = found
    with writing(ledger_engine) as connection:
        wrong = {name: scans_of(connection, found) for name, found in sent.items()}
        connection.rollback()
    assert wrong == {name: {} for name in DONE}
    for index, name in NEEDED.items():
        ledger_engine.dispose()  # SQLite does not plan an EXPLAIN again that a connection prepared
        with writing(ledger_engine) as connection:
            connection.execute(text(f"DROP INDEX {index}"))
            assert scans_of(connection, sent[name]) != {}, index
            connection.rollback()
