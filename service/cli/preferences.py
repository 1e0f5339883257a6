"""`coursebell preferences`: shows and changes what a member chose, for those who write or phone."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import click

from ledger.choices import choice_keys, choices_of, store_choices
from ledger.engine import Connection, lock_decisions, reading, writing
from ledger.interventions import log_decision
from schemas.choices import ALL, SNOOZE, STREAMS, WEEKLY, Choice, ChoiceOrigin, Choices
from schemas.rules import Stream
from service.cli.common import (
    as_json,
    command_clock,
    local,
    opened_ledger,
    print_json,
    printable,
    settings_now,
    shortened,
    show_addresses,
    who_decides,
)
from service.cli.pauses import Until
from service.cli.report_words import chosen_when
from service.cli.selection import known_person
from service.people_search import PersonMatch, matching_people
from workers.preference_links import PreferenceLinks
from workers.secret_key import checked_secret_key

_WORDS: Mapping[str, str] = {
    Stream.SERVICE: "course emails (service)",
    Stream.REMINDER: "reminders (reminder)",
    ALL: "all emails (all)",
}
_streams = click.Choice([str(one) for one in STREAMS])


@dataclass(frozen=True, slots=True)
class _Change:
    """What an operator asks for."""

    stop: tuple[str, ...]
    allow: tuple[str, ...]
    snooze: datetime | None
    ends_snooze: bool
    weekly: bool | None

    def choices(self, now: datetime) -> dict[str, Choice]:
        """Return what to store."""
        yes = Choice(agreed=True, chosen_at=now, origin=ChoiceOrigin.OPERATOR)
        no = replace(yes, agreed=False)
        found = dict.fromkeys(self.allow, yes) | dict.fromkeys(self.stop, no)
        if self.weekly is not None:
            found[WEEKLY] = yes if self.weekly else no
        if self.ends_snooze:
            found[SNOOZE] = yes
        if self.snooze is not None:
            found[SNOOZE] = replace(no, until=self.snooze)
        return found


@click.command()
@click.argument("who", metavar="WHO")
@click.option("--stop", type=_streams, multiple=True, help="Send them no more of these.")
@click.option("--allow", type=_streams, multiple=True, help="Send them these; they asked for it.")
@click.option("--snooze", type=Until(), help="Send nothing until then, such as 7d or 2026-12-01.")
@click.option("--no-snooze", "ends_snooze", is_flag=True, help="End a snooze.")
@click.option(
    "--weekly/--no-weekly",
    default=None,
    help="One email a week about finished lessons, or one after each sitting.",
)
@click.option("--link", "with_link", is_flag=True, help="Print the address of their own page.")
@as_json
@show_addresses
def preferences(  # noqa: PLR0913 - one argument for each option
    who: str,
    *,
    stop: tuple[str, ...],
    allow: tuple[str, ...],
    snooze: datetime | None,
    ends_snooze: bool,
    weekly: bool | None,
    with_link: bool,
    as_json: bool,
    show_addresses: bool,
) -> None:
    """Show or change which emails a member gets.

    WHO is their address, their Id or a part of their name. It counts at once, also for emails that
    wait. Allow reminders only if the member said yes. Who changed it is in `coursebell log`.
    """
    if set(stop) & set(allow) or (snooze is not None and ends_snooze):
        raise click.UsageError("The same thing cannot be stopped and allowed.")
    change = _Change(stop, allow, snooze, ends_snooze, weekly)
    settings, now = settings_now(), command_clock().now()
    with opened_ledger(settings) as engine:
        key = checked_secret_key(settings, engine, now)
        with reading(engine) as connection:
            coworker_id = known_person(connection, who)
        chosen = change.choices(now)
        if chosen:
            with writing(engine) as connection:
                lock_decisions(connection)
                keys = choice_keys(key, coworker_id, _match(connection, coworker_id).email)
                store_choices(connection, keys, chosen)
                detail = _logged(coworker_id, change)
                log_decision(connection, "preferences", who_decides(), now, detail)
        with reading(engine) as connection:
            person = _match(connection, coworker_id)
            found = choices_of(connection, choice_keys(key, coworker_id, person.email))
    link = None
    if with_link and person.email:
        links = PreferenceLinks(settings.public_url, key)
        link = links.page(links.owner(coworker_id, person.email))
    if as_json:
        print_json(_plain(person, found, now, link, whole=show_addresses))
        return
    for line in _lines(person, found, now, link, whole=show_addresses):
        click.echo(printable(line))


def _match(connection: Connection, coworker_id: int) -> PersonMatch:
    [found] = matching_people(connection, str(coworker_id))
    return found


def _logged(coworker_id: int, change: _Change) -> dict[str, object]:
    return {
        "coworker_id": coworker_id,
        "stop": list(change.stop),
        "allow": list(change.allow),
        "snooze_until": None if change.snooze is None else change.snooze.isoformat(),
        "ends_snooze": change.ends_snooze,
        "weekly": change.weekly,
    }


def _lines(
    person: PersonMatch, chosen: Choices, now: datetime, link: str | None, *, whole: bool
) -> Iterator[str]:
    address = person.email if whole else shortened(person.email)
    yield f"{person.full_name}  {address or '(no email address known)'}"
    is_all_off = chosen.agreed.get(ALL) is False
    for stream in Stream:
        state = "sent" if chosen.wants(stream) else "not sent"
        yield f"  {_WORDS[stream]}: {state}, {_since(stream, chosen, is_all_off=is_all_off)}"
    if chosen.is_weekly:
        yield f"  finished lessons in one email a week, {chosen_when(chosen.made[WEEKLY])}"
    until = chosen.snoozed_until(now)
    if until is not None:
        yield f"  nothing until {local(until)}, {chosen_when(chosen.made[SNOOZE])}"
    if link is not None:
        yield f"  Their page: {link}"


def _since(stream: Stream, chosen: Choices, *, is_all_off: bool) -> str:
    made = chosen.made.get(ALL if is_all_off else stream)
    if made is None:
        never = stream is Stream.REMINDER
        return "as they never agreed" if never else "as they never objected"
    return f"{'as they want no emails, ' if is_all_off else ''}{chosen_when(made)}"


def _plain(
    person: PersonMatch, chosen: Choices, now: datetime, link: str | None, *, whole: bool
) -> dict[str, object]:
    return {
        "coworker_id": person.coworker_id,
        "name": person.full_name,
        "email": person.email if whole else shortened(person.email),
        "sent": {stream: chosen.wants(stream) for stream in Stream},
        "weekly": chosen.is_weekly,
        "snoozed_until": chosen.snoozed_until(now),
        "chosen": {
            name: {
                "choice": "yes" if one.agreed else "no",
                "at": one.chosen_at,
                "until": one.until,
                "origin": one.origin,
            }
            for name, one in chosen.made.items()
        },
        **({} if link is None else {"page": link}),
    }
