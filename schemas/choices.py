"""What a member chose about emails: by stream, about all of them, and for a while.

Choices are stored under several keyed hashes of one member: those of their addresses and of their
Id. They are combined so that a no counts wherever it was said.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from schemas.reasons import Reason
from schemas.rules import Rule, Stream

ALL = "all"  # in place of a stream: every email
SNOOZE = "snooze"  # in place of a stream: no email until a time
WEEKLY = "weekly"  # in place of a stream: one email a week about finished lessons
STREAMS = (*Stream, ALL)
REPORT = "report/"  # in place of a stream, before the name of a report: only those
NOTICES = "by/"  # the same, before the name of a rule: what it sends to a host or an address
SNOOZES: Mapping[str, timedelta] = {"week": timedelta(days=7), "month": timedelta(days=30)}


class ChoiceOrigin(StrEnum):
    """How a choice was made."""

    PAGE = "page"  # on the preference page
    ONE_CLICK = "one-click"  # with the button of a mail program (RFC 8058)
    OPERATOR = "operator"  # with `coursebell preferences`
    COMPLAINT = "complaint"  # by marking an email as spam, as the mail provider reports
    PROVIDER = "provider"  # by unsubscribing at the mail provider


@dataclass(frozen=True, slots=True)
class Choice:
    """A yes or a no, and when it was said. A snooze is a no that ends at `until`.

    `origin` is None for choices that an earlier version stored.
    """

    agreed: bool
    chosen_at: datetime
    until: datetime | None = None
    origin: ChoiceOrigin | None = None


@dataclass(frozen=True, slots=True)
class Choices:
    """What one member chose: for each stream, for `all`, for `snooze` and for `weekly`."""

    made: Mapping[str, Choice] = field(default_factory=dict)

    @property
    def agreed(self) -> dict[str, bool]:
        """Yes or no by stream, or for "all" and "weekly"; what was never chosen is missing."""
        return {name: one.agreed for name, one in self.made.items() if name != SNOOZE}

    def snoozed_until(self, now: datetime) -> datetime | None:
        """Return when the snooze ends, or None if there is none now."""
        snooze = self.made.get(SNOOZE)
        if snooze is None or snooze.agreed or snooze.until is None or snooze.until <= now:
            return None
        return snooze.until

    @property
    def is_weekly(self) -> bool:
        """Whether lessons finished in one week share an email."""
        return self.agreed.get(WEEKLY, False)

    def stopped_report_at(self, name: str) -> datetime | None:
        """Return when this report, or these notices, were stopped; None if they are wanted."""
        choice = self.made.get(report_choice(name))
        return None if choice is None or choice.agreed else choice.chosen_at

    def wants(self, stream: Stream) -> bool:
        """Return whether emails of this stream are wanted, apart from a snooze."""
        return objection_to(stream, self.agreed) is None


def notices_of(rule: str) -> str:
    """Return what the notices of a rule are called where reports are called by their name."""
    return f"{NOTICES}{rule}"


def stream_of(rule: Rule, audience: str | None) -> str:
    """Return what a recipient may refuse: emails of a stream, or, for others, notices of a rule."""
    return rule.stream if audience is None else notices_of(rule.name)


def report_choice(name: str) -> str:
    """Return under which name, in place of a stream, a choice is stored.

    It is about the report of this name, or about the notices of a rule: see `notices_of`.
    """
    return name if name.startswith(NOTICES) else f"{REPORT}{name}"


def combined(choices: Iterable[tuple[str, Choice]]) -> Choices:
    """Combine the choices under all keys of one member.

    A no counts before a yes, and of the same answer the newest, of snoozes the one that ends last.
    """
    made: dict[str, Choice] = {}
    for name, choice in choices:
        known = made.get(name)
        if known is None or _strength(choice) > _strength(known):
            made[name] = choice
    return Choices(made)


def _strength(choice: Choice) -> tuple[bool, datetime, datetime]:
    return not choice.agreed, choice.until or choice.chosen_at, choice.chosen_at


def objection_to(stream: str | None, agreed: Mapping[str, bool]) -> Reason | None:
    """Return why a person with these choices gets no email of this stream; None: they get it.

    In place of a stream, `notices_of` a rule may be given. Without, only a no to all emails counts.
    """
    if agreed.get(ALL) is False:
        return Reason.OPTED_OUT_ALL
    if stream is not None and agreed.get(stream) is False:
        return Reason.OPTED_OUT_KIND
    if stream is Stream.REMINDER and not agreed.get(Stream.REMINDER):
        return Reason.NO_CONSENT
    return None
