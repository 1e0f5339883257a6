"""`coursebell reports`: lists the alerts, summaries and digests, and previews one."""

from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import click

from ledger.engine import Connection, reading
from schemas.actions import HOST, Outcome, audience_of
from schemas.errors import DeliveryRefused
from schemas.reasons import EXPLANATIONS
from schemas.rules import Digest
from service.cli.common import (
    as_json,
    command_clock,
    opened_ledger,
    print_json,
    printable,
    settings_now,
    shortened,
)
from service.cli.config import write_private
from service.cli.main import Commands
from service.cli.readers import plain_report, report_texts, report_tools
from service.cli.selection import NOT_DONE, known_person
from workers.actions.base import Prepared
from workers.reports.listing import draft_now, previewed, report_lines
from workers.reports.situation import FOR_OPERATORS
from workers.reports.study import hosts_of_digest
from workers.reports.tools import ReportTools
from workers.rules_file import read_rules


@click.group(cls=Commands, invoke_without_command=True)
@as_json
@click.pass_context
def reports(context: click.Context, *, as_json: bool) -> None:
    """List the alerts, summaries and digests, or preview one.

    It says to whom each goes, what became of the last one, and when the next is due. Alerts and the
    summary go to COURSEBELL_OPERATOR_EMAIL, digests to whom the rules say.
    """
    if context.invoked_subcommand is not None:
        return
    settings, now = settings_now(), command_clock().now()
    with opened_ledger(settings) as engine, reading(engine) as connection:
        tools = report_tools(settings, engine, read_rules(settings))
        lines = list(report_lines(connection, tools, now))
    if as_json:
        print_json([plain_report(one) for one in lines])
        return
    if not lines:
        click.echo("There are none. Set COURSEBELL_OPERATOR_EMAIL for alerts and a summary;")
        click.echo("digests are listed in the rules file, under `digests`.")
    elif not tools.email.is_set_up:
        click.echo("No mail server or no sender is set, so no report is planned.")
    for one in lines:
        for line in report_texts(one):
            click.echo(printable(line))


@reports.command()
@click.argument("name")
@click.option("--to", "who", metavar="WHO", help="Which reader: an address, or a host.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where to write the files.  [default: ./preview]",
)
@as_json
def preview(name: str, *, who: str | None, folder: Path | None, as_json: bool) -> None:
    """Write a report as it would be now; nothing is sent.

    NAME is attention, trouble, summary or a digest of the rules, which is about the last days until
    now. It is written as HTML, text and .eml from what the ledger has, readable only by you.
    """
    settings, now = settings_now(), command_clock().now()
    with opened_ledger(settings) as engine, reading(engine) as connection:
        tools = report_tools(settings, engine, read_rules(settings))
        if name in FOR_OPERATORS and not tools.operators:
            # What it would say is of interest before an address is set.
            tools = replace(tools, settings=replace(settings, operator_email=("you@example.org",)))
        elif name not in FOR_OPERATORS and tools.rules.digest_named(name) is None:
            known = ", ".join([*FOR_OPERATORS, *(one.name for one in tools.rules.digests)])
            click.echo(f"There is no report {printable(name)}; there are {known}.", err=True)
            raise SystemExit(NOT_DONE)

        def reader(digest: Digest) -> tuple[str, int | None]:
            return _chosen_reader(connection, digest, who)

        report, draft = draft_now(connection, tools, name, reader, now)
    if isinstance(draft, Outcome):
        sentence = EXPLANATIONS[draft.reason].sentence if draft.reason else draft.state
        click.echo(f"Now it would not be sent, {draft.reason}: {sentence}.", err=True)
        raise SystemExit(NOT_DONE)
    try:
        prepared = previewed(tools, report, draft, now)
    except DeliveryRefused as error:
        click.echo(f"This report cannot be written: {error}.", err=True)
        raise SystemExit(NOT_DONE) from None
    files = _written(tools, prepared, name, folder or Path("preview"))
    if as_json:
        to = shortened(prepared.recipient)
        print_json({"subject": prepared.title, "to": to, "files": [str(path) for path in files]})
        return
    click.echo(printable(f"Subject: {prepared.title}"))
    click.echo(printable(f"To:      {draft.reader.name or shortened(prepared.recipient)}"))
    for path in files:
        click.echo(printable(f"Written: {path}"))


def _written(tools: ReportTools, prepared: Prepared, name: str, folder: Path) -> list[Path]:
    """Write the report as HTML, text and a message; return the files."""
    page = tools.email.printable(prepared.copy, to=None, written_at=None)
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        folder / f"{name}.html": (page.html or "").encode(),
        folder / f"{name}.txt": page.text.encode(),
        folder / f"{name}.eml": prepared.body,
    }
    for path, content in files.items():
        write_private(path, content)
    return list(files)


def _chosen_reader(
    connection: Connection, digest: Digest, who: str | None
) -> tuple[str, int | None]:
    """Return the audience and, if it is a host, their Id; the first without `who`."""
    if not digest.is_to_hosts:
        chosen = next((one for one in digest.to if who in {None, one}), None)
        if chosen is None:
            _unknown_reader(digest)
        return audience_of(chosen or "") or "", None
    hosts = hosts_of_digest(connection, digest)
    host_id = next(iter(hosts), None) if who is None else known_person(connection, who)
    if host_id is None or host_id not in hosts:
        _unknown_reader(digest)
    return HOST, host_id


def _unknown_reader(digest: Digest) -> NoReturn:
    whom = "a host of a course that it is about" if digest.is_to_hosts else "one of its addresses"
    click.echo(f"The digest {digest.name} goes to no such reader; name {whom}.", err=True)
    raise SystemExit(NOT_DONE)
