"""`backfill`: ask Nexudus now, about a window of time or about one person."""

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
    checking_now,
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
from service.cli.fates import number_of, outcome_text, part_of
from service.cli.people import (
    NOBODY_KNOWN,
    PersonMatch,
    coworker_id_in,
    matching_people,
    print_candidates,
)
from workers.context import make_lookup_context, make_send_setup
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
from workers.sync.listing import FoundRow, SearchResult
from workers.sync.rows import SyncContext

NOBODY = 1
_PATIENCE_S = 600.0  # for its turn among the workers; somebody waits in front of a screen
_MOST_LINES = 40  # of people and days; of more, the number
_HOUR_S, _HOURS_TO_DAYS, _DAYS_TO_YEARS = 3600, 48, 730

_HOW_TO_SEND = (
    "To send them: the same with --send, which also finds what happened before sending began; or "
    "coursebell release, with IDs. To drop them: coursebell skip"
)
_IN_OBSERVE = (
    "The mode is observe, so nothing leaves. After `coursebell mode sending`: coursebell release, "
    "with IDs or --reason imported"
)

_WORDS = {
    Entity.COMPLETED_LESSON: ("finished lesson", "finished lessons"),
    Entity.COURSE_MEMBER: ("enrolment", "enrolments"),
}


@dataclass(frozen=True, slots=True)
class _Wish:
    """What was typed."""

    since: datetime | None
    until: datetime | None
    who: str | None
    send: bool
    dry_run: bool
    yes: bool
    show_addresses: bool
    as_json: bool

    @property
    def is_asked_about(self) -> bool:
        """Say whether a person has to agree before anything goes."""
        return self.send and not self.yes and not self.dry_run

    @property
    def command(self) -> str:
        """How this is typed where nobody can be asked."""
        until = "" if self.until is None else f" --until {self.until:%Y-%m-%dT%H:%MZ}"
        since = "" if self.since is None else f" --since {self.since:%Y-%m-%dT%H:%MZ}{until}"
        who = "" if self.who is None else f" --person {self.who}"
        return f"coursebell backfill{since}{who} --send --yes"


@click.command()
@click.option("--since", type=Moment(), help="From when on, as 2d, 6h or 2026-03-01.")
@click.option("--until", type=Moment(), help="Until when; without it, until now.")
@click.option(
    "--person",
    "who",
    metavar="EMAIL_OR_ID_OR_NAME",
    help="One person, whatever we know of them; a part of name or address will do.",
)
@click.option(
    "--send",
    is_flag=True,
    help="Send the emails after listing them and asking, also about what was there before.",
)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation; for --send.")
@click.option("--dry-run", is_flag=True, help="Only show what would be read, and read nothing.")
@as_json
@show_addresses
def backfill(**options: Any) -> None:  # noqa: ANN401 - the options, as click hands them over
    """Ask Nexudus now about a window of time, or about one person.

    What is found there and was not known here is read and decided on. Emails about it are held and
    listed: who gets them, about what, and how old it is. None goes without --send.
    """
    wish = _Wish(**options)
    _refuse_what_makes_no_sense(wish)
    if wish.is_asked_about:
        needs_confirmation(wish.command)
    # What the source client logs would stand between the lines for people.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    settings = with_own_broker(settings_now())
    setup = make_send_setup(settings)
    with checking_now(settings) as sync:
        found, about = _found(sync, wish)
        zone = ZoneInfo(settings.zone)
        _say([*([] if about is None else [about.line]), *_lines(found, wish, zone)], wish)
        reviewed, released = None, list[int]()
        if not wish.dry_run:
            lookup_context = make_lookup_context(settings, sync, setup.rules)
            states = read_found(lookup_context, found, command_clock().monotonic() + _PATIENCE_S)
            now = sync.clock.now()
            reviewed = review(sync.engine, setup, found, states, now)
            _say(review_lines(reviewed, now, whole=wish.show_addresses), wish)
            released = _decided(sync.engine, reviewed, wish)
    if wish.as_json:
        print_json(_as_plain(found, about, wish) | _review_plain(reviewed, released, wish))


def _found(sync: SyncContext, wish: _Wish) -> tuple[SearchResult, "_About | None"]:
    with reporting_outages("Nexudus could not be asked"):
        if wish.who is None:
            return _window(sync, wish), None
        about = _one_meant(sync, wish.who, whole=wish.show_addresses)
        return backfill_person(
            sync,
            about.coworker_id,
            origins=_origins(wish),
            dry_run=wish.dry_run,
            for_s=_PATIENCE_S,
        ), about


def _origins(wish: _Wish) -> Sequence[Origin]:
    return REVIEWED_WITH_OLD if wish.send else REVIEWED


def _say(lines: Iterable[str], wish: _Wish) -> None:
    """Print lines for people; beside JSON only those that a person is asked about."""
    if not wish.as_json or wish.is_asked_about:
        for line in lines:
            click.echo(printable(line), err=wish.as_json)


