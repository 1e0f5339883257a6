"""What another value of a setting would have done: the past played with it, to compare."""

from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from flask import Response, request
from marshmallow import ValidationError

from schemas.rules import Rules
from schemas.rules.form import TimingSchema
from schemas.rules.loading import NO_TIME
from service.desk.past_player import Played
from service.desk.visit import Visit
from service.desk.wording import words

_LONGEST_VALUE = 100  # characters
_AGAIN_S = "3"
# The settings to try, by their keys in the rules file.
_NAMES = {
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
    if key not in _NAMES:
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


def _page(
    visit: Visit,
    filled: tuple[str, str],
    found: Played | None = None,
    *,
    problem: str = "",
    why: str = "",
) -> Response:
    key, value = filled
    return visit.page(
        "what_if.html",
        422 if problem else 200,
        offered={one: visit.language.say(named) for one, named in _NAMES.items()},
        key=key,
        value=value,
        found=found,
        problem=problem,
        why=why,
    )
