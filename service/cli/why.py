"""`coursebell why`: one person's events, the emails about them, and why any was not sent."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime

import click
import structlog

from ledger.engine import Connection, reading
from ledger.stories import EventView, TitledEvent
from schemas.actions import MEMBER
from schemas.errors import SourceError
from schemas.settings import Settings
from service.cli.common import (
    OUT_OF_REACH,
    as_json,
    audience_word,
    command_clock,
    local,
    opened_ledger,
    print_json,
    print_lines,
    reason_given,
    settings_now,
    shortened,
    show_addresses,
    with_own_broker,
)
from service.cli.history_lines import answer, history_lines
from service.cli.outcomes import sending_text
from service.cli.people import (
    NOBODY_KNOWN,
    PeopleQuery,
    as_typed,
    people_at_nexudus,
    print_candidates,
    unknown_address,
)
from service.cli.readers import (
    address_lines,
    address_reader,
    plain_address,
    plain_report,
    report_texts,
    reports_to_host,
)
from service.cli.selection import known_course
from service.cli.source_access import open_sync
from service.people_search import PersonMatch, coworker_id_in, is_ambiguous, matching_people
from service.person_history import HistoryFilter, PersonHistory, person_history
from workers.reports.listing import ReportLine
from workers.source.limits import Patience, Urgency
from workers.sync.compare import Difference, DifferenceKind
from workers.sync.listed_rows import WORDS
from workers.sync.person_check import PersonCheck, check_person

NOBODY = 1
_NOT_AT_NEXUDUS = "Nexudus has no course member with exactly this address either."
_WHO_IS_UNKNOWN = "Try part of their name or address, or their Id from Nexudus: coursebell why 1234"
_PATIENCE_S = 30.0  # no request to Nexudus starts later than this
_DIFFERS: Mapping[DifferenceKind, str] = {
    DifferenceKind.MISSING: "Nexudus has it, and it is not known here",
    DifferenceKind.GONE: "it is known here, and Nexudus no longer has it",
    DifferenceKind.DIFFERENT: "Nexudus has another version than was read here",
}


@dataclass(frozen=True, slots=True)
class _Asked:
    """What Nexudus has of a person now. `error` is why it could not be asked."""

    check: PersonCheck | None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class _Answer:
    """What is known of one person, and what they get as a host of courses."""

    history: PersonHistory
    gets: list[ReportLine]
    asked: _Asked | None


@click.command()
@click.argument("who", metavar="EMAIL")
@click.option("--course", metavar="COURSE", help="Only about this course, by Id or title.")
@click.option("--lesson", metavar="TEXT", help="Only about lessons with this in their title.")
@click.option("--ask", is_flag=True, help="Ask Nexudus now, and say what differs.")
@click.option("--trace", is_flag=True, help="Show for each event which rules were tried.")
@as_json
@show_addresses
def why(  # noqa: PLR0913 - one argument for each option
    who: str,
    *,
    course: str | None,
    lesson: str | None,
    ask: bool,
    trace: bool,
    as_json: bool,
    show_addresses: bool,
) -> None:
    """Show what happened to a person, which emails they got, and why.

    EMAIL is their address or part of it with the @. Their Id works too, or part of their name or of
    the address before the @. If several people match, they are listed, unless one matches exactly.
    A whole address that is not known here is looked up at Nexudus.
    """
    settings = settings_now()
    with opened_ledger(settings) as engine:
        with reading(engine) as connection:
            people = matching_people(connection, as_typed(who))
            course_id = None if course is None else known_course(connection, course)
            reader = address_reader(connection, settings, engine, who)
        query = None if reader else _query_nexudus(settings, who, people)
        people = (query.people if query else []) or people
        is_unclear = is_ambiguous(people) and not as_json
        wanted = HistoryFilter(course_id, lesson)
        with reading(engine) as connection:
            found = [] if is_unclear else _histories(connection, settings, people, who, wanted)
            gets = {
                one.coworker_id: reports_to_host(connection, settings, engine, one.coworker_id)
                for one in found
            }
    asked = {one.coworker_id: _ask(settings, one.coworker_id) for one in found if ask}
    answers = [_Answer(one, gets[one.coworker_id], asked.get(one.coworker_id)) for one in found]
    if is_unclear:
        print_candidates(people, whole=show_addresses)
    elif as_json:
        plain = [_as_plain(one, command_clock().now(), whole=show_addresses) for one in answers]
        named = [] if reader is None else [plain_address(reader, whole=show_addresses)]
        print_json(plain + named)
    if not as_json:
        for one in answers:
            _print_answer(one, whole=show_addresses, traced=trace)
        if reader is not None:
            print_lines(address_lines(reader, who, whole=show_addresses))
    if not found and reader is None:
        for line in [] if is_unclear else _unknown_lines(query):
            click.echo(line, err=True)
        raise SystemExit(NOBODY)
    if any(one.error for one in asked.values()):
        raise SystemExit(OUT_OF_REACH)


def _print_answer(one: _Answer, *, whole: bool, traced: bool) -> None:
    """Print one person's history, what they get as a host, and what Nexudus has now."""
    print_lines(history_lines(one.history, command_clock().now(), whole=whole, traced=traced))
    for report in one.gets:
        print_lines(f"  {line}" for line in report_texts(report, is_reader_known=True))
    print_lines(_asked_lines(one.history.coworker_id, one.asked))


