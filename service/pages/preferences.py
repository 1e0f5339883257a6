"""The member's preference page and the one-click unsubscribe, behind signed links.

A GET never changes anything, since link scanners and mail programs fetch every link. A POST that
stops emails is always accepted, however often and from whatever address: mail providers send the
clicks of many members from few addresses. What a POST allows again is limited for each member, and
links that are not genuine are limited for each address.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pkgutil import resolve_name
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import structlog
from flask import Blueprint, Response, request

from ledger.choices import choices_of, store_choices
from ledger.clock import Clock
from ledger.controls import KeyCheck, has_known_key
from ledger.engine import Connection, Engine, reading, writing
from ledger.people import person_of
from schemas.choices import (
    ALL,
    SNOOZE,
    SNOOZES,
    WEEKLY,
    Choice,
    ChoiceOrigin,
    Choices,
    objection_to,
    report_choice,
)
from schemas.errors import ConfigurationError, LedgerUnavailable
from schemas.person import Person
from schemas.rules import Stream
from schemas.settings import Settings
from service.limits import AddressLimit
from workers.preference_links import ONE_CLICK, PAGE, LinkOwner, PreferenceLinks
from workers.secret_key import has_secret_key, secret_key

if TYPE_CHECKING:
    from service.pages.preference_page import PreferencePages

LINK_PATHS = (PAGE, ONE_CLICK)
MOST_FORM_BYTES = 4 * 1024
LESSON_EMAILS = {"sitting": False, "weekly": True}  # how often; whether that is once a week
_SAVE, _STOP = "save", "stop"  # the buttons of the form
_NO_KEY = "COURSEBELL_SECRET_KEY: the ledger belongs to a secret key that is not here"
_ONE_CLICK_FORM = ("List-Unsubscribe", "One-Click")  # RFC 8058, section 3.2

_log = structlog.get_logger("preferences")


@dataclass(frozen=True, slots=True)
class LinkedMember:
    """The owner of a link. `person` is None if they are not known here, as after an erase.

    `has_address`: the link was sent to the address that they have now.
    """

    person: Person | None
    chosen: Choices
    keys: frozenset[str]
    has_address: bool


class _UnknownLink(Exception):
    """The token is not genuine."""


class _TooMany(Exception):
    """The choices of one member changed too often."""


def preference_routes(settings: Settings, engine: Engine, clock: Clock) -> Blueprint:
    """Return the routes of the preference page and of the one-click unsubscribe."""
    routes = Blueprint("preferences", __name__)
    views = _Views(settings, engine, clock)
    strangers = AddressLimit(clock)

    @routes.before_request
    def limit_form() -> None:
        request.max_content_length = MOST_FORM_BYTES

    for method, path, own, of_report in (
        (routes.get, PAGE, views.show, views.show_report),
        (routes.post, PAGE, views.change, views.change_report),
        (routes.get, ONE_CLICK, views.lead_to_page, views.lead_to_report),
        (routes.post, ONE_CLICK, views.stop, views.stop_report),
    ):
        method(f"{path}<token>", endpoint=own.__name__)(_either(views, own, of_report))

    @routes.errorhandler(_UnknownLink)
    def unknown_link(_: _UnknownLink) -> Response:
        is_over = strangers.count(request.remote_addr or "")
        return views.pages.too_many() if is_over else views.pages.unknown_link()

    @routes.errorhandler(_TooMany)
    def too_many(_: _TooMany) -> Response:
        return views.pages.too_many()

    @routes.errorhandler(LedgerUnavailable)
    @routes.errorhandler(ConfigurationError)
    def unavailable(error: Exception) -> Response:
        _log.error("preferences.unavailable", error=str(error))
        return views.pages.unavailable()

    return routes


def _either(
    views: "_Views",
    own: Callable[[str], Response],
    of_report: Callable[[str, tuple[str, str]], Response],
) -> Callable[[str], Response]:
    """Return a view that tells the link of a member from that of a report."""

    def view(token: str) -> Response:
        report = views.report_of(token)
        return own(token) if report is None else of_report(token, report)

    return view


@dataclass(frozen=True, slots=True)
class _Key:
    """The secret key, what it signs, and whether the ledger belongs to it."""

    text: str
    links: PreferenceLinks
    check: KeyCheck


class _Views:
    """What the routes answer."""

    def __init__(self, settings: Settings, engine: Engine, clock: Clock) -> None:
        self._settings = settings
        self._engine = engine
        self._clock = clock
        self._changes = AddressLimit(clock)
        self._lock = threading.Lock()
        self._known_key: _Key | None = None
        self._pages: PreferencePages | None = None

    @property
    def pages(self) -> "PreferencePages":
        """What writes the pages; imported with the first of them, as receiving needs none of it."""
        if self._pages is None:
            make = resolve_name("service.pages.preference_page:PreferencePages")
            self._pages = make(self._settings)
        return self._pages

    def show(self, token: str) -> Response:
        """Show what the owner chose. Changes nothing."""
        now, owner = self._clock.now(), self._owner(token)
        self._key.check.check(now)
        with reading(self._engine) as connection:
            member = self._member(connection, owner)
        return self.pages.preferences(member, token, now)

    def change(self, token: str) -> Response:
        """Store what the owner chose in the form."""
        owner, button = self._owner(token), request.form.get("act")
        if button not in {_SAVE, _STOP}:
            return self.pages.unusable_form()
        origin = ChoiceOrigin.PAGE
        self._store(owner, _Stop(ALL, origin) if button == _STOP else _Form.sent(origin))
        return self.pages.see_other(f"{token}?saved=1")

    def lead_to_page(self, token: str) -> Response:
        """Lead from a one-click link to the owner's page. Changes nothing."""
        owner, _ = self._owner_and_stream(token)
        return self.pages.see_other(f"..{PAGE}{self._key.links.page_token(owner)}")

    def stop(self, token: str) -> Response:
        """Switch off the stream of the link, as RFC 8058 has it."""
        owner, stream = self._owner_and_stream(token)
        if not _is_one_click():
            return self.pages.unusable_form()
        self._store(owner, _Stop(stream, ChoiceOrigin.ONE_CLICK))
        with reading(self._engine) as connection:
            person = person_of(connection, owner.coworker_id)
        return self.pages.stopped(f"..{PAGE}{self._key.links.page_token(owner)}", person)

    def report_of(self, token: str) -> tuple[str, str] | None:
        """Return the hash of the address and the name of the report of a link, if it is of one."""
        return self._key.links.read_report(token)

    def show_report(self, token: str, report: tuple[str, str]) -> Response:
        """Show whether the reader gets a report, and the button to change it. Changes nothing."""
        del token
        self._key.check.check(self._clock.now())
        with reading(self._engine) as connection:
            chosen = choices_of(connection, [report[0]])
        return self.pages.report(is_stopped=chosen.stopped_report_at(report[1]) is not None)

    def change_report(self, token: str, report: tuple[str, str]) -> Response:
        """Stop a report, or send it again from now on."""
        button = request.form.get("act")
        if button not in {_SAVE, _STOP}:
            return self.pages.unusable_form()
        self._store_report(report, ChoiceOrigin.PAGE, is_wanted=button == _SAVE)
        return self.pages.see_other(token)

    def lead_to_report(self, token: str, report: tuple[str, str]) -> Response:
        """Lead from a one-click link to the page. Changes nothing."""
        del report
        return self.pages.see_other(f"..{PAGE}{token}")

    def stop_report(self, token: str, report: tuple[str, str]) -> Response:
        """Stop a report, as RFC 8058 has it."""
        if not _is_one_click():
            return self.pages.unusable_form()
        self._store_report(report, ChoiceOrigin.ONE_CLICK, is_wanted=False)
        return self.pages.stopped(f"..{PAGE}{token}")

    def _store_report(
        self, report: tuple[str, str], origin: ChoiceOrigin, *, is_wanted: bool
    ) -> None:
        """Store the choice. Raises `_TooMany` if it was changed back too often."""
        now, (key, name) = self._clock.now(), report
        self._key.check.check(now)
        if is_wanted and self._changes.count(key):
            raise _TooMany
        choice = Choice(agreed=is_wanted, chosen_at=now, origin=origin)
        with writing(self._engine) as connection:
            if (choices_of(connection, [key]).stopped_report_at(name) is None) != is_wanted:
                store_choices(connection, [key], {report_choice(name): choice})
        _log.info("preferences.changed", names=[report_choice(name)])

    @property
    def _key(self) -> _Key:
        """The secret key.

        Raises:
            _UnknownLink: there is none yet, so no link can be genuine.
            ConfigurationError: the ledger belongs to a key that is not here.
        """
        with self._lock:
            if self._known_key is None:
                if not has_secret_key(self._settings):
                    if has_known_key(self._engine):
                        raise ConfigurationError([_NO_KEY])
                    raise _UnknownLink
                text = secret_key(self._settings)
                links = PreferenceLinks(self._settings.public_url, text)
                self._known_key = _Key(text, links, KeyCheck(self._engine, text))
            return self._known_key

    def _owner(self, token: str) -> LinkOwner:
        owner = self._key.links.read_page(token)
        if owner is None:
            raise _UnknownLink
        return owner

    def _owner_and_stream(self, token: str) -> tuple[LinkOwner, Stream]:
        found = self._key.links.read_one_click(token)
        if found is None:
            raise _UnknownLink
        return found

    def _member(self, connection: Connection, owner: LinkOwner) -> LinkedMember:
        person = person_of(connection, owner.coworker_id)
        email = person.email if person else None
        keys = owner.keys(self._key.text, email)
        has_address = email is not None and owner.has_address(email, self._key.text)
        return LinkedMember(person, choices_of(connection, keys), keys, has_address)

    def _store(self, owner: LinkOwner, wish: "_Form | _Stop") -> None:
        """Store what differs from what was chosen before.

        Raises:
            _TooMany: it allows emails or is a snooze, and this was changed too often.
        """
        now = self._clock.now()
        self._key.check.check(now)
        # Most repeated requests change nothing, so they do not wait for others that write.
        with reading(self._engine) as connection:
            changes = wish.changes(self._member(connection, owner).chosen, now)
        if not changes:
            return
        is_limited = any(one.agreed or one.until for one in changes.values())
        if is_limited and self._changes.count(owner.address_hash):
            raise _TooMany
        with writing(self._engine) as connection:
            member = self._member(connection, owner)
            changes = wish.changes(member.chosen, now)
            store_choices(connection, member.keys, changes)
        names = sorted(changes)
        _log.info("preferences.changed", coworker_id=owner.coworker_id, names=names)


