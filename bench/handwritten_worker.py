"""The worker that a team writes first: one Celery task for each event.

Each task reads one record with a kept connection, validates it with marshmallow, and stores it in
SQLite. It has no quota, retries, leases, events or emails. `bench.workers` measures it beside
Coursebell.
"""

import json
import os
import sqlite3
import threading
from typing import Any

import requests
from celery import Celery
from marshmallow import EXCLUDE, Schema, fields

TASK = "record.changed"

app = Celery("handwritten", broker=os.environ.get("BENCH_BROKER_URL", "memory://"))
app.conf.task_ignore_result = True


class CompletedLessonSchema(Schema):
    """The fields of a completed lesson."""

    class Meta:
        """Ignore other fields."""

        unknown = EXCLUDE

    Id = fields.Integer(required=True)
    CourseMemberId = fields.Integer(required=True)
    CourseLessonId = fields.Integer(required=True)
    CreatedOn = fields.DateTime(required=True)
    UpdatedOn = fields.DateTime(required=True)


_SCHEMA = CompletedLessonSchema()
_mine = threading.local()


def open_store() -> sqlite3.Connection:
    """Return this thread's connection to the store."""
    store = sqlite3.connect(os.environ["BENCH_STORE"], timeout=30, isolation_level=None)
    store.execute("PRAGMA journal_mode=WAL")
    store.execute("CREATE TABLE IF NOT EXISTS lessons (id INTEGER PRIMARY KEY, record TEXT)")
    return store


@app.task(name=TASK)  # type: ignore[untyped-decorator, unused-ignore]  # Celery's types depend on what is installed
def changed(record_id: int) -> None:
    """Read one completed lesson and store it."""
    if not hasattr(_mine, "web"):
        _mine.web, _mine.store = requests.Session(), open_store()
    web: requests.Session = _mine.web
    answer = web.get(
        f"{os.environ['BENCH_SOURCE_URL']}/api/content/coursecompletedlessons/{record_id}",
        headers={"Authorization": f"Bearer {os.environ['BENCH_TOKEN']}"},
        timeout=20,
    )
    answer.raise_for_status()
    record: dict[str, Any] = answer.json()
    _SCHEMA.load(record)
    _mine.store.execute(
        "INSERT INTO lessons VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET record = excluded.record",
        (record["Id"], json.dumps(record)),
    )
