"""What commands say when Nexudus is out of reach. Not for a ledger that is."""

from collections.abc import Iterator
from contextlib import contextmanager

import click

from schemas.checkup import at_nexudus
from schemas.errors import SourceError

OUT_OF_REACH = 4


@contextmanager
def told_if_out_of_reach(what: str, so: str = "") -> Iterator[None]:
    """End with a sentence, what to do next, and exit code 4, if the source gave no usable answer.

    `what` could not be done, and `so` is what that means.
    """
    try:
        yield
    except SourceError as error:
        click.echo(f"{what}: {reason_given(error)}", err=True)
        click.echo(f"{so} Try `coursebell doctor`, then again.".lstrip(), err=True)
        raise SystemExit(OUT_OF_REACH) from None


def reason_given(error: Exception) -> str:
    """Return what the source said, without the full stop that some of its sentences end with."""
    return at_nexudus(error).rstrip(". ")