@dataclass(frozen=True, slots=True)
class _Stop:
    """A no to a stream, or to `all`."""

    name: str
    origin: ChoiceOrigin

    def changes(self, chosen: Choices, now: datetime) -> dict[str, Choice]:
        """Return what to store, if it is not so already."""
        agreed = chosen.agreed
        is_so = agreed.get(ALL) is False or agreed.get(self.name) is False
        return {} if is_so else {self.name: Choice(agreed=False, chosen_at=now, origin=self.origin)}


@dataclass(frozen=True, slots=True)
class _Form:
    """What was filled in: for each stream whether it is wanted, how often, and the snooze."""

    wants: Mapping[Stream, bool]
    lessons: str
    snooze: str
    origin: ChoiceOrigin

    @classmethod
    def sent(cls, origin: ChoiceOrigin) -> "_Form":
        """Return the form of this request."""
        ticked = request.form.getlist("stream")
        wants = {one: one.value in ticked for one in Stream}
        lessons, snooze = request.form.get("lessons", ""), request.form.get("snooze", "")
        return cls(wants, lessons, snooze, origin)

    def changes(self, chosen: Choices, now: datetime) -> dict[str, Choice]:
        """Return what differs from what was chosen before."""
        agreed = chosen.agreed
        yes = Choice(agreed=True, chosen_at=now, origin=self.origin)
        no = Choice(agreed=False, chosen_at=now, origin=self.origin)
        changes: dict[str, Choice] = {}
        if agreed.get(ALL) is False and any(self.wants.values()):
            agreed[ALL] = True
            changes[ALL] = yes
        for stream, wants in self.wants.items():
            if wants != (objection_to(stream, agreed) is None):
                changes[stream] = yes if wants else no
        if self.lessons in LESSON_EMAILS and LESSON_EMAILS[self.lessons] != chosen.is_weekly:
            changes[WEEKLY] = yes if LESSON_EMAILS[self.lessons] else no
        if self.snooze in SNOOZES:
            changes[SNOOZE] = replace(no, until=now + SNOOZES[self.snooze])
        elif self.snooze == "end" and chosen.snoozed_until(now) is not None:
            changes[SNOOZE] = yes
        return changes


def _is_one_click() -> bool:
    """Return whether this is the form of RFC 8058, of whatever content type."""
    name, value = _ONE_CLICK_FORM
    sent = dict(request.form) or dict(parse_qsl(request.get_data(as_text=True)))
    return sent.get(name, "").strip().lower() == value.lower()
