"""`coursebell bounces`: addresses that no email is sent to, because emails came back."""

from collections.abc import Iterator
from dataclasses import dataclass

import click

from ledger.choices import mailbox_hash
from ledger.engine import Connection, lock_decisions, reading, writing
from ledger.interventions import log_decision
from ledger.suppressions import SuppressedPerson, lift, suppressed_people
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
from service.cli.main import Commands
from service.cli.report_words import bounced_how
from service.cli.selection import known_person
from service.people_search import matching_people
from workers.reports.arrivals import FixedReader, fixed_readers
from workers.rules_file import rules_or_none
from workers.secret_key import checked_secret_key

NOT_LIFTED = 1


@dataclass(frozen=True, slots=True)
class _Suppressed:
    """A suppressed address, who has it, and what names it in the settings or the rules."""

    person: SuppressedPerson
    reader: FixedReader | None

    @property
    def email(self) -> str | None:
        """The address; None if nobody here has it."""
        return self.person.email or (self.reader.address if self.reader else None)


@click.group(cls=Commands)
def bounces() -> None:
    """List addresses that bounced, and allow emails to one again."""


@bounces.command("list")
@as_json
@show_addresses
def list_suppressions(*, as_json: bool, show_addresses: bool) -> None:
    """List the addresses that no email is sent to, as emails came back."""
    settings, now = settings_now(), command_clock().now()
    with opened_ledger(settings) as engine:
        key = checked_secret_key(settings, engine, now)
        with reading(engine) as connection:
            found = suppressed_people(connection, key)
    fixed = {
        mailbox_hash(one.address, key): one
        for one in fixed_readers(settings, rules_or_none(settings))
    }
    suppressed = [_Suppressed(one, fixed.get(one.suppression.address_hash)) for one in found]
    if as_json:
        print_json([_plain(one, whole=show_addresses) for one in suppressed])
        return
    for line in _lines(suppressed, whole=show_addresses):
        click.echo(printable(line))


@bounces.command("lift")
@click.argument("who", metavar="WHO")
@as_json
def lift_suppression(who: str, *, as_json: bool) -> None:
    """Allow emails to an address again, because it works after all.

    WHO is an address, or the Id or a part of the name of the person who has it. An email that was
    skipped meanwhile is not sent by this: see `coursebell resend`. Many providers suppress such an
    address themselves, so remove it from their list too.
    """
    settings, now = settings_now(), command_clock().now()
    with opened_ledger(settings) as engine:
        key = checked_secret_key(settings, engine, now)
        with reading(engine) as connection:
            coworker_id, address = _whose(connection, who)
        hashed = None if address is None else mailbox_hash(address, key)
        with writing(engine) as connection:
            lock_decisions(connection)
            is_lifted = hashed is not None and lift(connection, hashed, now)
            if is_lifted:
                whose = {"address_hash": hashed, "coworker_id": coworker_id}
                detail = {name: one for name, one in whose.items() if one is not None}
                log_decision(connection, "lift", who_decides(), now, detail)
    if as_json:
        print_json({"lifted": is_lifted, "coworker_id": coworker_id})
    elif is_lifted:
        click.echo("Emails go to this address again.")
    if not is_lifted:
        click.echo(
            "No email to this address came back. To list the addresses: coursebell bounces list",
            err=True,
        )
        raise SystemExit(NOT_LIFTED)


def _whose(connection: Connection, who: str) -> tuple[int | None, str | None]:
    """Return the person and the address that are meant.

    An address need not be known here: it may be a fixed one of a rule, or no longer anyone's.
    """
    typed = who.strip()
    is_address = typed.count("@") == 1 and not typed.startswith("@") and not typed.endswith("@")
    if is_address and not any(one.email for one in matching_people(connection, typed)):
        return None, typed
    coworker_id = known_person(connection, typed)
    [person] = matching_people(connection, str(coworker_id))
    return coworker_id, person.email


def _lines(found: list[_Suppressed], *, whole: bool) -> Iterator[str]:
    if not found:
        yield "No email came back, so no address is suppressed."
        return
    for one in found:
        yield _line(one, whole=whole)
    yield "If an address is wrong, correct it in Nexudus; emails then go to the new one."
    if any(one.reader for one in found):
        yield "Correct one of the settings or the rules file there, and restart."
    yield "If it works, allow emails to it again: coursebell bounces lift WHO"


def _line(one: _Suppressed, *, whole: bool) -> str:
    why, who = one.person.suppression, one.person
    address = one.email if whole else shortened(one.email)
    has_it = "an address that nobody here has" if one.email is None else f"{address}"
    if one.reader is not None:
        has_it += f", named in {one.reader.named_in}"
    name = "" if who.full_name is None else f"{who.full_name} (coworker {who.coworker_id})  "
    return f"{name}{has_it}: since {local(why.since)} {bounced_how(why)}"


def _plain(one: _Suppressed, *, whole: bool) -> dict[str, object]:
    why, who = one.person.suppression, one.person
    return {
        "coworker_id": who.coworker_id,
        "name": who.full_name,
        "email": one.email if whole else shortened(one.email),
        "named_in": None if one.reader is None else one.reader.named_in,
        "kind": why.kind,
        "since": why.since,
        "provider": why.provider,
        "code": why.code,
        "detail": why.detail,
    }
