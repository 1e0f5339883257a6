"""The receiver that one would write by hand: check the signature, `delay()` a task, answer 202.

It is the yardstick for `bench.receivers`, served as `bench.handwritten:app`. The broker's address
and the secret come from BENCH_BROKER_URL and BENCH_SECRET.
"""

import hashlib
import hmac
import os

from celery import Celery
from flask import Flask, request

app = Flask(__name__)
tasks = Celery("handwritten", broker=os.environ["BENCH_BROKER_URL"])
tasks.conf.update(task_ignore_result=True)
_secret = os.environ["BENCH_SECRET"].encode()


@tasks.task(name="record.process")
def process(record_id: int) -> None:
    """Stand for the work; no worker runs in this measurement."""


@app.post("/hooks/nexudus/course-members")
def receive() -> tuple[dict[str, int], int]:
    """Accept a delivery."""
    wanted = hmac.new(_secret, request.get_data(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(wanted, request.headers.get("X-Nexudus-Hook-Signature", "")):
        return {"accepted": 0}, 401
    records = request.get_json()
    for record in records:
        process.delay(record["Id"])
    return {"accepted": len(records)}, 202
