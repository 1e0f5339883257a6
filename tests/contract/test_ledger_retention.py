"""How long things are kept."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from ledger.engine import open_engine, reading, writing
from ledger.intake import Arrival, Origin, keep_arrivals
from ledger.migrate import migrate
from ledger.retention import BODIES, forget_old
from ledger.tables import deliveries

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def test_old_bodies_are_emptied_and_their_deliveries_stay(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/ledger.db")
    migrate(engine)
    moments = (NOW - BODIES - timedelta(seconds=1), NOW - BODIES + timedelta(seconds=1))
    with writing(engine) as connection:
        keep_arrivals(
            connection,
            [Arrival(moment, "/hooks/relay", Origin.RELAY, "bearer", b"x") for moment in moments],
        )
        assert forget_old(connection, NOW) == (1, 0)
        assert forget_old(connection, NOW) == (0, 0)
    with reading(engine) as connection:
        assert [row.body for row in connection.execute(deliveries.select())] == [None, b"x"]
    engine.dispose()
