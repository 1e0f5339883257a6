"""Asks every room of the check-up in turn. What fails in one of them does not stop the others.

Without an answer or a sign-in the rest is not asked: a page of the same refusal helps nobody, and
each question that is refused counts.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from ledger.clock import Clock
from ledger.engine import Engine, reading
from ledger.people import known_people
from ledger.snapshots import known_ids
from schemas.entity import Entity
from schemas.errors import RecordUnreadable, frames_of
from schemas.records import WebHook, load_record
from schemas.settings import Settings
from workers.source.budget import Budget
from workers.source.checkup.hooks import (
    ENUM_PATH,
    ENUM_QUERY,
    action_check,
    hook_checks,
    loaded,
)
from workers.source.checkup.questions import Came, Questions, Said, patience
from workers.source.checkup.reach import address_notes, credentials_check, reach, sign_in
from workers.source.checkup.rights import Rights
from workers.source.checkup.standing import limit_checks, several_checks
from workers.source.checkup.values import Check, Topic, Verdict
from workers.source.checkup.zones import zone_check
from workers.source.client import Source
from workers.source.lending import Sources
from workers.source.proving import probe_all
from workers.source.sign_in import credentials_of

_PROBES_S = 60.0  # for all of them together
_REST = "rights, webhooks, several records by Id and time zones"


@dataclass(frozen=True, slots=True)
class CheckUp:
    """What is looked at, and by which clock. `engine` and `sources` None: there is no ledger."""

    settings: Settings
    budget: Budget
    clock: Clock
    engine: Engine | None = None
    sources: Sources | None = None


def check_up(place: CheckUp) -> Iterator[Check]:
    """Yield every check, each as soon as it is made, those of a topic one after the other.

    Nothing is written at the source. Some fifty requests at most, within the budget of all.
    """
    user = credentials_of(place.settings)
    credentials = credentials_check(user, place.engine)
    yield credentials
    yield from address_notes(place.settings.nexudus_url)
    reached = reach(place.settings.nexudus_url, place.budget, place.clock)
    yield from reached.checks
    why_not = "there is no ledger to keep a sign-in in"
    if not reached.in_touch:
        why_not = "Nexudus is not reached"
    elif credentials.verdict is Verdict.PROBLEM:
        why_not = "there is nothing to sign in with"
    elif place.engine is not None and place.sources is not None:
        with place.sources.lend(patience()) as source:
            signed_in = sign_in(source, place.engine, place.budget, user, place.clock)
            yield from signed_in.checks
            if signed_in.in_touch:
                yield from _inside(place, place.engine, source)
                return
        why_not = "we are not let in"
    yield Check(Topic.SIGN_IN, "the rest", Verdict.NOTE, f"not checked, as {why_not}: {_REST}")
    yield from _limits(place)


def _limits(place: CheckUp) -> Iterator[Check]:
    setting, has_broker = place.settings.nexudus_limits, place.settings.broker_url is not None
    yield from _guarded(
        Topic.LIMITS,
        "requests",
        lambda: limit_checks(setting, place.budget.state(), has_broker=has_broker),
    )


def _inside(place: CheckUp, engine: Engine, source: Source) -> Iterator[Check]:
    """Yield what can only be seen with a sign-in."""
    questions = Questions(source, place.budget)
    rights = Rights(questions, partial(_known, engine))
    yield from _guarded(Topic.RIGHTS, "roles", rights.checks)
    yield from _limits(place)
    yield from _guarded(Topic.HOOKS, "webhooks", lambda: _hooks(place, questions, rights))
    several = partial(_several, engine, place.clock)
    yield from _guarded(
        Topic.SEVERAL,
        "several by Id",
        lambda: several_checks(questions.surely(several, _PROBES_S)),
    )
    yield from _guarded(
        Topic.ZONES, "time zones", lambda: [zone_check(rights.rows.get(Entity.TIME_ZONE))]
    )


def _hooks(place: CheckUp, questions: Questions, rights: Rights) -> list[Check]:
    public_url = place.settings.public_url
    checks = []
    rows = rights.rows.get(Entity.WEB_HOOK)
    if rows is not None:
        hooks, unread = loaded(rows, partial(_hook, questions))
        checks = hook_checks(hooks, unread, public_url)
    return [*checks, action_check(questions.ask(ENUM_PATH, ENUM_QUERY), public_url)]


def _hook(questions: Questions, row: object) -> WebHook:
    """Return a webhook of a row. A row may be partial, and one without an address is no use."""
    record_id = row.get("Id") if isinstance(row, dict) else None
    if isinstance(row, dict) and "URL" not in row and isinstance(record_id, int):
        said = questions.ask(f"sys/webhooks/{record_id}")
        row = said.value if said.came is Came.VALUE else row
    record = load_record(Entity.WEB_HOOK, row)
    if not isinstance(record, WebHook):
        raise RecordUnreadable("not a webhook")
    return record


def _several(engine: Engine, clock: Clock, source: Source) -> Said:
    return Said(Came.VALUE, probe_all(engine, source, clock.now(), anew=True))


def _known(engine: Engine, entity: Entity) -> int | None:
    with reading(engine) as connection:
        if entity is Entity.COWORKER:
            ids = known_people(connection, 1)
        else:
            ids = known_ids(connection, entity, 1)
    return ids[0] if ids else None


def _guarded(topic: Topic, name: str, make: Callable[[], list[Check]]) -> list[Check]:
    """Return the checks of a room, or that it could not make them."""
    try:
        return make()
    except Exception as error:  # noqa: BLE001 - the other rooms are worth more than this one's end
        found = f"this could not be checked: {frames_of(error)}"
        return [Check(topic, name, Verdict.PROBLEM, found, "Run it again; if it stays, tell us.")]
