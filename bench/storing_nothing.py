"""The web server whose deliveries are verified, read and answered, but stored nowhere.

`python -m bench.storing_nothing` is `coursebell serve` with such a writer. The difference to the
real one is what durability costs.
"""

import os
import sys
from collections.abc import Callable

from ledger.group_writer import Batch, GroupWriter
from schemas.notification import MAX_BYTES
from service.app import make_web
from service.bodies import BodyLimits
from service.cli.listening import free_address
from service.cli.serve import run_web_server
from service.front import RequestGate
from workers.environment import load
from workers.logs import set_up_logs


class StoresNothing(GroupWriter):
    """Settles every arrival at once."""

    def submit(self, batch: Batch, on_settled: Callable[[], object]) -> None:
        """Settle these arrivals."""
        del batch
        on_settled()


def __getattr__(name: str) -> RequestGate:
    """Make `front`, the application, when the server's process loads it."""
    if name != "front":
        raise AttributeError(name)
    set_up_logs("web")
    web = make_web(load(os.environ), make_writer=StoresNothing)
    return RequestGate(web, BodyLimits(MAX_BYTES))


def main() -> int:
    """Run the server until it is stopped."""
    run_web_server(free_address(load(os.environ)), "bench.storing_nothing:front")
    return 0


if __name__ == "__main__":
    sys.exit(main())
