"""`coursebell backfill`: asks Nexudus now about a window of time or one person."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import click
import structlog

from ledger.controls import sending_of
from ledger.engine import Engine, reading, writing
from ledger.intake import Origin
from ledger.interventions import release_held
from schemas.actions import Mode
from schemas.entity import Entity
from service.cli.common import (
    Moment,
    as_json,
    command_clock,
    is_confirmed,
    local,
    needs_confirmation,
    print_json,
    printable,
    reporting_outages,
    settings_now,
    shortened,
    show_addresses,
    who_decides,
    with_own_broker,
)
from service.cli.outcomes import number_sent, outcome_text
from service.cli.people import NOBODY_KNOWN, as_typed, print_candidates
from service.cli.source_access import open_sync
from service.people_search import coworker_id_in, matching_people
from service.sending_outcomes import part_of
from workers.context import make_lookup_context
from workers.deliver.forecast import make_send_setup
from workers.source.limits import Urgency
from workers.sync.backfill import (
    REVIEWED,
    REVIEWED_WITH_OLD,
    Review,
    backfill_person,
    backfill_window,
    read_found,
    review,
)
from workers.sync.listed_rows import FoundRow, SearchResult
from workers.sync.rows import SyncContext

NOBODY = 1
_PATIENCE_S = 600.0  # to wait for its share of the request limits
_MOST_LINES = 40  # of people and days; the rest is counted
_HOUR_S, _HOURS_TO_DAYS, _DAYS_TO_YEARS = 3600, 48, 730

_HOW_TO_SEND = (
    "To send them: run this again with --send, which also covers what happened before sending "
    "began; or coursebell release, with IDs. To drop them: coursebell skip, with IDs"
)
_IN_OBSERVE = (
    "The mode is observe, so nothing is sent. After `coursebell mode sending`: coursebell release, "
    "with IDs or --reason imported"
)

_WORDS = {
    Entity.COMPLETED_LESSON: ("finished lesson", "finished lessons"),
    Entity.COURSE_MEMBER: ("enrolment", "enrolments"),
}


@dataclass(frozen=True, slots=True)
class _Request:
    """The options of the command."""

    since: datetime | None
    until: datetime | None
    who: str | None
    send: bool
    dry_run: bool
    yes: bool
    show_addresses: bool
    as_json: bool

    @property
    def needs_answer(self) -> bool:
        """Return whether the operator has to confirm before anything is sent."""
        return self.send and not self.yes and not self.dry_run

    @property
    def command(self) -> str:
        """The command that does the same without asking."""
        until = "" if self.until is None else f" --until {self.until:%Y-%m-%dT%H:%MZ}"
        since = "" if self.since is None else f" --since {self.since:%Y-%m-%dT%H:%MZ}{until}"
        who = "" if self.who is None else f" --person {self.who}"
        return f"coursebell backfill{since}{who} --send --yes"


@click.command()
@click.option("--since", type=Moment(), help="Start of the window, as 2d, 6h or 2026-03-01.")
@click.option("--until", type=Moment(), help="End of the window; without it, now.")
@click.option(
    "--person",
    "who",
    metavar="EMAIL_OR_ID_OR_NAME",
    help="One person, also one not known here yet; part of a name or address works.",
)
@click.option(
    "--send",
    is_flag=True,
    help="List the emails, ask, and send them; also about records of the baseline.",
)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation; for --send.")
@click.option("--dry-run", is_flag=True, help="Only list the records that would be read.")
@as_json
@show_addresses
def backfill(**options: Any) -> None:  # noqa: ANN401 - the options, as click hands them over
    """Ask Nexudus now about a window of time or one person.

    Records that are not known here are read and decided. Emails about them are held and listed: to
    whom, about what, and how long ago it happened. None is sent without --send.
    """
    request = _Request(**options)
    _check_options(request)
    if request.needs_answer:
        needs_confirmation(request.command)
    # Log lines of the source client would mix with the lines printed for people.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    settings = with_own_broker(settings_now())
    setup = make_send_setup(settings)
    with open_sync(settings) as sync:
        found, person = _found(sync, request)
        zone = ZoneInfo(settings.zone)
        _print([*([] if person is None else [person.line]), *_lines(found, request, zone)], request)
        reviewed, released = None, list[int]()
        if not request.dry_run:
            lookup_context = make_lookup_context(settings, sync, setup.rules)
            states = read_found(lookup_context, found, command_clock().monotonic() + _PATIENCE_S)
            now = sync.clock.now()
            reviewed = review(sync.engine, setup, found, states, now)
            _print(review_lines(reviewed, now, whole=request.show_addresses), request)
            released = _release(sync.engine, reviewed, request)
    if request.as_json:
        print_json(_as_plain(found, person, request) | _review_plain(reviewed, released, request))


def _found(sync: SyncContext, request: _Request) -> tuple[SearchResult, "_Person | None"]:
    with reporting_outages("Nexudus could not be asked"):
        if request.who is None:
            return _window(sync, request), None
        person = _one_person(sync, request.who, whole=request.show_addresses)
        return backfill_person(
            sync,
            person.coworker_id,
            origins=_origins(request),
            dry_run=request.dry_run,
            for_s=_PATIENCE_S,
        ), person


def _origins(request: _Request) -> Sequence[Origin]:
    return REVIEWED_WITH_OLD if request.send else REVIEWED


def _print(lines: Iterable[str], request: _Request) -> None:
    """Print lines for people; with --json on standard error, and only before a question."""
    if not request.as_json or request.needs_answer:
        for line in lines:
            click.echo(printable(line), err=request.as_json)


def _release(engine: Engine, reviewed: Review, request: _Request) -> list[int]:
    """Release the listed emails if requested and confirmed; return their ids."""
    if not reviewed.expected:
        return []
    with reading(engine) as connection:
        mode = sending_of(connection).mode
    if mode is not Mode.SENDING:
        _print([_IN_OBSERVE], request)
        return []
    if not request.send:
        _print([_HOW_TO_SEND], request)
        return []
    to_send = [one for one in reviewed.expected if one.is_sent]
    if not to_send:
        _print(["None of these would be sent. To drop them: coursebell skip, with IDs"], request)
        return []
    if not request.yes and not is_confirmed(f"Send {number_sent(to_send)}?"):
        _print(["Nothing was sent. They stay held: coursebell held --reason imported"], request)
        return []
    with writing(engine) as connection:
        ids = [one.action.action_id for one in to_send]
        released = release_held(connection, ids, who_decides(), command_clock().now())
    _print([f"{len(released)} released. To watch them being sent: coursebell tail"], request)
    return released


def _check_options(request: _Request) -> None:
    if (request.since is None) == (request.who is None):
        raise click.UsageError("Give either --since, as in --since 2d, or --person.")
    if request.who is not None and request.until is not None:
        raise click.UsageError("--until needs --since; --person covers all records of the person.")
    if request.since is not None and request.since >= (request.until or command_clock().now()):
        raise click.UsageError("The window ends before it begins.")


def _window(sync: SyncContext, request: _Request) -> SearchResult:
    until = request.until or sync.clock.now()
    return backfill_window(
        sync,
        request.since or until,
        until,
        origins=_origins(request),
        dry_run=request.dry_run,
        urgency=Urgency.PERSON,
        for_s=_PATIENCE_S,
    )


@dataclass(frozen=True, slots=True)
class _Person:
    """The chosen person; `name` is None for an Id that is not known here."""

    coworker_id: int
    name: str | None
    email: str | None

    @property
    def line(self) -> str:
        name = self.name or f"Coworker {self.coworker_id}, whose name and address were not read yet"
        return f"{name}  {self.email}" if self.email else name


def _one_person(sync: SyncContext, who: str, *, whole: bool) -> _Person:
    with reading(sync.engine) as connection:
        found = matching_people(connection, as_typed(who))
    if len(found) == 1:
        [one] = found
        email = one.email if whole else shortened(one.email)
        return _Person(one.coworker_id, one.full_name, email)
    coworker_id = coworker_id_in(who)
    if not found and coworker_id is not None:
        return _Person(coworker_id, None, None)
    if found:
        print_candidates(found, whole=whole)
    else:
        click.echo(NOBODY_KNOWN, err=True)
        click.echo("Try their Id from Nexudus: coursebell backfill --person 1234", err=True)
    raise SystemExit(NOBODY)


def _as_plain(found: SearchResult, person: _Person | None, request: _Request) -> dict[str, object]:
    return {
        "dry_run": request.dry_run,
        "person": None if person is None else asdict(person),
        "looked_at": found.compared,
        "news": found.news,
        "rows": [asdict(row) for row in found.rows],
    }


def _lines(found: SearchResult, request: _Request, zone: ZoneInfo) -> list[str]:
    number = sum(found.news.values())
    if not number:
        if request.who is not None:
            return ["Nexudus has no enrolment of this person."]
        of = sum(found.compared.values())
        return [f"All {_many(of, 'record', 'records')} of the window are known here already."]
    unknown = "" if request.who is not None else " not known here"
    found_line = f"Found {_counted(found.news)}{unknown}."
    lines = [found_line, *_by_day(found, zone)]
    if request.dry_run:
        return [*lines, "Nothing was changed. Without --dry-run they are read and decided."]
    return [*lines, "Reading them."]


def review_lines(reviewed: Review, now: datetime, *, whole: bool) -> Iterator[str]:
    """Yield a line for each held email: when, to whom, its subject, and what a release would do."""
    if reviewed.unread:
        records = _many(reviewed.unread, "record is", "records are")
        yield (
            f"{records} not read yet. Workers will read them and hold emails about them; to list "
            "those later: coursebell held --reason imported"
        )
    if reviewed.failed:
        records = _many(reviewed.failed, "record", "records")
        yield f"{records} cannot be read. To see why: coursebell status"
    if not reviewed.expected:
        yield "No email is held about this. `coursebell why EMAIL` shows what happened to a person."
        return
    emails = _many(len(reviewed.expected), "email is", "emails are")
    yield f"{emails} held about this, and none was sent:"
    for one in reviewed.expected:
        happened_at = one.action.happened_at
        address = one.recipient if whole else shortened(one.recipient)
        person = one.person or f"coworker {one.action.coworker_id}"
        yield (
            f"  {one.action.action_id}  {local(happened_at)} ({_age(now - happened_at)})  {person}"
            f"{f' <{address}>' if address else ''}  {one.title or one.action.rule}"
            f": {outcome_text(one, now)}"
        )


def _age(age: timedelta) -> str:
    hours = max(0, int(age.total_seconds())) // _HOUR_S
    if hours < _HOURS_TO_DAYS:
        return f"{_many(hours, 'hour', 'hours')} ago"
    days = hours // 24
    if days < _DAYS_TO_YEARS:
        return f"{days} days ago"
    return f"{days // 365} years ago"


def _review_plain(
    reviewed: Review | None, released: list[int], request: _Request
) -> dict[str, object]:
    if reviewed is None:
        return {}
    now = command_clock().now()
    return {
        "unread": reviewed.unread,
        "failed": reviewed.failed,
        "emails": [
            {
                "action_id": one.action.action_id,
                "coworker_id": one.action.coworker_id,
                "person": one.person,
                "email": one.recipient if request.show_addresses else shortened(one.recipient),
                "subject": one.title,
                "rule": one.action.rule,
                "happened_at": one.action.happened_at,
                "would_be": part_of(one, now),
                "at": one.sent_at if one.is_sent else None,
                "reason": None if one.outcome is None else one.outcome.reason,
            }
            for one in reviewed.expected
        ],
        "released": released,
    }


def _by_day(found: SearchResult, zone: ZoneInfo) -> list[str]:
    grouped: dict[tuple[str, str], Counter[Entity]] = {}
    for row in sorted(found.rows, key=_when):
        day = row.at.astimezone(zone).strftime("%Y-%m-%d")
        grouped.setdefault((day, row.name or "name not known"), Counter())[row.entity] += 1
    lines = [f"  {day}  {name}: {_counted(counts)}" for (day, name), counts in grouped.items()]
    left_out = sum(found.news.values()) - len(found.rows)
    more = len(lines) - _MOST_LINES
    lines = lines[:_MOST_LINES]
    if more > 0 or left_out:
        lines.append(f"  and more; --json lists the first {len(found.rows)}")
    return lines


def _when(row: FoundRow) -> tuple[datetime, int]:
    return row.at, row.record_id


def _counted(counts: Mapping[Entity, int]) -> str:
    """Return how many there are of each kind, in words."""
    return " and ".join(
        _many(counts[entity], *_WORDS[entity]) for entity in _WORDS if counts.get(entity)
    )


def _many(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"
