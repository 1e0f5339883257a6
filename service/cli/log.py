"""`coursebell log`: who decided what, and when."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import click

from ledger.engine import reading
from ledger.interventions import Decision, decisions
from ledger.undecided import kinds_of_actions
from service.cli.common import (
    Moment,
    as_json,
    local,
    opened_ledger,
    print_json,
    printable,
    settings_now,
)
from workers.actions.registry import number_of

_MOST_IDS = 10  # on a line
_NUMBER = "number"  # beside the detail of a decision: how many of what it was about


@click.command()
@click.option("--since", type=Moment(), help="Only from then on, such as 7d.  [default: all]")
@click.option("--last", type=click.IntRange(min=1), metavar="N", help="Only the last N.")
@as_json
def log(*, since: datetime | None, last: int | None, as_json: bool) -> None:
    """Show who changed the mode, paused, released or skipped.

    Also who held, closed, resent, restored, accepted a forecast or changed a member's preferences.
    The log holds numbers of emails and Ids of courses, no names and no addresses of members.
    """
    settings = settings_now()
    with opened_ledger(settings) as engine, reading(engine) as connection:
        found = decisions(connection, since)
        found = found if last is None else found[-last:]
        ids = {each for one in found for each in one.detail.get("action_ids", ())}
        kinds = {} if as_json else kinds_of_actions(connection, ids)
    if as_json:
        print_json(found)
        return
    if not found:
        click.echo("Nothing was decided yet." if since is None else "Nothing was decided since.")
    for one in found:
        click.echo(printable(f"{local(one.at)}  {one.who}  {_sentence(one, kinds)}"))


def _sentence(one: Decision, kinds: Mapping[int, str]) -> str:
    """Return an entry in words; `kinds` are those of actions, by Id, as far as they still exist."""
    words = _SENTENCES.get(one.what)
    if words is None:
        return one.what
    ids = one.detail.get("action_ids", ())
    known = {kinds[each] for each in ids if each in kinds}
    return words({**one.detail, _NUMBER: number_of(len(ids), known)})


def _emails(verb: str) -> Callable[[Mapping[str, Any]], str]:
    def sentence(detail: Mapping[str, Any]) -> str:
        if "lookups" in detail:
            number = detail["lookups"]
            return f"{verb} {number} failed lookup{'' if number == 1 else 's'}"
        ids = detail.get("action_ids", ())
        reason = f" held for {detail['reason']}" if detail.get("reason") else ""
        return f"{verb} {detail[_NUMBER]}{reason}{_listed(ids)}"

    return sentence


def _listed(ids: Sequence[int]) -> str:
    if not ids:
        return ""
    rest = f" and {len(ids) - _MOST_IDS} more" if len(ids) > _MOST_IDS else ""
    return f": {', '.join(str(one) for one in ids[:_MOST_IDS])}{rest}"


def _paused(detail: Mapping[str, Any]) -> str:
    number = detail["pause_id"]
    scope, target = detail["scope"], detail.get("target")
    what = "everything" if scope == "all" else f"one {scope}" if target is None else scope
    until = detail.get("until")
    ends = "" if until is None else f" until {local(datetime.fromisoformat(until))}"
    return f"paused {what}{'' if target is None else f' {target}'}{ends} (pause {number})"


def _resumed(detail: Mapping[str, Any]) -> str:
    numbers = detail.get("pause_ids", ())
    ids = detail.get("action_ids", ())
    pauses = "pause" if len(numbers) == 1 else "pauses"
    freed = f"{detail[_NUMBER]} no longer held{_listed(ids)}"
    return f"ended {pauses} {', '.join(map(str, numbers))}; {freed}"


def _restored(detail: Mapping[str, Any]) -> str:
    number = detail.get("held", 0)
    held = "1 message" if number == 1 else f"{number} messages"
    return f"restored the ledger from a backup; {held} held, as they may have been sent"


def _preferences(detail: Mapping[str, Any]) -> str:
    words = [f"stopped {name}" for name in detail.get("stop", ())]
    words += [f"allowed {name}" for name in detail.get("allow", ())]
    until = detail.get("snooze_until")
    if until is not None:
        words.append(f"snoozed all until {local(datetime.fromisoformat(until))}")
    if detail.get("ends_snooze"):
        words.append("ended the snooze")
    weekly = detail.get("weekly")
    if weekly is not None:
        words.append("finished lessons " + ("once a week" if weekly else "after each sitting"))
    return f"changed emails to {_whom(detail)}: {', '.join(words)}"


def _lifted(detail: Mapping[str, Any]) -> str:
    return f"allowed emails to {_whom(detail)} again, after one had bounced"


def _whom(detail: Mapping[str, Any]) -> str:
    return f"coworker {detail['coworker_id']}" if "coworker_id" in detail else "an address"


def _accepted(detail: Mapping[str, Any]) -> str:
    rules = ", ".join(f"{rule} {number}" for rule, number in detail["per_day"].items())
    return f"accepted a forecast of emails on the busiest day: {rules or 'no rule'}"


def _user(detail: Mapping[str, Any]) -> str:
    whose = f"account {detail['operator_id']}"
    if "added" in detail:
        return f"added {whose} with the role {detail['added']}"
    if "role" in detail:
        return f"gave {whose} the role {detail['role']}"
    if "invited" in detail:
        return f"entered an address by which {whose} may be connected with the sign-in provider"
    if "connected" in detail:
        return f"connected {whose} with the sign-in provider"
    return f"closed {whose}" if detail.get("closed") else f"made a link to sign in to {whose}"


_SENTENCES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "start": lambda _: "moved the start of sending to that moment, as it was in the future",
    "mode": lambda detail: f"changed the mode to {detail['mode']}",
    "pause": _paused,
    "resume": _resumed,
    "hold": _emails("held"),
    "release": _emails("released"),
    "skip": _emails("skipped"),
    "close": _emails("closed"),
    "resend": _emails("resent"),
    "restore": _restored,
    "move": lambda _: "moved the ledger to another database",
    "accept-forecast": _accepted,
    "preferences": _preferences,
    "lift": _lifted,
    "user": _user,
    "test-email": lambda detail: (
        f"sent a test of the email {detail['template']} about coworker {detail['coworker_id']}"
    ),
}
