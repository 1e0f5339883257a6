"""The program behind `coursebell worker`: runs the Celery worker and its children.

With `--without-broker` it runs workers and scheduler in one process, which needs no broker.
"""

import os
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path

import structlog

from workers.celery_environment import remove_celery_variables
from workers.queues import WITHOUT_BROKER

_is_alone = WITHOUT_BROKER in sys.argv[1:]

# Celery reads its variables while it is imported.
remove_celery_variables(os.environ)
if not _is_alone:
    # SIGTERM then lets the email being sent finish, and returns a task that takes too long. Without
    # a broker there are no children to kill, so SIGTERM waits for every running task.
    os.environ["REMAP_SIGTERM"] = "SIGQUIT"

from ledger.clock import SYSTEM_CLOCK  # noqa: E402 - see above
from ledger.engine import open_engine  # noqa: E402 - same
from schemas.errors import frames_of  # noqa: E402 - same
from schemas.settings import Settings  # noqa: E402 - same
from workers.app import make_worker_app, run_worker  # noqa: E402 - same
from workers.broker import IN_MEMORY  # noqa: E402 - same
from workers.environment import load  # noqa: E402 - same
from workers.heartbeat import NO_BROKER  # noqa: E402 - same
from workers.scheduler import Scheduler  # noqa: E402 - same
from workers.wakeup import Wakeup  # noqa: E402 - same

_log = structlog.get_logger("clock")


def main() -> None:
    """Work until SIGTERM or SIGINT."""
    settings = load(os.environ)
    if _is_alone:
        sys.exit(_work_without_broker(replace(settings, broker_url=IN_MEMORY)))
    sys.exit(run_worker(make_worker_app(settings)))


def _work_without_broker(settings: Settings) -> int:
    """Run the workers in this thread and the scheduler in another; return the exit code."""
    app = make_worker_app(settings)
    stop, failed = threading.Event(), threading.Event()
    engine, wakeup = open_engine(settings.database_url), Wakeup(settings.broker_url, SYSTEM_CLOCK)
    kinds = ("clock", NO_BROKER)
    scheduler = Scheduler(
        engine,
        wakeup,
        SYSTEM_CLOCK,
        check_every_s=settings.check_every_s,
        lease_s=settings.lease_s,
        kinds=kinds,
        data_folder=Path(settings.data_dir),
    )

    def tick() -> None:
        try:
            scheduler.run(stop)
        except Exception as error:  # noqa: BLE001 - workers without a scheduler would do nothing
            _log.error("clock.fault", error=frames_of(error))
            failed.set()
            signal.raise_signal(signal.SIGTERM)

    thread = threading.Thread(target=tick, name="clock", daemon=True)
    thread.start()
    code = run_worker(app)
    stop.set()
    thread.join()
    wakeup.close()
    engine.dispose()
    return 1 if failed.is_set() else code


if __name__ == "__main__":
    main()
