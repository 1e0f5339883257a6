"""The process entry point of `coursebell worker`: what `celery --app` is told to load."""

import os

from workers.celery_app import make_worker_app
from workers.environment import load

app = make_worker_app(load(os.environ))
