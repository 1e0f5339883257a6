"""The running service deletes what was kept long enough, without being asked."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import insert

from ledger.engine import open_engine, writing
from ledger.tables import refusals
from tests.e2e.house import living
from tests.servers.programs import wait_until


def test_expired_rows_are_deleted_while_the_service_runs(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    with living(tmp_path) as house:
        engine = open_engine(house.environment["COURSEBELL_DATABASE_URL"])
        with writing(engine) as connection:
            for number, at in enumerate((now, now - timedelta(days=300))):
                row = {"hour": at, "reason": "signature", "count": number + 1, "last_at": at}
                connection.execute(insert(refusals).values(**row))
        engine.dispose()
        house.start("worker", "clock")
        counted = "SELECT count FROM refusals"
        wait_until(lambda: house.rows(counted) == [(1,)], f"the old row deleted; {house.tail()}")
