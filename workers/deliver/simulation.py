"""Plays the history in the ledger by given rules: who would have got which email, and why not.

The events are those that were found then; whether rules act on them, and when, is decided anew. The
records are those of today: who is blocked now counts as blocked throughout. Absences that no rule
asked for then are not in the history. Nothing is written, and Nexudus is not asked.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from zoneinfo import ZoneInfo

from ledger.actions import count_sent, sent_times
from ledger.controls import accepted_forecast, sending_of
from ledger.engine import Connection, Engine, reading
from ledger.history import (
    KeyedEmail,
    StoredEvent,
    count_events_since,
    enrolments_of,
    events_after,
    first_event_since,
    sent_emails,
)
from ledger.pauses import open_pauses
from schemas.actions import ActionState
from schemas.events import ABOUT_LESSONS, Event, EventKind
from schemas.reasons import Reason
from workers.actions.email import KIND as EMAIL
from workers.decide.play import Forecast, Play, PlayedAction
from workers.decide.timing import day_began
from workers.deliver.context import SendSetup
from workers.deliver.past import Past

_AT_ONCE = 1_000  # events
_WEEK = timedelta(days=7)
_MOST_SHOWN = 50  # differences of one kind
_AFTER_LAST = timedelta(days=31)
SENT = "sent"


@dataclass(slots=True)
class Simulation:
    """The result. Numbers are by rule, then by `sent` or the reason why not.

    `by_day` and `by_rule_and_day` have the sent ones, by days in COURSEBELL_ZONE. `people` and
    `busiest` are members who were sent some, `to_others` how many others were sent. `events` are
    those that led to nothing, by reason. `added` would have been sent and were not, `missing` were
    sent and would not have been: the first of them, and all by rule.
    """

    since: datetime
    until: datetime
    played: int = 0
    by_rule: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    people: set[int] = field(default_factory=set)
    to_others: int = 0
    events: Counter[str] = field(default_factory=Counter)
    by_day: Counter[str] = field(default_factory=Counter)
    by_rule_and_day: defaultdict[str, Counter[str]] = field(
        default_factory=lambda: defaultdict(Counter)
    )
    waited: Counter[str] = field(default_factory=Counter)
    busiest: Counter[int] = field(default_factory=Counter)
    added: list[KeyedEmail] = field(default_factory=list)
    added_by_rule: Counter[str] = field(default_factory=Counter)
    missing: list[KeyedEmail] = field(default_factory=list)
    missing_by_rule: Counter[str] = field(default_factory=Counter)

    def busiest_day(self, rule: str) -> tuple[str, int] | None:
        """Return on which day a rule sent most, the last of several, and how many; or None."""
        days = self.by_rule_and_day.get(rule, Counter())
        return max(days.items(), key=lambda one: (one[1], one[0]), default=None)


def simulate(  # noqa: PLR0913 - what to play, since when and how
    engine: Engine,
    setup: SendSetup,
    since: datetime,
    now: datetime,
    progressed: Callable[[float], None] = lambda _: None,
    *,
    with_brakes: bool = True,
    noted: Callable[[PlayedAction], None] = lambda _: None,
) -> Simulation:
    """Play the events found from `since` on by the rules of this set-up.

    `progressed` is called with the share done, 0 to 1. `with_brakes`: the accepted forecast
    applies. `noted` is called with each action that was decided, and at the end with each that
    still waits. Raises `LedgerUnavailable`.
    """
    past, rules = Past(engine, setup), setup.rules
    needs = {name: action.needs for name, action in setup.actions.items()}
    result = Simulation(since, now)
    with reading(engine) as connection:
        total = count_events_since(connection, since)
        were_sent = sent_emails(connection, since)
        forecast = _forecast_now(connection, setup.zone) if with_brakes else None
    play = Play(rules, past.circumstances, needs, forecast=forecast)

    def note(action: PlayedAction) -> None:
        _note(result, were_sent, setup.zone, action)
        noted(action)

    for group in _groups(engine, since, past.load):
        for action in play.advance(group[0].found_at):
            note(action)
        for event, plans in play.find(past.found(group, rules)):
            if isinstance(plans, Reason):
                result.events[f"{event.kind}: {plans}"] += 1
        result.played += len(group)
        progressed(min(1.0, result.played / max(1, total)))
    for action in play.advance(now + _AFTER_LAST):
        note(action)
    for action in play.unsettled():
        if action.is_open:
            result.by_rule[action.plan.rule][str(action.reason)] += 1
            noted(action)
    result.missing_by_rule = Counter(one.rule for one in were_sent.values())
    result.missing = [were_sent[key] for key in sorted(were_sent)[:_MOST_SHOWN]]
    return result


def _groups(
    engine: Engine, since: datetime, load: Callable[[Sequence[Event]], None]
) -> Iterator[list[StoredEvent]]:
    """Yield the events that were found together, in the order of time; `load` gets more at once."""
    rest: list[StoredEvent] = []
    with reading(engine) as connection:
        after = first_event_since(connection, since) - 1
    while True:
        with reading(engine) as connection:
            some = events_after(connection, since, after, _AT_ONCE)
        if not some:
            break
        after = some[-1].event_id
        load([one.event for one in some])
        groups = [list(one) for _, one in groupby([*rest, *some], key=_together)]
        yield from groups[:-1]
        rest = groups[-1]
    if rest:
        yield rest


def _together(one: StoredEvent) -> tuple[datetime, int]:
    return one.found_at, one.event.course_member_id


def _forecast_now(connection: Connection, zone: ZoneInfo) -> Forecast | None:
    accepted = accepted_forecast(connection)
    return None if accepted is None else Forecast(accepted.per_day, zone)


def _note(
    result: Simulation, were_sent: dict[str, KeyedEmail], zone: ZoneInfo, action: PlayedAction
) -> None:
    plan, at = action.plan, action.decided[-1][0]
    is_sent = action.state is ActionState.DONE
    result.by_rule[plan.rule][SENT if is_sent else str(action.reason)] += 1
    for _, outcome in action.decided:
        if outcome.state is ActionState.WAITING:
            result.waited[str(outcome.reason)] += 1
    was_sent = plan.key in were_sent
    if is_sent or action.state is ActionState.HELD:
        were_sent.pop(plan.key, None)  # what is held is not missing: a person decides
    if not is_sent:
        return
    if plan.audience is None:
        result.people.add(plan.coworker_id)
        result.busiest[plan.coworker_id] += 1
    else:
        result.to_others += 1
    day = f"{at.astimezone(zone):%Y-%m-%d}"
    result.by_day[day] += 1
    result.by_rule_and_day[plan.rule][day] += 1
    if not was_sent:
        result.added_by_rule[plan.rule] += 1
        if len(result.added) < _MOST_SHOWN:
            whom = (plan.coworker_id, plan.course_id, plan.audience)
            result.added.append(KeyedEmail(plan.key, plan.rule, *whom))


@dataclass(frozen=True, slots=True)
class ImaginedEmail:
    """What would become of one email: sent at `at`, or held or not sent then for this reason.

    Of a sent one, `reason` is what it had to wait for, if it had to. `audience` is whom it is to,
    `zone` the name of the time zone where they are.
    """

    rule: str
    state: ActionState
    at: datetime
    reason: Reason | None
    audience: str | None
    zone: str


@dataclass(frozen=True, slots=True)
class Imagined:
    """What would follow from an imagined event: emails, or the reason why there is none."""

    reason: Reason | None
    emails: tuple[ImaginedEmail, ...] = ()


def imagine(  # noqa: PLR0913, PLR0917 - what happens, to whom, and when
    engine: Engine,
    setup: SendSetup,
    kind: EventKind,
    coworker_id: int,
    course_id: int | None,
    now: datetime,
) -> Imagined | None:
    """Return what would follow if this happened to a person now; None if it is unclear where.

    The person's emails of the last week count for the limits, and all emails of today for brakes.
    Raises `LedgerUnavailable`.
    """
    with reading(engine) as connection:
        places = enrolments_of(connection, coworker_id, course_id)
        if len(places) != 1:
            return None
        sent = sent_times(connection, coworker_id, now - _WEEK, kind=EMAIL, but=0)
        forecast = _forecast_now(connection, setup.zone)
        today = day_began(now, setup.zone)
        by_rule = {
            name: count_sent(connection, name, today, but=0) for name in setup.rules.braked()
        }
        mode, pauses = sending_of(connection).mode, open_pauses(connection)
    [member] = places
    past = Past(engine, setup, mode, pauses)
    whose = (member.course_id, coworker_id, member.record_id)
    past.load([Event(kind, "", now, *whose, None)])
    lesson_id = past.next_lesson(member, now) if kind in ABOUT_LESSONS else None
    event = Event(kind, f"{kind}:imagined", now, *whose, lesson_id)
    needs = {name: action.needs for name, action in setup.actions.items()}
    play = Play(setup.rules, past.circumstances, needs, forecast=forecast)
    play.count_as_sent(coworker_id, EMAIL, sent)
    for name, number in by_rule.items():
        play.count_as_sent_by(name, number, now)
    [found] = past.found([StoredEvent(0, event, now, None)], setup.rules)
    [(_, plans)] = play.find([found])
    if isinstance(plans, Reason):
        return Imagined(plans)
    for _ in play.advance(now + timedelta(days=400)):
        pass
    zones = {one: found.zones.get(one.plan.audience, setup.zone) for one in plans}
    return Imagined(None, tuple(_imagined(one, zone.key) for one, zone in zones.items()))


def _imagined(action: PlayedAction, zone: str) -> ImaginedEmail:
    at, outcome = action.decided[-1]
    waits = [one.reason for _, one in action.decided if one.state is ActionState.WAITING]
    reason = outcome.reason or (waits[0] if waits else None)
    return ImaginedEmail(action.plan.rule, action.state, at, reason, action.plan.audience, zone)
