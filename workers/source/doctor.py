"""Checks everything between Coursebell and Nexudus, without changing anything there.

A step that fails does not stop the others. Without an answer or a sign-in the rest is skipped,
because every request would fail for the same reason.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

from ledger.clock import Clock
from ledger.engine import Engine, reading
from ledger.people import present_people
from ledger.record_queries import last_read_ids
from ledger.source_state import Proof
from schemas.checkup import AGAIN, Check, Topic, Verdict, duration, to_the_minute
from schemas.entity import Entity
from schemas.errors import frames_of
from schemas.records import WebHook, action_name, course_actions
from schemas.settings import Settings, is_loopback
from workers.source.answers import origin, short
from workers.source.auth import credentials_of
from workers.source.budget import Budget
from workers.source.client import Source, Sources
from workers.source.doctor_rights import (
    MESSAGES,
    NEEDS,
    READ,
    Questions,
    Reply,
    ReplyKind,
    Rights,
    patience,
    role,
)
from workers.source.doctor_sign_in import address_notes, credentials_check, reach, sign_in
from workers.source.limits import BudgetState
from workers.source.reads import probe_all
from workers.source.staff_records import StaffKind, staff_checks
from workers.source.webhooks import MANY_FAILURES, ListedWebhooks, list_webhooks, webhook_actions
from workers.zones import iana_zone

_PROBES_S = 60.0  # for all of them together
_REST = "rights, webhooks, several records by Id, time zones and languages"
_ALMOST = 0.9  # of a limit
_WHERE = "Settings > Integrations > Webhooks"
_SHOWN_ZONES = 3


@dataclass(frozen=True, slots=True)
class CheckUp:
    """What is checked, and with what. `engine` and `sources` are None if there is no ledger.

    `counts_nexudus`: a rule counts what Nexudus itself sends, which takes a role of its own.
    `writes` are the kinds of record that rules write, each with roles of its own.
    """

    settings: Settings
    budget: Budget
    clock: Clock
    engine: Engine | None = None
    sources: Sources | None = None
    counts_nexudus: bool = False
    writes: Collection[StaffKind] = ()


def check_up(place: CheckUp) -> Iterator[Check]:
    """Yield each check as soon as it is done, topic by topic.

    Some fifty requests at most, within the limits that all processes share.
    """
    user = credentials_of(place.settings)
    credentials = credentials_check(user, place.engine)
    yield credentials
    yield from address_notes(place.settings.nexudus_url)
    reached = reach(place.settings.nexudus_url, place.budget, place.clock)
    yield from reached.checks
    why_not = "there is no ledger to store a sign-in in"
    if not reached.may_continue:
        why_not = "Nexudus cannot be reached"
    elif credentials.verdict is Verdict.PROBLEM:
        why_not = "no credentials are set"
    elif place.engine is not None and place.sources is not None:
        with place.sources.lend(patience(place.clock)) as source:
            signed_in = sign_in(source, place.engine, place.budget, user, place.clock)
            yield from signed_in.checks
            if signed_in.may_continue:
                yield from _signed_in(place, place.engine, source)
                return
        why_not = "the sign-in failed"
    yield Topic.SIGN_IN.note("the rest", f"not checked, as {why_not}: {_REST}")
    yield from _caught(Topic.LIMITS, "requests", lambda: _limits(place))


def _signed_in(place: CheckUp, engine: Engine, source: Source) -> Iterator[Check]:
    """Yield the checks that need a sign-in."""
    questions = Questions(source, place.clock)
    needs = (*NEEDS, MESSAGES) if place.counts_nexudus else NEEDS
    rights = Rights(questions, partial(_known_id, engine), needs)
    roles = _caught(Topic.RIGHTS, "roles", rights.checks)
    yield from roles
    if place.writes:
        yield from _caught(Topic.RIGHTS, "writing", lambda: staff_checks(questions, place.writes))
    yield from _caught(Topic.LIMITS, "requests", lambda: _limits(place))
    public_url = place.settings.public_url
    yield from _caught(Topic.HOOKS, "webhooks", lambda: _webhooks(questions, public_url))
    yield from _caught(
        Topic.SEVERAL, "several by Id", lambda: _several(questions, engine, place.clock)
    )
    yield from _caught(Topic.ZONES, "time zones", lambda: [_zones(questions)])
    yield languages_check(roles, rights.refused, place.settings.language)


def _caught(topic: Topic, name: str, make: Callable[[], list[Check]]) -> list[Check]:
    """Return the checks of one step, or one that reports that the step itself failed."""
    try:
        return make()
    except Exception as error:  # noqa: BLE001 - the other steps matter more than this one's fault
        found = f"this could not be checked: {frames_of(error)}"
        return [topic.problem(name, found, "Run it again; if it persists, report it.")]


def _known_id(engine: Engine, entity: Entity) -> int | None:
    with reading(engine) as connection:
        if entity is Entity.COWORKER:
            ids = present_people(connection, 1)
        else:
            ids = last_read_ids(connection, entity, 1)
    return ids[0] if ids else None


def _limits(place: CheckUp) -> list[Check]:
    """Check the request limits: what is allowed and used, and whether Nexudus asked us to wait."""
    topic, state = Topic.LIMITS, place.budget.state()
    allowed = place.settings.nexudus_limits.replace(";", ", ")
    used = ", ".join(
        f"{one.used} of {one.most} per {one.limit.partition('/')[2]}" for one in state.usage
    )
    found = allowed + (f"; used now: {used}" if used else "")
    if any(one.used >= _ALMOST * one.most for one in state.usage):
        fix = "Nothing: work continues as requests become free."
        requests = topic.note("requests", found, fix)
    else:
        requests = topic.ok("requests", found)
    if state.back_off_s > 0:
        found = f"Nexudus asked us to wait another {duration(max(1.0, state.back_off_s))}"
        quiet = topic.note("quiet", found, "Nothing: requests resume by themselves.")
    else:
        quiet = topic.ok("quiet", "Nexudus did not ask us to wait")
    return [requests, _counted(state, has_broker=place.settings.broker_url is not None), quiet]


def _counted(state: BudgetState, *, has_broker: bool) -> Check:
    if state.shared:
        return Topic.LIMITS.ok("counted", "by all processes together, through the broker")
    who, why = "each process on its own", "no broker is set"
    fix = "Nothing with `coursebell up`. Otherwise set COURSEBELL_BROKER_URL."
    if has_broker:
        who, why = "this process alone", "no broker answers"
        fix = "Nothing if Coursebell is not running. Otherwise check COURSEBELL_BROKER_URL."
    found = f"by {who}, within a share of the limits, as {why}"
    return Topic.LIMITS.note("counted", found, fix)


def _webhooks(questions: Questions, public_url: str) -> list[Check]:
    """Check the webhooks that call us, and whether Nexudus has any about courses by now.

    The URL of a webhook may contain a key, and so may its last error: only scheme, host and port
    of an address are shown.
    """
    checks: list[Check] = []
    listed = questions.read(lambda source: list_webhooks(source, public_url)).value
    if isinstance(listed, ListedWebhooks):  # the line of its role has the reason
        checks += [_webhook(hook) for hook in listed.ours.values()]
        if not listed.ours:
            checks.append(_no_webhook(listed.others, public_url))
        if listed.unread:
            found = f"{len(listed.unread)} more could not be read, and may be ours"
            checks.append(Topic.HOOKS.note("webhooks", found, f"Look at {_WHERE}."))
    actions = questions.read(lambda source: list(webhook_actions(source.session))).value
    return [*checks, _course_webhooks(actions, public_url)]


def _webhook(hook: WebHook) -> Check:
    name, errors = f"webhook {hook.record_id}", hook.error_count or 0
    last = "not called yet"
    if hook.last_trigger_at is not None:
        last = f"last called {to_the_minute(hook.last_trigger_at)}"
    found = f"for the action {action_name(hook.action)}, calls {origin(hook.url)}, {last}"
    if errors:
        found += f"; failures in a row: {errors}"
    if hook.last_error:
        found += f"; last error: {short(hook.last_error)}"
    if not hook.active:
        fix = f"Fix the cause, then switch it on again in Nexudus: {_WHERE}."
        return Topic.HOOKS.problem(name, f"it is switched off; {found}", fix)
    if errors >= MANY_FAILURES:
        fix = f"Fix it soon: at ten in a row Nexudus switches it off ({_WHERE})."
        return Topic.HOOKS.note(name, found, fix)
    return Topic.HOOKS.ok(name, found)


def _no_webhook(others: int, public_url: str) -> Check:
    where = origin(public_url) or "COURSEBELL_PUBLIC_URL"
    if is_loopback(urlsplit(public_url).hostname or ""):
        fix = (
            "Set COURSEBELL_PUBLIC_URL to the address under which others reach Coursebell, so that"
            " its webhooks can be found. Without any, let a relay report changes."
        )
    else:
        fix = (
            "Nothing if a relay reports changes: Nexudus has no webhooks about courses today. The"
            f" relay's address is {public_url}/hooks/relay."
        )
    return Topic.HOOKS.note("webhooks", f"no webhook calls {where}; {others} call others", fix)


def _course_webhooks(actions: object, public_url: str) -> Check:
    name = "course webhooks"
    if not isinstance(actions, list):
        return Topic.HOOKS.note(name, "the actions Nexudus has webhooks for could not be read")
    about = course_actions(actions)
    if not about:
        found = f"none of the {len(actions)} actions Nexudus has webhooks for is about courses"
        return Topic.HOOKS.ok(name, found)
    found = f"Nexudus has webhooks about courses now: {short(', '.join(about))}"
    fix = f"In Nexudus, {_WHERE}, let one call {public_url}/hooks/nexudus; changes arrive sooner."
    return Topic.HOOKS.note(name, found, fix)


def _several(questions: Questions, engine: Engine, clock: Clock) -> list[Check]:
    """Check for which kinds one request returns several complete records."""

    def probe(source: Source) -> Mapping[Entity, Proof]:
        return probe_all(engine, source, clock.now(), anew=True)

    reply = questions.read(probe, _PROBES_S)
    if reply.kind is not ReplyKind.VALUE or not isinstance(reply.value, Mapping):
        return [Topic.SEVERAL.note("several by Id", f"not checked: {reply.sentence}", AGAIN)]
    return [_proved(entity, proof) for entity, proof in reply.value.items()]


def _proved(entity: Entity, proof: Proof) -> Check:
    tried_at = to_the_minute(proof.probed_at)
    tried = f"{proof.sentence.replace('the source', 'Nexudus')} (tried {tried_at})"
    if proof.holds:
        return Topic.SEVERAL.ok(entity, tried)
    return Topic.SEVERAL.note(entity, f"read one by one: {tried}")


def _zones(questions: Questions) -> Check:
    """Check which time zones of Nexudus, which have Windows names, are known here."""
    name = "time zones"
    reply: Reply = questions.read(lambda source: source.lists.whole(Entity.TIME_ZONE))
    if not isinstance(reply.value, Sequence):
        found = "not read, so COURSEBELL_ZONE is used for a member whose zone is not known yet"
        return Topic.ZONES.note(name, found)
    names = [str(row.get("Name") or "") for row in reply.value]
    unknown = sorted({one for one in names if iana_zone(one) is None})
    if not unknown:
        return Topic.ZONES.ok(name, f"all {len(names)} of Nexudus are known")
    shown = ", ".join(f'"{one[:40]}"' for one in unknown[:_SHOWN_ZONES])
    found = f"{len(unknown)} of {len(names)} are not known, such as {shown}"
    fix = "Nothing, if no member is there. Else COURSEBELL_ZONE is used for them; please report it."
    return Topic.ZONES.note(name, found, fix)


def languages_check(roles: Iterable[Check], refused: Collection[str], otherwise: str) -> Check:
    """Check the roles that the language of emails depends on; `refused` are those missing.

    `otherwise` is the value of COURSEBELL_LANGUAGE.
    """
    name, location = "languages", role(Entity.BUSINESS, READ)
    own = (role(Entity.USER, READ), role(Entity.LANGUAGE, READ))
    missing = [one for one in (*own, location) if one in refused]
    if not missing:
        found = "members are written to in the language they chose, else in that of their location"
        tried = [one.name for one in roles if one.verdict is Verdict.OK]
        if {*own, location} <= {*tried}:
            return Topic.LANGUAGES.ok(name, found)
        return Topic.LANGUAGES.note(name, f"{found}, if our user has the roles for that", AGAIN)
    whom = "members" if missing[0] in own else "members who chose none in the portal"
    which = f"of COURSEBELL_LANGUAGE ({otherwise})" if location in missing else "of their location"
    names = " and ".join(filter(None, (", ".join(missing[:-1]), missing[-1])))
    lacks = f"the role{'s' * (len(missing) > 1)} {names}"
    found = f"{whom} are written to in the language {which}, because our user lacks {lacks}"
    fix = f"Nothing if that is the language of all. Else give our user {lacks} in Nexudus."
    return Topic.LANGUAGES.note(name, found, fix)
