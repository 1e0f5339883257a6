"""A process that takes requests from the shared budget, as fast as it can.

It prints when each might leave, and `throttled <seconds>` for each that might not.
"""

import os
import sys
import time

from ledger.clock import SYSTEM_CLOCK
from schemas.errors import SourceThrottled
from workers.source.budget import Budget
from workers.source.limits import Patience, Urgency


def main(limits: str, space: str, tries: str, patience_s: str) -> None:
    """Try so many times, each with so much patience."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    budget = Budget(limits, os.environ["LEDGER_URL"], shares=1, clock=SYSTEM_CLOCK, space=space)
    for _ in range(int(tries)):
        until = time.monotonic() + float(patience_s)
        try:
            budget.take(Patience(Urgency.PERSON, until, lambda: None))
        except SourceThrottled as error:
            sys.stdout.write(f"throttled {error.retry_after_s}\n")
        else:
            sys.stdout.write(f"{time.time()}\n")
    if not budget.state().shared:
        sys.exit("the broker was away, so nothing is shown about sharing")
    budget.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
