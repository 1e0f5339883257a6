"""Runs the worker as `coursebell worker` does, with heartbeats in short intervals."""

import os
import sys

from workers.app import make_worker_app, run_worker
from workers.environment import load

EVERY_S = 0.1

if __name__ == "__main__":
    sys.exit(run_worker(make_worker_app(load(os.environ), heartbeat_every_s=EVERY_S)))
