"""What a check says: a verdict, what was found in one sentence, and the fix. Pure.

Sentences are for whoever runs the service: no secret, no address of a person, no record is in them.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

AGAIN = "Run `coursebell doctor` again in a minute."


class Verdict(StrEnum):
    """How much it matters."""

    OK = "ok"
    NOTE = "note"  # worth knowing; nothing is broken
    PROBLEM = "problem"  # something does not work until it is fixed


class Topic(StrEnum):
    """What a check is about; the headings of the report, in their order."""

    LEDGER = "The ledger"
    SIGN_IN = "Nexudus and the sign-in"
    RIGHTS = "What our Nexudus user may read"
    LIMITS = "Limits"
    HOOKS = "Webhooks at Nexudus"
    SIGNATURE = "Signatures of webhooks"
    SEVERAL = "Reading several records with one request"
    ZONES = "Time zones"
    RULES = "The rules"
    MAIL = "The mail server"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report. `fix` is what to do, where there is something to do."""

    topic: Topic
    name: str
    verdict: Verdict
    found: str
    fix: str | None = None


def at_nexudus(error: Exception) -> str:
    """Return an error's sentence with the source by the name that people know."""
    return str(error).replace("the source", "Nexudus")


def when(moment: datetime) -> str:
    """Return a time to the minute."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def lasting(seconds: float) -> str:
    """Return a duration as people say it."""
    for unit_s, unit in ((3600, "hours"), (60, "minutes")):
        if seconds >= 2 * unit_s:
            return f"{seconds / unit_s:.0f} {unit}"
    return f"{seconds:.0f} seconds"
