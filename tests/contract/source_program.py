"""A process that reads one record from the source, as a worker would. Waits before it begins."""

import os
import sys

from ledger.clock import SYSTEM_CLOCK
from ledger.engine import open_engine
from schemas.entity import Entity
from tests.doubles.open_gate import OpenGate
from tests.sandbox.sandbox_rig import PASSWORD, USERNAME
from workers.source.auth import Credentials
from workers.source.client import Source


def main(base_url: str, course_id: str) -> None:
    """Read a course and print that it was one."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    engine = open_engine(os.environ["LEDGER_URL"])
    user, gate = Credentials(USERNAME, PASSWORD), OpenGate()
    source = Source(base_url, engine, user, SYSTEM_CLOCK, gate)
    found = source.fetch(Entity.COURSE, int(course_id))
    source.close()
    engine.dispose()
    sys.stdout.write(f"{type(found).__name__}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
