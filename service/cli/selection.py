"""Options that say which emails, courses, rules and people a command is about."""

import shlex
from collections.abc import Callable
from typing import Any

import click

from ledger.courses import course_titles
from ledger.engine import Connection
from ledger.pauses import is_report
from ledger.queries import EmailFilter, rules_in_use
from schemas.errors import ConfigurationError
from schemas.reasons import Reason
from schemas.rules import OWN_REPORTS
from schemas.settings import Settings
from schemas.text import folded, nearest
from service.cli.common import EmailId
from service.cli.people import NOBODY_KNOWN, as_typed, print_candidates
from service.people_search import is_ambiguous, matching_people
from workers.rules_file import read_rules

NOT_DONE = 1
Command = Callable[..., Any]

_OPTIONS = (
    click.option("--rule", metavar="NAME", help="Those of this rule."),
    click.option("--course", metavar="COURSE", help="Those about this course, by Id or title."),
    click.option("--person", metavar="WHO", help="Those to or about them, by address, Id or name."),
)


def filter_options(*reasons: Reason) -> Callable[[Command], Command]:
    """Add to a command the IDs of emails and the options that choose emails.

    `reasons` are those that `--reason` takes.
    """
    reason = click.option(
        "--reason",
        type=click.Choice([one.value for one in reasons]),
        metavar="CODE",
        help=f"All with this reason, such as {reasons[0]}.",
    )
    ids = click.argument("action_ids", metavar="[ID]...", nargs=-1, type=EmailId())
    return lambda command: ids(reason(scope_options(command)))


def scope_options(command: Command) -> Command:
    """Add the options that choose a rule, a course or a person to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def filter_from(connection: Connection, settings: Settings, given: dict[str, Any]) -> EmailFilter:
    """Return which emails these options mean.

    Raises:
        SystemExit: a rule, course or person is not known here; the message names the nearest.
    """
    reason, rule, course, person = (given[name] for name in ("reason", "rule", "course", "person"))
    return EmailFilter(
        given["action_ids"],
        None if reason is None else Reason(reason),
        None if rule is None else known_rule(connection, settings, rule),
        None if course is None else known_course(connection, course),
        None if person is None else known_person(connection, person),
    )


def arguments_of(given: dict[str, Any]) -> str:
    """Return these options as they are typed."""
    options = ("reason", "rule", "course", "person")
    ids = [str(one) for one in given["action_ids"]]
    used = [name for name in options if given[name] is not None]
    words = [f"--{name} {shlex.quote(given[name])}" for name in used]
    return " ".join([*ids, *words])


def known_rule(connection: Connection, settings: Settings, name: str) -> str:
    """Return the name of a rule that the rules file has, or that emails here are of.

    Raises:
        SystemExit: there is none.
    """
    names, _ = _names_in_rules(settings)
    names |= rules_in_use(connection)
    if name in names:
        return name
    raise _unknown(f"There is no rule called {name}", nearest(name, names))


def known_rule_or_report(connection: Connection, settings: Settings, name: str) -> str:
    """Return the name of a rule, as `known_rule`, or of a digest or a report to operators.

    Raises:
        SystemExit: there is none.
    """
    rules, digests = _names_in_rules(settings)
    if names_report(connection, settings, name):
        return name
    names = rules | rules_in_use(connection)
    if name in names:
        return name
    meant = nearest(name, names | digests | set(OWN_REPORTS))
    raise _unknown(f"There is no rule or report called {name}", meant)


def names_report(connection: Connection, settings: Settings, name: str | None) -> bool:
    """Return whether this is the name of a digest or of a report to operators."""
    return name in _names_in_rules(settings)[1] or is_report(connection, name)


def _names_in_rules(settings: Settings) -> tuple[set[str], set[str]]:
    """Return the names of rules and of digests in the rules file; none if it has mistakes."""
    try:
        rules = read_rules(settings)
    except ConfigurationError:
        return set(), set()  # `coursebell status` reports it; emails of its rules may exist anyway
    return {one.name for one in rules.rules}, {one.name for one in rules.digests}


def known_course(connection: Connection, text: str) -> int:
    """Return the Id of the course with this Id or title.

    Raises:
        SystemExit: none is known here, or several have this title.
    """
    titles = course_titles(connection)
    if text.isascii() and text.isdigit() and int(text) in titles:
        return int(text)
    found = [one for one, title in titles.items() if folded(title) == folded(text)]
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(str(one) for one in sorted(found))
        click.echo(f"Several courses are called {text}. Use the Id of one: {ids}", err=True)
        raise SystemExit(NOT_DONE)
    raise _unknown(
        f"No course known here has the Id or title {text}", nearest(text, titles.values())
    )


def known_person(connection: Connection, who: str) -> int:
    """Return the Id of the one person who matches.

    Raises:
        SystemExit: nobody does, or several do.
    """
    found = matching_people(connection, as_typed(who))
    if not found:
        click.echo(NOBODY_KNOWN, err=True)
        raise SystemExit(NOT_DONE)
    if is_ambiguous(found) or len({one.coworker_id for one in found}) > 1:
        print_candidates(found, whole=False)
        raise SystemExit(NOT_DONE)
    return found[0].coworker_id


def _unknown(sentence: str, meant: str | None) -> SystemExit:
    click.echo(f"{sentence}{f'; did you mean {meant}?' if meant else '.'}", err=True)
    return SystemExit(NOT_DONE)
