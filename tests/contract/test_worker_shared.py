"""What a worker shares with its forked children: the request to stop, and slots."""

import subprocess
import sys
from pathlib import Path

import pytest
import redis
from sqlalchemy import text

from ledger.engine import writing
from ledger.tables import checks, heartbeats
from schemas.errors import LedgerUnavailable
from schemas.settings import load_settings
from tests.contract.ledger_rig import rows
from tests.servers.ready_ledgers import sqlite_copy
from workers import tasks
from workers.context import read_shared_config
from workers.queues import SOURCE_PROBE, UPKEEP, UPKEEP_TASKS
from workers.shared_state import SharedState
from workers.worker_process import close_process, initialise_process, this_process


@pytest.mark.parametrize(
    ("scene", "printed"),
    [
        # One child at a time sends, and what a killed one had is free again.
        ("slot", ["free", "beside it: False", "afterwards: True False"]),
        # One child at a time does upkeep, beside one that polls; what is refused is remembered.
        (
            "upkeep",
            [
                "free",
                "beside it: False True",
                "refused: ledger.retain",
                "afterwards: True",
            ],
        ),
        ("stop", ["here", "seen", "ended by: 0", "parent: True"]),
        # A signal to one child takes effect after its work, and stops no other process.
        ("finish", ["here", "done", "ended by: 15", "parent: False"]),
    ],
)
def test_children_and_their_worker_share_state(scene: str, printed: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.contract.shared_program", scene],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.splitlines() == printed


def test_a_sweep_wakes_workers_for_upkeep_that_found_no_slot_even_if_no_report_can_be_applied(
    tmp_path: Path, broker_url: str
) -> None:
    settings = load_settings(
        {
            "COURSEBELL_DATA_DIR": str(tmp_path),
            "COURSEBELL_DATABASE_URL": sqlite_copy(tmp_path / "ledger.db"),
            "COURSEBELL_BROKER_URL": broker_url,
        }
    )
    upkeep = (
        tasks.check_source,
        tasks.check_hooks,
        tasks.probe_source,
        tasks.reconcile_source,
        tasks.retain_ledger,
        tasks.plan_due_reports,
        tasks.send_due_reports,
    )
    shared = SharedState(workers=1)
    with redis.Redis.from_url(broker_url, decode_responses=True) as broker:
        broker.delete(f"coursebell:{UPKEEP}", *broker.scan_iter(match="coursebell:waiting:*"))
        initialise_process(settings, read_shared_config(settings), shared)
        try:
            with shared.upkeep_slot(SOURCE_PROBE):
                for task in upkeep:
                    task()
            assert rows(this_process().context.engine, checks) == []
            with writing(this_process().context.engine) as connection:
                connection.execute(text("ALTER TABLE mail_reports RENAME TO elsewhere"))
            with pytest.raises(LedgerUnavailable):
                tasks.sweep_outbox()
            assert rows(this_process().context.engine, heartbeats) != []
        finally:
            close_process()
        assert broker.llen(f"coursebell:{UPKEEP}") == len(upkeep) == len(UPKEEP_TASKS)
    assert shared.take_refused() == []
