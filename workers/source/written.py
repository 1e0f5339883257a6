"""Reads the answer to a write: pure, so that every odd one can be tried in a table.

Only an envelope that says WasSuccessful is a success. A refusal may come as HTTP 200 or 400, with
sentences that tell why (contract, section 4); what was attempted is never repeated from it.
"""

import json
from collections.abc import Iterator, Mapping
from http import HTTPStatus

from schemas.errors import SourceRefused, SourceUnavailable
from workers.source.answers import Answer, Missing, read_answer
from workers.source.foreign import short

_MOST_ERRORS = 5


class WriteDenied(SourceRefused):
    """Our user may not do that: a role is missing."""


def read_written(answer: Answer) -> object:
    """Return `Value` of a write that was done.

    Raises:
        WriteDenied: it was not done, as our user may not do it.
        SourceRefused: it was not done: WasSuccessful false, no such record, or a 200 that does not
            say what became of it.
        SourceThrottled: it was not looked at; carries `retry_after_s`.
        SourceUnavailable: nobody knows whether it was done.
    """
    said = _envelope(answer)
    if said is not None and said["WasSuccessful"] is not True:
        why = "; ".join(_sentences(said)) or "it does not say why"
        raise SourceRefused(f"the source did not do it: {why}")
    if said is not None and HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
        return said.get("Value")
    found = _found(answer)
    if isinstance(found, Missing):
        if found.certain:
            raise SourceRefused("the source has no such record to write to")
        raise SourceUnavailable(f"the source answered {answer.status} to a write")
    raise SourceRefused("the source answered 200 and does not say whether it was done")


def _found(answer: Answer) -> object:
    try:
        return read_answer(answer)
    except SourceRefused as error:
        # A 403 with a page is the source's edge, which is another trouble: see `read_answer`.
        if answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            raise WriteDenied(str(error)) from None
        raise


def _envelope(answer: Answer) -> Mapping[str, object] | None:
    """Return what a write is answered with, whatever the status; None for anything else."""
    try:
        said = json.loads(answer.body)
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) and "WasSuccessful" in said else None


def _sentences(said: Mapping[str, object]) -> Iterator[str]:
    errors = said.get("Errors")
    found = [one for one in errors if isinstance(one, dict)] if isinstance(errors, list) else []
    for error in found[:_MOST_ERRORS]:
        name, message = error.get("PropertyName"), error.get("Message")
        attempted = str(error.get("AttemptedValue") or "")
        told = [
            short(one.replace(attempted, "…") if attempted else one)
            for one in (name, message)
            if isinstance(one, str) and one
        ]
        if told:
            yield ": ".join(told)
    if not found and isinstance(said.get("Message"), str):
        yield short(str(said["Message"]))
