"""A separate process for the ledger tests. Waits for a line on standard input before it starts."""

import json
import os
import sys
from datetime import UTC, datetime

from ledger.clock import SYSTEM_CLOCK
from ledger.engine import open_engine, writing
from ledger.lookups import claim_lookups
from ledger.migrate import migrate
from ledger.outbox import claim_actions

_MOST = 3


def main(what: str) -> None:
    """Do it and print a line of JSON."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    engine = open_engine(os.environ["LEDGER_URL"])
    now = datetime.now(UTC)
    found: list[int] = []
    if what == "migrate":
        migrate(engine)
    while what != "migrate":
        with writing(engine) as connection:
            if what == "lookups":
                some = [
                    one.lookup_id
                    for one in claim_lookups(
                        connection, now, SYSTEM_CLOCK.new_id(), lease_s=600, most=_MOST
                    )
                ]
            else:
                some = [
                    one.action_id
                    for one in claim_actions(
                        connection, now, SYSTEM_CLOCK.new_id(), lease_s=600, most=_MOST
                    )
                ]
        assert len(some) <= _MOST
        if not some:
            break
        found += some
    engine.dispose()
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
