"""`coursebell preferences`: shows and changes email preferences, for those who write or phone."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import click

from ledger.choices import (
    address_keys,
    choice_keys,
    choices_of,
    mailbox_hash,
    store_choices,
)
from ledger.engine import Connection, Engine, lock_decisions, reading, writing
from ledger.interventions import log_decision
from schemas.actions import is_to_person
from schemas.choices import (
    ALL,
    NOTICES,
    REPORT,
    SNOOZE,
    STREAMS,
    WEEKLY,
    Choice,
    ChoiceOrigin,
    Choices,
    notices_of,
    report_choice,
)
from schemas.rules import OWN_REPORTS, Stream
from schemas.settings import Settings
from schemas.text import nearest
from service.cli.common import (
    as_json,
    command_clock,
    local,
    opened_ledger,
    print_json,
    print_lines,
    settings_now,
    shortened,
    show_addresses,
    who_decides,
)
from service.cli.pauses import Until
from service.cli.readers import AddressReader, address_heading, address_reader
from service.cli.report_words import chosen_when
from service.cli.selection import known_person
from service.people_search import PersonMatch, matching_people
from workers.preference_links import PreferenceLinks
from workers.rules_file import rules_or_none
from workers.secret_key import checked_secret_key

_WORDS: Mapping[str, str] = {
    Stream.SERVICE: "course emails (service)",
    Stream.REMINDER: "reminders (reminder)",
    ALL: "all emails (all)",
}
_NAMES = f"{', '.join(STREAMS)}, or a digest, alert or rule by its name"


@dataclass(frozen=True, slots=True)
class _Whose:
    """Whose preferences these are: a person, or an address that the settings or rules name."""

    person: PersonMatch | None
    reader: AddressReader | None

    @property
    def address(self) -> str | None:
        """The address, as far as it is known."""
        return self.reader.address if self.reader else self.person.email if self.person else None

    def keys(self, key: str) -> frozenset[str]:
        """Return under which keys they are stored."""
        if self.person is None:
            return address_keys(key, self.address)
        return choice_keys(key, self.person.coworker_id, self.person.email)


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
@click.option("--stop", metavar="NAME", multiple=True, help="Send them no more of these.")
@click.option("--allow", metavar="NAME", multiple=True, help="Send them these; they asked for it.")
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
    """Show or change the email preferences of a member.

    They may also be those of a host, or of an address in the settings or the rules file.

    WHO is their address, their Id or a part of their name. NAME is service, reminder or all, or
    what a host or an address gets: a digest, alert or rule by its name. It counts at once, also for
    emails that wait. Allow reminders only if the member said yes. Who changed it is in
    `coursebell log`.
    """
    if set(stop) & set(allow) or (snooze is not None and ends_snooze):
        raise click.UsageError("The same thing cannot be stopped and allowed.")
    settings, now = settings_now(), command_clock().now()
    named = _named(settings)
    stop, allow = (tuple(_known_name(one, named) for one in names) for names in (stop, allow))
    change = _Change(stop, allow, snooze, ends_snooze, weekly)
    with opened_ledger(settings) as engine:
        key = checked_secret_key(settings, engine, now)
        with reading(engine) as connection:
            whose = _whose(connection, settings, engine, who)
        chosen = change.choices(now)
        if chosen:
            with writing(engine) as connection:
                lock_decisions(connection)
                whose = _whose(connection, settings, engine, who)
                store_choices(connection, whose.keys(key), chosen)
                detail = _logged(whose, key, change)
                log_decision(connection, "preferences", who_decides(), now, detail)
        with reading(engine) as connection:
            found = choices_of(connection, whose.keys(key))
    link = None
    if with_link and whose.person is not None and whose.person.email:
        links = PreferenceLinks(settings.public_url, key)
        link = links.page(links.owner(whose.person.coworker_id, whose.person.email))
    if as_json:
        print_json(_plain(whose, found, now, link, whole=show_addresses))
        return
    print_lines(_lines(whose, found, now, link, whole=show_addresses))


def _named(settings: Settings) -> dict[str, str]:
    """Return what can be stopped, by its name; a rule only if it is to others than members."""
    rules = rules_or_none(settings)
    found = {str(one): str(one) for one in STREAMS}
    found |= {name: report_choice(name) for name in OWN_REPORTS}
    for digest in rules.digests if rules else ():
        found[digest.name] = report_choice(digest.name)
    for rule in rules.rules if rules else ():
        if any(one is not None and is_to_person(one) for one in rule.audiences):
            found.setdefault(rule.name, notices_of(rule.name))
    return found


def _typed(name: str) -> str:
    return name.removeprefix(REPORT).removeprefix(NOTICES)


def _known_name(name: str, named: Mapping[str, str]) -> str:
    if name in named:
        return named[name]
    meant = nearest(name, named)
    hint = f"; did you mean {meant}?" if meant else ""
    raise click.UsageError(f"Nothing that can be stopped is called {name}{hint} NAME is {_NAMES}.")


def _whose(connection: Connection, settings: Settings, engine: Engine, who: str) -> _Whose:
    """Return whose preferences are meant. Raises `SystemExit` if nobody is known as `who`."""
    reader = address_reader(connection, settings, engine, who)
    if reader is not None and not matching_people(connection, who):
        return _Whose(None, reader)
    [person] = matching_people(connection, str(known_person(connection, who)))
    return _Whose(person, None)


def _logged(whose: _Whose, key: str, change: _Change) -> dict[str, object]:
    address = mailbox_hash(whose.address or "", key)
    by = whose.person.coworker_id if whose.person else None
    return {
        **({"address_hash": address} if by is None else {"coworker_id": by}),
        "stop": list(map(_typed, change.stop)),
        "allow": list(map(_typed, change.allow)),
        "snooze_until": None if change.snooze is None else change.snooze.isoformat(),
        "ends_snooze": change.ends_snooze,
        "weekly": change.weekly,
    }


def _lines(
    whose: _Whose, chosen: Choices, now: datetime, link: str | None, *, whole: bool
) -> Iterator[str]:
    if whose.person is not None:
        address = whose.address if whole else shortened(whose.address)
        yield f"{whose.person.full_name}  {address or '(no email address known)'}"
        yield from _streams(chosen)
    elif whose.reader is not None:
        yield address_heading(whose.reader, whole=whole)
        all_off = chosen.made.get(ALL)
        if all_off is not None and not all_off.agreed:
            yield f"  {_WORDS[ALL]}: not sent, {chosen_when(all_off)}"
    for name, choice in sorted(chosen.made.items()):
        if name.startswith((REPORT, NOTICES)):
            state = "sent" if choice.agreed else "not sent"
            yield f"  {_of_name(name)}: {state}, {chosen_when(choice)}"
    if chosen.is_weekly:
        yield f"  finished lessons in one email a week, {chosen_when(chosen.made[WEEKLY])}"
    until = chosen.snoozed_until(now)
    if until is not None:
        yield f"  nothing until {local(until)}, {chosen_when(chosen.made[SNOOZE])}"
    if whose.reader is not None and not chosen.made:
        yield "  everything that goes there is sent; `coursebell why` says what that is"
    if link is not None:
        yield f"  Their page: {link}"


def _streams(chosen: Choices) -> Iterator[str]:
    is_all_off = chosen.agreed.get(ALL) is False
    for stream in Stream:
        state = "sent" if chosen.wants(stream) else "not sent"
        yield f"  {_WORDS[stream]}: {state}, {_since(stream, chosen, is_all_off=is_all_off)}"


def _of_name(name: str) -> str:
    if name.startswith(NOTICES):
        return f"what the rule {_typed(name)} sends to others than members"
    return f"the report {_typed(name)}"


def _since(stream: Stream, chosen: Choices, *, is_all_off: bool) -> str:
    made = chosen.made.get(ALL if is_all_off else stream)
    if made is None:
        never = stream is Stream.REMINDER
        return "as they never agreed" if never else "as they never objected"
    return f"{'as they want no emails, ' if is_all_off else ''}{chosen_when(made)}"


def _plain(
    whose: _Whose, chosen: Choices, now: datetime, link: str | None, *, whole: bool
) -> dict[str, object]:
    person = whose.person
    return {
        "coworker_id": person.coworker_id if person else None,
        "name": person.full_name if person else None,
        "email": whose.address if whole else shortened(whose.address),
        "named_in": whose.reader.named_in if whose.reader else None,
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
