"""A process that signs in at the source, as a worker would. Waits before it begins."""

import os
import sys

import structlog

from ledger.clock import SYSTEM_CLOCK
from ledger.engine import open_engine
from schemas.errors import CoursebellError
from workers.source.auth import Credentials, Tokens
from workers.source.http import Transport


def main(base_url: str, password: str) -> None:
    """Print the version of the sign-in, or the kind of error."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    engine = open_engine(os.environ["LEDGER_URL"])
    transport = Transport(base_url)
    user = Credentials("api@example.org", password)
    tokens = Tokens(engine, lambda: transport, user, SYSTEM_CLOCK)
    try:
        said = str(tokens.current().version)
    except CoursebellError as error:
        said = type(error).__name__
    transport.close()
    engine.dispose()
    sys.stdout.write(f"{said}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
