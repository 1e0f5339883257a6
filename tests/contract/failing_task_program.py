"""Runs a Celery task that fails, and logs as a worker does; see `test_logs.py`."""

import logging

from celery import Celery

from workers.logs import set_up_logs

ROW = "{'FullName': 'Anna', 'Email': 'anna@example.org'}"


def fail() -> None:
    raise ValueError(ROW)


if __name__ == "__main__":
    set_up_logs("worker")
    app = Celery("failing", set_as_current=False, fixups=[])
    app.task(name="source.check")(fail).apply()
    try:
        fail()
    except ValueError as error:
        logging.getLogger("celery.worker").warning("callback raised: %r", error, exc_info=True)
