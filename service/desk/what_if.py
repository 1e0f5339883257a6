"""What another value of a setting would have done: the past played with it, to compare."""

from dataclasses import replace
from datetime import time
from typing import Any
from urllib.parse import urlencode

from flask import Response, request
from marshmallow import ValidationError

from ledger.engine import reading
from ledger.members import names_of_members
from ledger.people import names_of
from schemas.actions import MEMBER
from schemas.rules import Flood, QuietHours, Rules, SendWindow, Stream, Timing
from schemas.rules.form import TimingSchema
from schemas.rules.loading import NO_TIME
from service.desk.past_player import DifferentEmail, Played
from service.desk.visit import Visit
from service.desk.wording import email_title, words

_LONGEST_VALUE = 100  # characters
_AGAIN_S = "3"
_OF_REMINDERS = frozenset({"reminders_per_week", "reminders_per_enrolment", "count_nexudus"})
_UNITS_S = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
# The settings to try, by their keys in the rules file.
OFFERED = {
    "quiet_hours": words("Quiet hours"),
    "cap_per_day": words("Most emails a day per person"),
    "cap_per_week": words("Most emails in seven days per person"),
    "stale_after": words("How old something may be to be written about"),
    "flood": words("How many emails in what time look like an import"),
    "send": words("Hours and days on which emails go"),
    "spread": words("How long the emails of a morning are spread over"),
    "reminders_per_week": words("Most reminders in seven days per person"),
    "reminders_per_enrolment": words("Most reminders about one enrolment"),
}


def show(visit: Visit) -> Response:
    """Show the form, and what is known of the value in the address."""
    key, value = request.args.get("key", ""), visit.query("value", _LONGEST_VALUE)
    rules = visit.pages.rules.setup().rules
    found = visit.pages.past.of((rules.digest, key, value)) if value else None
    response = _page(visit, (key, value), found)
    if found is not None and found.is_open:
        response.headers["Refresh"] = _AGAIN_S
    return response


def play(visit: Visit) -> Response:
    """Begin to play the past with another value."""
    say, setup = visit.language.say, visit.pages.rules.setup()
    key, value = visit.field("key", _LONGEST_VALUE), visit.field("value", _LONGEST_VALUE)
    if key not in OFFERED:
        return _page(visit, ("", value), problem=say("Choose a setting."))
    unusable = say("This value cannot be used.")
    try:
        timing = TimingSchema().load({key: value})
    except ValidationError as error:
        found = error.messages
        why = "; ".join(found.get(key, [])) if isinstance(found, dict) else ""
        return _page(visit, (key, value), problem=unusable, why=why)
    name = TimingSchema().fields[key].attribute or key
    new = replace(setup, rules=with_timing(setup.rules, name, getattr(timing, name)))
    if not new.rules.leave_time():  # as the rules file is refused
        return _page(visit, (key, value), problem=unusable, why=NO_TIME.format(words=""))
    if not visit.pages.past.ask((setup.rules.digest, key, value), setup, new):
        return _page(visit, (key, value), problem=say("Another value is being tried. Please wait."))
    return visit.see_other(f"/settings/try?{urlencode({'key': key, 'value': value})}")


def with_timing(rules: Rules, name: str, value: object) -> Rules:
    """Return the rules as if the file set this for all rules that set nothing themselves."""
    changed: dict[str, Any] = {name: value}
    return replace(
        rules,
        rules=tuple(
            one if name in one.own_timing else replace(one, timing=replace(one.timing, **changed))
            for one in rules.rules
        ),
    )


def usual_timing(rules: Rules) -> dict[str, object]:
    """Return by key of `timing` what the rules file sets for rules that set nothing themselves."""
    usual: dict[str, object] = {}
    every = [one for one in rules.rules if MEMBER in one.to]
    reminders = any(one.stream is Stream.REMINDER for one in every)
    for name in Timing.__dataclass_fields__:
        if name in _OF_REMINDERS and not reminders:
            continue
        own = [one for one in every if name not in one.own_timing]
        first = next((one for one in own if one.stream is Stream.SERVICE), None)
        first = first or next(iter(own), None)
        usual[name] = getattr(Timing() if first is None else first.timing, name)
    return usual


def present_values(rules: Rules) -> dict[str, str]:
    """Return the settings to try as the rules file would have them now, by key."""
    usual, fields = usual_timing(rules), TimingSchema().fields
    names = {key: fields[key].attribute or key for key in OFFERED}
    return {key: as_written(name, usual[name]) for key, name in names.items() if name in usual}


def as_written(name: str, value: object) -> str:
    """Return a value of `Timing` as the rules file has it."""
    match value:
        case QuietHours():
            return f"{value.start:%H:%M}-{value.end:%H:%M}"
        case SendWindow():
            end = "24:00" if value.end == time() else f"{value.end:%H:%M}"
            return f"{value.start:%H:%M}-{end} {_days(sorted(value.days))}"
        case Flood():
            return f"{value.count}/{_duration(value.window_s)}"
        case int() if name.endswith("_s"):
            return _duration(value)
    return "none" if value is None else str(value)


def _duration(seconds: int) -> str:
    unit, length = next(one for one in _UNITS_S if seconds % one[1] == 0)
    return f"{seconds // length}{unit}"


def _days(days: list[int]) -> str:
    """Return days of the week as `mon-fri`, or as `mon,wed`."""
    if days == list(range(days[0], days[-1] + 1)) and len(days) > 1:
        return f"{_DAYS[days[0]]}-{_DAYS[days[-1]]}"
    return ",".join(_DAYS[one] for one in days)


def _different(visit: Visit, found: Played) -> list[tuple[DifferentEmail, str, str]]:
    """Return the emails that would differ, with the name of the person and that of the email."""
    ids = {one.email.coworker_id for one in found.different}
    with reading(visit.pages.engine) as connection:
        names = names_of(connection, ids)
        names = names_of_members(connection, ids - names.keys()) | names
    return [
        (
            one,
            names.get(one.email.coworker_id) or visit.member_name(one.email.coworker_id),
            email_title(visit.language, one.email.template)
            if one.email.template
            else visit.rule_title(one.email.rule),
        )
        for one in found.different
    ]


def _page(
    visit: Visit,
    filled: tuple[str, str],
    found: Played | None = None,
    *,
    problem: str = "",
    why: str = "",
) -> Response:
    key, value = filled
    present = present_values(visit.pages.rules.setup().rules)
    return visit.page(
        "what_if.html",
        422 if problem else 200,
        offered={one: visit.language.say(named) for one, named in OFFERED.items()},
        present=present,
        different=_different(visit, found) if found and found.different else [],
        key=key,
        value=value,
        found=found,
        problem=problem,
        why=why,
    )
