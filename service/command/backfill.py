"""`backfill`: ask Nexudus now, about a window of time or about one person."""

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

import click
import structlog

from ledger.engine import reading
from ledger.intake import Origin
from ledger.people import Person
from schemas.entity import Entity
from service.command.common import (
    as_json,
    checking_now,
    print_json,
    printable,
    settings_now,
    shortened,
    show_addresses,
    with_own_broker,
)
from service.command.moments import Moment
from service.command.reach import told_if_out_of_reach
from service.command.whom import coworker_id_in, people_meant
from workers.check.backfill import Found, FoundRow, person, window
from workers.check.tools import Checking
from workers.clocks import utc_now
from workers.source.budget import Urgency

NOBODY = 1
_PATIENCE_S = 600.0  # for its turn among the workers; somebody waits in front of a screen
_MOST_LINES = 40  # of people and days; of more, the number

_WORDS = {
    Entity.COMPLETED_LESSON: ("finished lesson", "finished lessons"),
    Entity.COURSE_MEMBER: ("enrolment", "enrolments"),
}


@dataclass(frozen=True, slots=True)
class _Wish:
    """What somebody typed."""

    since: datetime | None
    until: datetime | None
    who: str | None
    send: bool
    dry_run: bool


@click.command()
@click.option("--since", type=Moment(), help="From when on, as 2d, 6h or 2026-03-01.")
@click.option("--until", type=Moment(), help="Until when; without it, until now.")
@click.option(
    "--person",
    "who",
    metavar="EMAIL_OR_ID_OR_NAME",
    help="One person, whatever we know of them; a part of their name will do.",
)
@click.option(
    "--send",
    is_flag=True,
    help="Write also about what was there before Coursebell began. For a person that is so anyway.",
)
@click.option("--dry-run", is_flag=True, help="Only show what would be asked about.")
@as_json
@show_addresses
def backfill(  # noqa: PLR0913 - the options, as click hands them over
    *,
    since: datetime | None,
    until: datetime | None,
    who: str | None,
    send: bool,
    dry_run: bool,
    as_json: bool,
    show_addresses: bool,
) -> None:
    """Ask Nexudus now about a window of time, or about one person.

    What is found there and was not known here is read and decided on as if somebody had told of it.
    """
    wish = _Wish(since, until, who, send, dry_run)
    _refuse_what_makes_no_sense(wish)
    # What the source client logs would stand between the lines for people.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    settings = with_own_broker(settings_now())
    with checking_now(settings) as checking, told_if_out_of_reach("Nexudus could not be asked"):
        if who is None:
            found, about = _window(checking, wish), None
        else:
            about = _one_meant(checking, who, whole=show_addresses)
            found = person(checking, about.coworker_id, dry_run=dry_run, for_s=_PATIENCE_S)
    if as_json:
        print_json(_as_plain(found, about, wish))
        return
    if about is not None:
        click.echo(printable(about.line))
    for line in _lines(found, wish, ZoneInfo(settings.zone)):
        click.echo(printable(line))


def _refuse_what_makes_no_sense(wish: _Wish) -> None:
    if (wish.since is None) == (wish.who is None):
        raise click.UsageError("Give either --since, as in --since 2d, or --person.")
    if wish.who is not None and wish.until is not None:
        raise click.UsageError("--until belongs to --since; a person is asked about as a whole.")
    if wish.since is not None and wish.since >= (wish.until or utc_now()):
        raise click.UsageError("The window ends before it begins.")


def _window(checking: Checking, wish: _Wish) -> Found:
    until = wish.until or checking.clock()
    return window(
        checking,
        wish.since or until,
        until,
        origin=Origin.PERSON if wish.send else Origin.BACKFILL,
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
        name = self.name or f"Coworker {self.coworker_id}, of whom we knew nothing"
        return f"{name}  {self.email}" if self.email else name


def _one_meant(checking: Checking, who: str, *, whole: bool) -> _About:
    with reading(checking.engine) as connection:
        found = [_about(one, whole=whole) for one in people_meant(connection, who)]
    if len(found) == 1:
        return found[0]
    coworker_id = coworker_id_in(who)
    if not found and coworker_id is not None:
        return _About(coworker_id, None, None)
    if found:
        click.echo("That may be each of these; take the Id of one:", err=True)
        for one in found:
            click.echo(printable(f"  {one.coworker_id}  {one.line}"), err=True)
    else:
        click.echo("Nobody like that was in any news we had.", err=True)
        click.echo("Try: coursebell backfill --person with their Id in Nexudus", err=True)
    raise SystemExit(NOBODY)


def _about(one: Person, *, whole: bool) -> _About:
    return _About(one.coworker_id, one.full_name, one.email if whole else shortened(one.email))


def _as_plain(found: Found, about: _About | None, wish: _Wish) -> dict[str, object]:
    return {
        "dry_run": wish.dry_run,
        "person": None if about is None else asdict(about),
        "looked_at": found.looked_at,
        "news": found.news,
        "rows": [asdict(row) for row in found.rows],
    }


def _lines(found: Found, wish: _Wish, zone: ZoneInfo) -> list[str]:
    number = sum(found.news.values())
    if not number:
        if wish.who is not None:
            return ["Nexudus has no enrolment of them."]
        of = sum(found.looked_at.values())
        return [f"Nothing there that we did not know of; {_many(of, 'record', 'records')} seen."]
    unknown = "" if wish.who is not None else " that we did not know of"
    said = "Would ask" if wish.dry_run else "Asked"
    lines = [f"{said} about {_counted(found.news)}{unknown}.", *_by_day(found, zone)]
    if wish.dry_run:
        return [*lines, "Nothing was written. The same without --dry-run asks."]
    next_ = "`coursebell tail` shows what comes of it, `coursebell why EMAIL` for one person."
    return [*lines, f"They are read now. {next_}"]


def _by_day(found: Found, zone: ZoneInfo) -> list[str]:
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
