"""What is wrong with the service itself, in words for an operator.

It is looked at again at most every half minute, since that asks all parts and counts many rows.
"""

from datetime import datetime, timedelta
from functools import partial

from ledger.clock import Clock
from ledger.engine import Engine, reading
from ledger.suppressions import SuppressedPerson, suppressed_people
from schemas.settings import Settings
from service.cli.status import Condition, Snapshot, condition_now, snapshot
from service.desk.background import BackgroundLook
from service.desk.languages import Times
from service.desk.wording import words
from workers.attention import Need
from workers.secret_key import checked_secret_key

_KEPT_FOR = timedelta(seconds=30)
_RETURNED_KEPT_FOR, _PATIENCE_S = timedelta(minutes=2), 0.3
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
    "actions": words("Some emails or posts are later than they should be."),
    "clocks": words("The clocks of two machines differ, so times may be wrong."),
    "refused": words("Messages were refused: they could not be proven, or too many came at once."),
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
    """Returns what was found last, and looks again in the background once that is old.

    A look takes a second or two in a large ledger, and no page waits for one that long.
    """

    def __init__(self, settings: Settings, engine: Engine, clock: Clock) -> None:
        self._settings = settings
        self._engine = engine
        self._clock = clock
        self._look = BackgroundLook(partial(condition_now, settings, engine), clock, _KEPT_FOR)
        self._snapshot: Snapshot | None = None

    def condition(self) -> Condition | None:
        """Return the condition as it was found last; None until that was looked at once."""
        return self._look.newest()

    def settled(self) -> Condition:
        """Return the condition, and wait for it if it was never looked at.

        Raises:
            LedgerUnavailable: the ledger cannot be read.
        """
        found = self.condition()
        if found is None:
            self.close()
            found = self._look.last
        if found is None:
            found = condition_now(self._settings, self._engine, self._clock.now())
        return found

    def snapshot(self) -> Snapshot:
        """Return the same with all that `coursebell status` reports. Raises as `settled`."""
        condition = self.settled()
        known = self._snapshot
        if known is None or known.condition is not condition:
            with reading(self._engine) as connection:
                known = self._snapshot = snapshot(connection, self._settings, condition)
        return known

    def close(self) -> None:
        """Wait for the look that is under way, which uses the ledger."""
        self._look.close()


def returned_look(
    settings: Settings, engine: Engine, clock: Clock
) -> BackgroundLook[list[SuppressedPerson]]:
    """Return what finds the people to whose address no email is sent, as emails came back.

    All addresses are compared, which takes a moment in a large ledger.
    """

    def look(now: datetime) -> list[SuppressedPerson]:
        key = checked_secret_key(settings, engine, now)
        with reading(engine) as connection:
            found = suppressed_people(connection, key)
        return [one for one in found if one.coworker_id is not None]

    return BackgroundLook(look, clock, _RETURNED_KEPT_FOR, patience_s=_PATIENCE_S)


def trouble_sentences(times: Times, condition: Condition | None) -> list[str]:
    """Return a sentence for each thing that is wrong, apart from emails that need a person."""
    if condition is None:
        return []
    found = [
        trouble_sentence(times, one) for one in condition.needs if one.code not in SHOWN_ONE_BY_ONE
    ]
    return list(dict.fromkeys(found))


def trouble_sentence(times: Times, need: Need) -> str:
    """Return in words for an operator what is wrong."""
    return times.language.say(_SENTENCES.get(need.code, need.label))
