"""`coursebell pause` and `resume`: hold all emails, or some, and let them go again."""

import re
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import click

from ledger.engine import Connection, reading
from ledger.pauses import Pause, PauseScope, open_pauses
from schemas.settings import Settings
from service.cli.common import (
    as_json,
    command_clock,
    is_confirmed,
    local,
    needs_confirmation,
    opened_ledger,
    print_json,
    printable,
    settings_now,
    who_decides,
)
from service.cli.outcomes import count_lines
from service.cli.selection import (
    NOT_DONE,
    known_course,
    known_person,
    known_rule_or_report,
    names_report,
    scope_options,
)
from service.pausing import PauseWish, Waited, WaitingCount, begin, end, expected_after
from service.sending_outcomes import SendingOutcomes, counted
from workers.actions.registry import number_of
from workers.attention import pause_label, pause_line
from workers.deliver.forecast import make_send_setup

_AHEAD = re.compile(r"(\d{1,6})([mhd])", re.ASCII)
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


class Until(click.ParamType[datetime]):
    """An option that takes a moment to come: `2d`, a date, or a date and time."""

    name = "moment"

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's own signature: text, or an already converted value
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> datetime:
        """Parse the text; a time without a zone is in COURSEBELL_ZONE.

        Raises:
            click.BadParameter: it is not a moment, or is past.
            ConfigurationError: it needs COURSEBELL_ZONE, and the settings are wrong.
        """
        if isinstance(value, datetime):
            return value
        text, now = str(value).strip(), command_clock().now()
        try:
            ahead = _AHEAD.fullmatch(text)
            if ahead is not None:
                moment = now + int(ahead[1]) * _UNITS[ahead[2]]
            else:
                moment = datetime.fromisoformat(text)
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=ZoneInfo(settings_now().zone))
            moment = moment.astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail(
                "expected a length such as 3h or 2d, or a date such as 2026-12-01", param, ctx
            )
        if moment <= now:
            self.fail("expected a moment that is still to come", param, ctx)
        return moment


@click.command()
@click.option("--all", "everything", is_flag=True, help="All emails.")
@scope_options
@click.option("--until", type=Until(), help="When it ends by itself, such as 2d or 2026-12-01.")
@click.option("--note", default=None, help="Why; shown to others, and kept.")
@click.option("--dry-run", is_flag=True, help="Only count the emails that would wait.")
@as_json
def pause(
    *,
    until: datetime | None,
    note: str | None,
    dry_run: bool,
    as_json: bool,
    **given: Any,  # noqa: ANN401 - the options that choose
) -> None:
    """Hold all emails, or some, until you resume.

    Everything is still received and decided. Emails that become due meanwhile are held, and none is
    lost. --rule also takes the name of a digest, or attention, trouble or summary. --all leaves
    these three, which are to operators. Without an option that says what to pause, it lists the
    pauses.
    """
    settings = settings_now()
    with opened_ledger(settings) as engine:
        with reading(engine) as connection:
            wanted = _scope(connection, settings, given)
            if wanted is None:
                _print_pauses(connection, as_json=as_json)
                return
            report = wanted[1] if given["rule"] else None
            report = report if names_report(connection, settings, report) else None
            label = f"the report {report}" if report else pause_label(connection, *wanted)
        wish = PauseWish(*wanted, until, note, report)
        begun = wish.tried(who_decides(), command_clock().now())
        if dry_run:
            with reading(engine) as connection:
                waiting = WaitingCount.of(connection, begun)
        else:
            begun, waiting = begin(engine, wish, who_decides(), command_clock().now())
    if as_json:
        counts = {"waiting": waiting.emails, "reports": waiting.reports}
        print_json({"pause_id": None if dry_run else begun.pause_id, **counts})
        return
    ends = "" if until is None else f" until {local(until)}"
    verb = "Would pause" if dry_run else "Paused"
    click.echo(printable(f"{verb} {label}{ends}. {_will_wait(waiting, report, dry_run=dry_run)}"))
    if not dry_run:
        click.echo(f"To end it: coursebell resume {begun.pause_id}")


def _will_wait(waiting: WaitingCount, report: str | None, *, dry_run: bool) -> str:
    counts = [
        *([number_of(waiting.emails, waiting.by_kind)] if waiting.emails else []),
        *([_number_of_reports(waiting.reports)] if waiting.reports else []),
    ]
    if report and not counts:
        return "None waits now; one that becomes due is held, a digest for 7 days at most."
    if not counts:
        return "Nothing waits now."
    would = "would" if dry_run else "will"
    verb = "waits" if waiting.emails + waiting.reports == 1 else "wait"
    return f"{' and '.join(counts)} that {verb} now {would} be held."


def _number_of_reports(number: int) -> str:
    return "1 report" if number == 1 else f"{number} reports"


def _scope(
    connection: Connection, settings: Settings, given: dict[str, Any]
) -> tuple[PauseScope, str | None] | None:
    """Return what to pause or resume; None if no option says so.

    Raises:
        click.UsageError: several options do.
        SystemExit: the rule, course or person is not known here.
    """
    chosen = [name for name in ("everything", "rule", "course", "person") if given[name]]
    if len(chosen) > 1:
        raise click.UsageError("Give one of --all, --rule, --course and --person.")
    match chosen:
        case ["everything"]:
            return PauseScope.ALL, None
        case ["rule"]:
            return PauseScope.RULE, known_rule_or_report(connection, settings, given["rule"])
        case ["course"]:
            return PauseScope.COURSE, str(known_course(connection, given["course"]))
        case ["person"]:
            return PauseScope.PERSON, str(known_person(connection, given["person"]))
    return None