def _query_nexudus(settings: Settings, who: str, known: list[PersonMatch]) -> PeopleQuery | None:
    """Look up at Nexudus an address that none of these has; None if there is none to look up."""
    address = unknown_address(who, known)
    if address is None:
        return None
    _silence_logs()
    return people_at_nexudus(settings, address)


def _silence_logs() -> None:
    """Drop log lines of the source client, which would mix with the lines printed for people."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def _unknown_lines(query: PeopleQuery | None) -> Iterator[str]:
    yield NOBODY_KNOWN
    if query is not None:
        yield (
            _NOT_AT_NEXUDUS
            if query.error is None
            else f"Nexudus could not be asked: {query.error}. To find the cause: coursebell doctor"
        )
    yield _WHO_IS_UNKNOWN


def _histories(
    connection: Connection,
    settings: Settings,
    people: list[PersonMatch],
    who: str,
    wanted: HistoryFilter,
) -> list[PersonHistory]:
    unknown = None if people else coworker_id_in(who)
    ids = [one.coworker_id for one in people] + ([] if unknown is None else [unknown])
    known = {one.coworker_id: one for one in people}
    now = command_clock().now()
    found = (
        person_history(
            connection, settings, one, known.get(one), wanted=wanted, now=now, in_full=True
        )
        for one in ids
    )
    return [one for one in found if one is not None]


def _ask(settings: Settings, coworker_id: int) -> _Asked:
    """Compare what Nexudus has of a person now with what is known here. Nothing is stored."""
    _silence_logs()
    patience = Patience(Urgency.PERSON, command_clock().monotonic() + _PATIENCE_S, lambda: None)
    try:
        with open_sync(with_own_broker(settings)) as sync:
            return _Asked(check_person(sync, coworker_id, patience))
    except SourceError as error:
        return _Asked(None, reason_given(error))


def _asked_lines(coworker_id: int, asked: _Asked | None) -> Iterator[str]:
    if asked is None:
        return
    check = asked.check
    if check is None:
        yield f"  Nexudus could not be asked: {asked.error}. To find the cause: coursebell doctor"
        return
    counts = _counted(check)
    if not check.differences:
        rest = "the same as here" if not check.under_way else f"{check.under_way} being read now"
        yield f"  Nexudus has {counts}: {rest}"
        return
    yield f"  Nexudus has {counts}. It differs from what is known here:"
    for one in check.differences:
        yield f"    {_difference_text(one)}"
    yield f"  To read them, and see the emails first: coursebell backfill --person {coworker_id}"


def _counted(check: PersonCheck) -> str:
    members = "1 enrolment" if check.enrolments == 1 else f"{check.enrolments} enrolments"
    done = (
        "1 finished lesson" if check.completions == 1 else f"{check.completions} finished lessons"
    )
    return f"{members} and {done}"


def _difference_text(one: Difference) -> str:
    row = one.row
    kind, _ = WORDS[row.entity]
    title = row.lesson or row.course
    about = f"{kind} {row.record_id}{f' ({title})' if title else ''}"
    return f"{local(row.at)}  {about}: {_DIFFERS[one.way]}"


def _as_plain(answered: _Answer, now: datetime, *, whole: bool) -> dict[str, object]:
    one, asked = answered.history, answered.asked
    email = None if one.person is None else one.person.email
    return {
        "name": None if one.person is None else one.person.full_name,
        "email": email if whole else shortened(email),
        "coworker_id": one.coworker_id,
        "answer": answer(one),
        "chosen": {name: asdict(each) for name, each in one.chosen.made.items()},
        "enrolled_before": [{"course": title, **asdict(each)} for each, title in one.earlier],
        "with_sending": {
            str(action_id): sending_text(found, now)
            for action_id, found in one.with_sending.items()
        },
        "events": [_plain_event(each, one, whole=whole) for each in one.events],
        "suppressed": None if one.suppression is None else one.suppression.since,
        "unread": [asdict(each) for each in one.unread],
        "listed_at": one.listed_at,
        "gets": [plain_report(each) for each in answered.gets],
        "nexudus": None if asked is None else _plain_check(asked),
    }


def _plain_event(titled: TitledEvent, one: PersonHistory, *, whole: bool) -> dict[str, object]:
    """Return an event for programs; an email's title is its `subject` there."""
    event: EventView = titled.event
    actions = [asdict(action) for action in event.actions]
    for action in actions:
        action["subject"] = action.pop("title")
        action["reports"] = one.reports.get(action["action_id"], [])
        address = action.pop("recipient")
        action["to"] = audience_word(action.pop("audience"))
        if action["to"] != MEMBER:
            action["email"] = address if whole else shortened(address)
    trace = one.traces.get(event.event_id)
    return {
        "course": titled.course,
        "lesson": titled.lesson,
        **asdict(event),
        "actions": actions,
        "decision": None if trace is None else asdict(trace),
    }


def _plain_check(asked: _Asked) -> dict[str, object]:
    check = asked.check
    if check is None:
        return {"error": asked.error}
    return {
        "enrolments": check.enrolments,
        "finished_lessons": check.completions,
        "under_way": check.under_way,
        "differences": [
            {
                "way": one.way,
                "entity": one.row.entity,
                "record_id": one.row.record_id,
                "course": one.row.course,
                "lesson": one.row.lesson,
                "at": one.row.at,
            }
            for one in check.differences
        ],
    }
