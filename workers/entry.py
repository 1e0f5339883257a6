"""The program behind `coursebell worker`: becomes the Celery worker and its children."""

import os
import sys

from workers.celery_environment import remove_celery_variables

# Celery reads its variables while it is imported.
remove_celery_variables(os.environ)
# SIGTERM then finishes the email being handed over, and puts back a task that takes too long.
os.environ["REMAP_SIGTERM"] = "SIGQUIT"

from workers.celery_app import make_worker_app, run_worker  # noqa: E402 - see above
from workers.environment import load  # noqa: E402 - same


def main() -> None:
    """Work until SIGTERM or SIGINT."""
    sys.exit(run_worker(make_worker_app(load(os.environ))))


if __name__ == "__main__":
    main()