def _decided(engine: Engine, reviewed: Review, wish: _Wish) -> list[int]:
    """Release the listed emails if that is wished and agreed to; return their ids."""
    if not reviewed.expected:
        return []
    with reading(engine) as connection:
        mode = sending_of(connection).mode
    if mode is not Mode.SENDING:
        _say([_IN_OBSERVE], wish)
        return []
    if not wish.send:
        _say([_HOW_TO_SEND], wish)
        return []
    going = [one for one in reviewed.expected if one.is_sent]
    if not going:
        _say(["None of these would be sent. To drop them: coursebell skip, with IDs"], wish)
        return []
    if not wish.yes and not is_confirmed(f"Send {number_of(going)}?"):
        _say(["Nothing was sent. They stay held: coursebell held --reason imported"], wish)
        return []
    with writing(engine) as connection:
        ids = [one.action.action_id for one in going]
        released = release_held(connection, ids, who_decides(), command_clock().now())
    _say([f"{len(released)} released. `coursebell tail` shows them go."], wish)
    return released


def _refuse_what_makes_no_sense(wish: _Wish) -> None:
    if (wish.since is None) == (wish.who is None):
        raise click.UsageError("Give either --since, as in --since 2d, or --person.")
    if wish.who is not None and wish.until is not None:
        raise click.UsageError("--until belongs to --since; a person is asked about as a whole.")
    if wish.since is not None and wish.since >= (wish.until or command_clock().now()):
        raise click.UsageError("The window ends before it begins.")


def _window(sync: SyncContext, wish: _Wish) -> SearchResult:
    until = wish.until or sync.clock.now()
    return backfill_window(
        sync,
        wish.since or until,
        until,
        origins=_origins(wish),
        dry_run=wish.dry_run,
        urgency=Urgency.PERSON,
        for_s=_PATIENCE_S,
    )


@dataclass(frozen=True, slots=True)
class _About:
    """The one person who is meant; `name` is None for an Id that we never heard of."""

    coworker_id: int
    name: str | None
    email: str | None

    @property
    def line(self) -> str:
        name = self.name or f"Coworker {self.coworker_id}, whose name and address were not read yet"
        return f"{name}  {self.email}" if self.email else name


def _one_meant(sync: SyncContext, who: str, *, whole: bool) -> _About:
    with reading(sync.engine) as connection:
        found = matching_people(connection, who)
    if len(found) == 1:
        return _about(found[0], whole=whole)
    coworker_id = coworker_id_in(who)
    if not found and coworker_id is not None:
        return _About(coworker_id, None, None)
    if found:
        print_candidates(found, whole=whole)
    else:
        click.echo(NOBODY_KNOWN, err=True)
        click.echo("Try their Id from Nexudus: coursebell backfill --person 1234", err=True)
    raise SystemExit(NOBODY)


def _about(one: PersonMatch, *, whole: bool) -> _About:
    return _About(one.coworker_id, one.full_name, one.email if whole else shortened(one.email))


def _as_plain(found: SearchResult, about: _About | None, wish: _Wish) -> dict[str, object]:
    return {
        "dry_run": wish.dry_run,
        "person": None if about is None else asdict(about),
        "looked_at": found.compared,
        "news": found.news,
        "rows": [asdict(row) for row in found.rows],
    }


def _lines(found: SearchResult, wish: _Wish, zone: ZoneInfo) -> list[str]:
    number = sum(found.news.values())
    if not number:
        if wish.who is not None:
            return ["Nexudus has no enrolment of them."]
        of = sum(found.compared.values())
        return [f"Nothing there that we did not know of; {_many(of, 'record', 'records')} seen."]
    unknown = "" if wish.who is not None else " that we did not know of"
    said = "Would ask" if wish.dry_run else "Asked"
    lines = [f"{said} about {_counted(found.news)}{unknown}.", *_by_day(found, zone)]
    if wish.dry_run:
        return [*lines, "Nothing was written. Without --dry-run they are read and decided on."]
    return [*lines, "Reading them."]


def review_lines(reviewed: Review, now: datetime, *, whole: bool) -> Iterator[str]:
    """Return what is held, a line for each email: who, about what, how old, what releasing does."""
    if reviewed.unread:
        records = _many(reviewed.unread, "record is", "records are")
        yield (
            f"{records} not read yet; workers will read them, and emails about them are held: "
            "coursebell held --reason imported"
        )
    if reviewed.failed:
        yield f"{_many(reviewed.failed, 'record', 'records')} cannot be read: coursebell status"
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


def _review_plain(reviewed: Review | None, released: list[int], wish: _Wish) -> dict[str, object]:
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
                "email": one.recipient if wish.show_addresses else shortened(one.recipient),
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
        grouped.setdefault((day, row.name or "somebody"), Counter())[row.entity] += 1
    lines = [f"  {day}  {name}: {_counted(news)}" for (day, name), news in grouped.items()]
    left_out = sum(found.news.values()) - len(found.rows)
    more = len(lines) - _MOST_LINES
    lines = lines[:_MOST_LINES]
    if more > 0 or left_out:
        lines.append(f"  and more; --json has the first {len(found.rows)} one by one")
    return lines


def _when(row: FoundRow) -> tuple[datetime, int]:
    return row.at, row.record_id


def _counted(news: Mapping[Entity, int]) -> str:
    """Say how many of each kind."""
    return " and ".join(
        _many(news[entity], *_WORDS[entity]) for entity in _WORDS if news.get(entity)
    )


def _many(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"
