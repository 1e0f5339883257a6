"""The sandbox's command line. Secrets may stand in the environment instead."""

import argparse
import os
from pathlib import Path

from sandbox.misbehaviour.board import DEFAULT_SEED


def read_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Return what was asked for; a mistake ends the program with a sentence and code 2."""
    parser = argparse.ArgumentParser(
        prog="python -m sandbox",
        description="Start the stand-in Nexudus, its sender and a mailbox, until told to stop.",
    )
    _add_options(parser)
    asked = parser.parse_args(arguments)
    if not asked.deliver_to and not asked.no_deliver:
        parser.error("--deliver-to is needed, or --no-deliver")
    if not asked.secret:
        parser.error("--secret is needed, or SANDBOX_SECRET")
    if (asked.username is None) != (asked.password is None):
        parser.error("--username and --password go together")
    if asked.deliver_to and not asked.deliver_to.startswith("http://"):
        parser.error("--deliver-to must begin with http://")
    return asked


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=0, help="0 is any free port")
    parser.add_argument("--smtp-port", type=int, default=0, help="0 is any free port")
    parser.add_argument("--deliver-to", help="where Coursebell listens")
    parser.add_argument(
        "--secret", default=os.environ.get("SANDBOX_SECRET"), help="signs the deliveries"
    )
    parser.add_argument(
        "--username",
        default=os.environ.get("SANDBOX_USERNAME"),
        help="who may sign in; without it, anybody",
    )
    parser.add_argument("--password", default=os.environ.get("SANDBOX_PASSWORD"))
    parser.add_argument("--no-deliver", action="store_true", help="tell nobody of changes")
    parser.add_argument(
        "--retry-after", type=float, default=0.1, help="seconds before the first retry"
    )
    parser.add_argument("--seed", type=Path, help="a YAML file with the world to begin with")
    parser.add_argument(
        "--random-seed", type=int, default=DEFAULT_SEED, help="repeats all that is left to chance"
    )
