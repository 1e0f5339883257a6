"""What readers of alerts, summaries and digests get, for `coursebell reports` and `why`."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NoReturn

from ledger.choices import address_keys, choices_of
from ledger.engine import Connection, Engine
from ledger.suppressions import Suppression
from schemas.actions import HOST, ActionState
from schemas.choices import NOTICES, Choices
from schemas.reasons import EXPLANATIONS
from schemas.rules import Every, Rules
from schemas.settings import Settings
from service.cli.common import command_clock, local, shortened
from service.cli.report_words import cause_of, chosen_when, said_lines
from workers.actions.registry import email_action
from workers.reports.arrivals import bounced_readers, fixed_readers
from workers.reports.listing import ReportLine, report_lines
from workers.reports.tools import ReportTools
from workers.rules_file import rules_or_none
from workers.secret_key import known_secret_key
from workers.source.limits import Patience

_OFTEN = {None: "when something is new", Every.WEEK: "on Mondays", Every.MONTH: "once a month"}


@dataclass(frozen=True, slots=True)
class AddressReader:
    """An address that the settings or the rules name, and what is sent to it."""

    address: str = field(repr=False)
    named_in: tuple[str, ...]
    suppression: Suppression | None
    reports: tuple[ReportLine, ...] = field(repr=False)
    chosen: Choices


def report_tools(settings: Settings, engine: Engine, rules: Rules) -> ReportTools:
    """Return what lists and composes reports. No key is made, and Nexudus is not asked."""
    key = known_secret_key(settings) or ""
    email = email_action(replace(settings, secret_key=key or None))
    return ReportTools(engine, settings, rules, email, key, _ask, command_clock())


def _ask(patience: Patience) -> NoReturn:
    raise AssertionError(f"nothing here asks Nexudus, with whatever {patience}")


def address_reader(
    connection: Connection, settings: Settings, engine: Engine, who: str
) -> AddressReader | None:
    """Return what is sent to this address because the settings or the rules name it, or None."""
    rules, wanted = rules_or_none(settings), who.strip().lower()
    named = [one for one in fixed_readers(settings, rules) if one.address.lower() == wanted]
    if not named:
        return None
    key = known_secret_key(settings)
    bounced = bounced_readers(connection, named[:1], key)
    lines = _lines_to(connection, settings, engine, rules)
    mine = [one for one in lines if one.host_id is None and (one.address or "").lower() == wanted]
    places = dict.fromkeys(one.named_in for one in named)
    suppression = bounced[0].suppression if bounced else None
    chosen = choices_of(connection, address_keys(key, named[0].address)) if key else Choices()
    return AddressReader(named[0].address, tuple(places), suppression, tuple(mine), chosen)


def reports_to_host(
    connection: Connection, settings: Settings, engine: Engine, coworker_id: int
) -> list[ReportLine]:
    """Return the digests that go to this person as a host of courses."""
    rules = rules_or_none(settings)
    if rules is None or not any(one.is_to_hosts for one in rules.digests):
        return []
    lines = _lines_to(connection, settings, engine, rules)
    return [one for one in lines if one.host_id == coworker_id]


def _lines_to(
    connection: Connection, settings: Settings, engine: Engine, rules: Rules | None
) -> list[ReportLine]:
    if rules is None:
        return []  # `coursebell status` reports what is wrong with them
    tools = report_tools(settings, engine, rules)
    return list(report_lines(connection, tools, command_clock().now()))


def address_lines(one: AddressReader, who: str, *, whole: bool) -> Iterator[str]:
    """Yield what is known of an address that the settings or the rules name."""
    yield address_heading(one, whole=whole)
    if one.suppression is not None:
        yield f"  {bounced_text(one.suppression, who)}"
    for name, choice in one.chosen.made.items():
        if name.startswith(NOTICES) and not choice.agreed:
            rule = name.removeprefix(NOTICES)
            yield f"  the reader stopped what the rule {rule} sends, {chosen_when(choice)}"
    for line in one.reports:
        for text in report_texts(line, is_reader_known=True):
            yield f"  {text}"


def address_heading(one: AddressReader, *, whole: bool) -> str:
    """Return an address, and what names it."""
    address = one.address if whole else shortened(one.address)
    return f"{address}  (named in {', '.join(one.named_in)})"


def bounced_text(why: Suppression, who: str) -> str:
    """Return since when nothing is sent to a reader, and what to do."""
    return (
        f"Emails to it came back: nothing is sent to it since {local(why.since)}{cause_of(why)}. "
        f"Correct the address, or if it works: coursebell bounces lift {who}"
    )


def report_texts(one: ReportLine, *, is_reader_known: bool = False) -> Iterator[str]:
    """Yield what a report is, to whom unless that is known, and what became of it."""
    to = "" if is_reader_known else f", to {_reader(one)}"
    yield f"{one.name}, {_OFTEN[one.every]}{to}"
    if one.last is not None:
        reason = "" if one.last.reason is None else f", {one.last.reason}"
        why = "" if one.last.reason is None else f": {EXPLANATIONS[one.last.reason].sentence}"
        at = one.last.finished_at or one.last.planned_at
        yield f"  last: {local(at)}, {one.last.state}{reason}{why}"
    yield from (f"  {line}" for line in said_lines(one.said))
    if one.stopped is not None:
        yield f"  the reader stopped it, {chosen_when(one.stopped)}"
    elif one.bounced is not None:
        if not is_reader_known:
            yield f"  {bounced_text(one.bounced, str(one.host_id or 'ADDRESS'))}"
    elif one.due_at is not None:
        yield f"  next: {local(one.due_at)}"
    if one.last is not None and one.last.state is ActionState.UNKNOWN:
        yield "  it may have arrived or not: ask the reader, or look into the mail server's log"


def _reader(one: ReportLine) -> str:
    if one.reader is None:
        return "the hosts of courses; none is known yet"
    return f"the host {one.reader}" if one.audience == HOST else shortened(one.reader) or "nobody"


def plain_report(one: ReportLine) -> dict[str, object]:
    """Return a report for programs."""
    last = one.last
    return {
        "name": one.name,
        "every": one.every,
        "to": HOST if one.audience == HOST else shortened(one.reader),
        "host_id": one.host_id,
        "last_at": (last.finished_at or last.planned_at) if last else None,
        "state": last.state if last else None,
        "reason": last.reason if last else None,
        "next_at": one.due_at,
        "reports": one.said,
        "bounced_at": one.bounced.since if one.bounced else None,
        "stopped_at": one.stopped.chosen_at if one.stopped else None,
    }


def plain_address(one: AddressReader, *, whole: bool) -> dict[str, object]:
    """Return for programs what is known of an address that the settings or the rules name."""
    return {
        "email": one.address if whole else shortened(one.address),
        "named_in": one.named_in,
        "suppressed": None if one.suppression is None else one.suppression.since,
        "gets": [plain_report(each) for each in one.reports],
    }
