"""How long things are kept."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from ledger.engine import open_engine, reading, writing
from ledger.intake import Arrival, Origin, keep_arrivals
from ledger.migrate import migrate
from ledger.refusals import count_refusals, refused_since
from ledger.retention import BODIES, REFUSALS, forget_old
from ledger.tables import deliveries
from schemas.refusals import Refusal

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def delivery(moment: datetime, error: str | None = None) -> Arrival:
    return Arrival(
        moment, "/hooks/relay", Origin.RELAY, "bearer", b"x", size=1, digest="0" * 64, error=error
    )


def test_old_bodies_are_emptied_and_their_deliveries_stay(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/ledger.db")
    migrate(engine)
    moments = (NOW - BODIES - timedelta(seconds=1), NOW - BODIES + timedelta(seconds=1))
    with writing(engine) as connection:
        keep_arrivals(connection, [delivery(moment) for moment in moments])
        assert forget_old(connection, NOW) == (1, 0)
        assert forget_old(connection, NOW) == (0, 0)
    with reading(engine) as connection:
        assert [row.body for row in connection.execute(deliveries.select())] == [None, b"x"]
    engine.dispose()


def test_unreadable_bodies_that_an_older_version_kept_are_emptied(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/ledger.db")
    migrate(engine)
    with writing(engine) as connection:
        keep_arrivals(connection, [delivery(NOW), delivery(NOW, error="not JSON")])
        assert forget_old(connection, NOW) == (1, 0)
    with reading(engine) as connection:
        assert [row.body for row in connection.execute(deliveries.select())] == [b"x", None]
    engine.dispose()


def test_counts_of_refusals_are_deleted_in_time(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/ledger.db")
    migrate(engine)
    with writing(engine) as connection:
        for moment in (NOW - REFUSALS - timedelta(seconds=1), NOW - REFUSALS):
            count_refusals(connection, {Refusal.UNSIGNED: 2}, moment)
        forget_old(connection, NOW)
    with reading(engine) as connection:
        [left] = refused_since(connection, NOW - 2 * REFUSALS)
    assert (left.count, left.last_at) == (2, NOW - REFUSALS)
    engine.dispose()