def _print_pauses(connection: Connection, *, as_json: bool) -> None:
    found = open_pauses(connection)
    if as_json:
        print_json(found)
        return
    for one in found:
        click.echo(printable(f"{one.pause_id}  {pause_line(connection, one)}"))
    if found:
        click.echo("To end one: coursebell resume, with its number or --all, --rule, …")
    else:
        click.echo(
            "Nothing is paused. To pause: coursebell pause --all, --rule, --course, --person"
        )


@click.command()
@click.argument("pause_ids", metavar="[NUMBER]...", nargs=-1, type=click.IntRange(1))
@click.option("--all", "everything", is_flag=True, help="The pause of all emails.")
@scope_options
@click.option("--skip", "drops", is_flag=True, help="Drop what waited instead of sending it.")
@click.option("--dry-run", is_flag=True, help="Only show what would become of what waited.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@as_json
def resume(
    pause_ids: tuple[int, ...],
    *,
    drops: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    **given: Any,  # noqa: ANN401 - the options that choose
) -> None:
    """End a pause, and send what waited if still right.

    Without a number or option it ends the only pause there is. What waited is checked again: what
    is no longer true is not sent, and what became too old stays held.
    """
    settings = settings_now()
    with opened_ledger(settings) as engine:
        with reading(engine) as connection:
            ended = _meant(connection, settings, pause_ids, given)
            waited = Waited.of(connection, ended)
            lines = list(_resume_lines(connection, settings, ended, waited, drops=drops))
        for line in lines if dry_run or not yes else ():
            click.echo(printable(line), err=as_json or not dry_run)
        if dry_run:
            if as_json:
                counts = {"waited": waited.emails, "reports": len(waited.reports)}
                print_json({"pause_ids": [one.pause_id for one in ended], **counts})
            return
        if not yes and (waited.emails or waited.reports):
            needs_confirmation("coursebell resume --yes, with the same words")
            if not is_confirmed(f"End the pause{'' if len(ended) == 1 else 's'}?"):
                click.echo("Nothing was changed.", err=True)
                raise SystemExit(NOT_DONE)
        freed, skipped = end(engine, ended, who_decides(), command_clock().now(), drops=drops)
    reports = len(waited.reports)
    if as_json:
        shown = {"pause_ids": [one.pause_id for one in ended]}
        print_json(shown | {"resumed": freed, "skipped": skipped, "reports": reports})
        return
    number = len(skipped if drops else freed)
    if not (number or reports or drops):
        click.echo("Resumed. Nothing waited.")
        return
    what = [number_of(number, waited.by_kind)] if number or not reports else []
    what += [_number_of_reports(reports)] if reports else []
    became = "skipped" if drops else "will be checked again, and sent if still right"
    click.echo(f"Resumed. {' and '.join(what)} {became}.")


def _meant(
    connection: Connection,
    settings: Settings,
    pause_ids: Collection[int],
    given: dict[str, Any],
) -> list[Pause]:
    """Return the pauses to end. Raises `SystemExit` if there is none, or it is unclear which."""
    found = open_pauses(connection)
    wanted = _scope(connection, settings, given)
    if pause_ids and wanted is not None:
        raise click.UsageError("Give numbers of pauses, or one of the options, not both.")
    if pause_ids:
        meant = [one for one in found if one.pause_id in pause_ids]
        missing = sorted(set(pause_ids) - {one.pause_id for one in meant})
        if missing:
            click.echo(f"There is no pause {missing[0]}. `coursebell pause` lists them.", err=True)
            raise SystemExit(NOT_DONE)
        return meant
    if wanted is not None:
        found = [one for one in found if (one.scope, one.target) == wanted]
    if len(found) != 1:
        says = "Nothing of that is paused." if wanted or not found else "Several pauses are open."
        click.echo(f"{says} `coursebell pause` lists the pauses.", err=True)
        raise SystemExit(NOT_DONE)
    return found


def _resume_lines(
    connection: Connection,
    settings: Settings,
    ended: Sequence[Pause],
    waited: Waited,
    *,
    drops: bool,
) -> Iterator[str]:
    for one in ended:
        yield pause_line(connection, one)
    if waited.reports:
        became = "will be skipped" if drops else "will be checked again and sent if still right"
        yield f"{_number_of_reports(len(waited.reports))} waited and {became}."
    emails = waited.emails
    if not emails:
        yield from [] if waited.reports else ["Nothing waited."]
        return
    if drops:
        yield f"{number_of(len(emails), waited.by_kind)} waited and will be skipped."
        return
    now = command_clock().now()
    setup = make_send_setup(settings)
    expected = expected_after(connection, setup, ended, emails, now)
    yield f"{number_of(len(emails), waited.by_kind)} waited:"
    yield from count_lines(counted(SendingOutcomes(expected, {}), now), waited.by_kind)
