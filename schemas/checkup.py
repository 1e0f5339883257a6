"""What `coursebell doctor` reports: a verdict, what was found in one sentence, and the fix.

The sentences are for the operator and contain no secret, no personal address and no record.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

AGAIN = "Run `coursebell doctor` again in a minute."


class Verdict(StrEnum):
    """The severity of a check's result."""

    OK = "ok"
    NOTE = "note"  # worth knowing; nothing is broken
    PROBLEM = "problem"  # something does not work until it is fixed


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report. `fix` says what to do; it is empty if nothing is needed."""

    topic: "Topic"
    name: str
    verdict: Verdict
    found: str
    fix: str | None = None


class Topic(StrEnum):
    """The headings of the report, in order."""

    LEDGER = "The ledger"
    SIGN_IN = "Nexudus and the sign-in"
    RIGHTS = "What our Nexudus user may read"
    LIMITS = "Limits"
    HOOKS = "Webhooks at Nexudus"
    SIGNATURE = "Signatures of webhooks"
    SEVERAL = "Reading several records with one request"
    ZONES = "Time zones"
    LANGUAGES = "Languages"
    RULES = "The rules"
    ENDPOINTS = "Endpoints that rules post to"
    MAIL = "The mail server"
    PAGES = "Signing in to the pages"

    def ok(self, name: str, found: str) -> Check:
        """Return a check that found nothing wrong."""
        return Check(self, name, Verdict.OK, found)

    def note(self, name: str, found: str, fix: str | None = None) -> Check:
        """Return a check that found something worth knowing."""
        return Check(self, name, Verdict.NOTE, found, fix)

    def problem(self, name: str, found: str, fix: str) -> Check:
        """Return a check that found something broken."""
        return Check(self, name, Verdict.PROBLEM, found, fix)


def at_nexudus(error: Exception) -> str:
    """Return an error's sentence with "Nexudus" in place of "the source"."""
    return str(error).replace("the source", "Nexudus")


def to_the_minute(moment: datetime) -> str:
    """Return a time as text, such as `2026-03-01 12:00 UTC`."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def duration(seconds: float) -> str:
    """Return a duration as text, in the largest unit that gives at least 2."""
    for unit_s, unit in ((3600, "hours"), (60, "minutes")):
        if seconds >= 2 * unit_s:
            return f"{seconds / unit_s:.0f} {unit}"
    return f"{seconds:.0f} seconds"
