"""What is wrong with the service itself, in words for an operator.

It is computed at most every half minute, since it asks all parts and counts many rows.
"""

import threading
from datetime import timedelta

from ledger.clock import Clock
from ledger.engine import Engine
from schemas.settings import Settings
from service.cli.status import Condition, condition_now
from service.desk.languages import Times
from service.desk.wording import words
from workers.attention import Need

_KEPT_FOR = timedelta(seconds=30)
# The emails themselves are listed one by one.
SHOWN_ONE_BY_ONE = frozenset({"held", "unknown", "failed", "restored"})
_SENTENCES = {
    "ledger": words("The database has a problem."),
    "broker": words("A part of the service does not answer. Emails may be late."),
    "nexudus": words("Nexudus does not let us read. Nothing new is noticed until it does."),
    "check": words("Our regular check of Nexudus is late, so new events may be missing."),
    "mail": words("The mail server does not take our emails. They wait here."),
    "web": words("A part of the service is not running."),
    "worker": words("A part of the service is not running. Emails wait here."),
    "clock": words("A part of the service is not running. Emails wait here."),
    "lookups": words("Some events wait longer than usual to be read from Nexudus."),
    "actions": words("Some emails are later than they should be."),
    "clocks": words("The clocks of two machines differ, so times may be wrong."),
    "refused": words("Messages from Nexudus were refused, because they could not be proven."),
    "hooks": words("Nexudus stopped notifying us. Our regular check still finds what happens."),
    "endpoints": words("Messages to another service, or notes, do not arrive."),
    "paused": words("A pause without an end has lasted more than a day."),
    "silence": words("It is unusually quiet: nothing happened for longer than normal."),
    "lost": words("Some notices of Nexudus no longer arrive. Our regular check finds the rest."),
    "bounced": words("Emails to some addresses came back. Correct the addresses in Nexudus."),
    "alerts": words("Alerts to the people who run this service do not arrive."),
    "reports": words("A digest for a host or another reader does not arrive."),
    "lookups-failed": words("Some records of Nexudus could not be read."),
}


class ConditionWatch:
    """Returns the present condition, computed at most every half minute."""

    def __init__(self, settings: Settings, engine: Engine, clock: Clock) -> None:
        self._settings = settings
        self._engine = engine
        self._clock = clock
        self._lock = threading.Lock()
        self._last: Condition | None = None

    def condition(self) -> Condition:
        """Return what was found at most half a minute ago. Raises `LedgerUnavailable`."""
        with self._lock:
            now = self._clock.now()
            if self._last is None or not self._last.at <= now < self._last.at + _KEPT_FOR:
                self._last = condition_now(self._settings, self._engine, now)
            return self._last


def trouble_sentences(times: Times, condition: Condition) -> list[str]:
    """Return a sentence for each thing that is wrong, apart from emails that need a person."""
    found = [
        trouble_sentence(times, one) for one in condition.needs if one.code not in SHOWN_ONE_BY_ONE
    ]
    return list(dict.fromkeys(found))


def trouble_sentence(times: Times, need: Need) -> str:
    """Return in words for an operator what is wrong."""
    return times.language.say(_SENTENCES.get(need.code, need.label))
