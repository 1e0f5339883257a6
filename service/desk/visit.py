"""What a view is given: the visitor, their form, and the means to answer.

A POST of an ended session loses nothing: what was filled in is carried through the sign-in and
sent once the operator confirms it.
"""

import hashlib
import hmac
from collections.abc import Iterable
from contextlib import suppress
from functools import cached_property
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlsplit

from flask import Response, request

from ledger.controls import sending_of
from ledger.engine import reading
from ledger.operators import (
    Operator,
    OperatorSession,
    all_operators,
)
from ledger.pauses import open_pauses
from ledger.queries import EmailView
from ledger.stories import ActionView, TitledEvent
from schemas.errors import ConfigurationError
from schemas.fields import MAX_ID
from schemas.roles import Role
from schemas.rules import Stream
from schemas.settings import is_loopback
from service.desk.frame import HEADERS
from service.desk.languages import LANGUAGE, Times, ui_language
from service.desk.operator_pages import OperatorPages
from service.desk.state import SendingState, held_ids, pause_names
from service.desk.wording import Holding, email_title, rule_titles, rule_words

SESSION = "coursebell_session"
TOKEN = "token"  # noqa: S105 - the name of a field
_NOTICE = "coursebell_notice"
_NOTICE_S = 60
_AGAIN_S, _MOST_AGAIN = 3, 40
_LONGEST_NOTICE = 300  # characters
_KEPT = "kept."  # before the names of fields that are carried through the sign-in
_KEPT_PATH = "kept_path"
_NOT_KEPT = frozenset({TOKEN, "password", "new_password"})


class Guest:
    """A visitor who is not signed in, or need not be."""

    def __init__(self, pages: OperatorPages) -> None:
        self.pages = pages
        self.now = pages.clock.now()
        accepted, chosen = request.headers.get("Accept-Language"), request.cookies.get(LANGUAGE)
        self.language = ui_language(accepted, chosen, pages.locales)
        self.times = Times(self.language, pages.frame.zone, self.now)

    @property
    def is_on_this_machine(self) -> bool:
        """Whether the browser runs on this machine, as far as its request says."""
        return is_loopback(_host()) and is_loopback(request.remote_addr or "")

    @property
    def is_private(self) -> bool:
        """Whether nobody between the browser and this service can read along.

        A proxy may hide that the browser came without https; the browser itself says it.
        """
        origin = urlsplit(request.headers.get("Origin", ""))
        if origin.scheme == "http" and not is_loopback(origin.hostname or ""):
            return False
        if request.headers.get("X-Forwarded-Proto", "https") != "https":
            return False
        public = urlsplit(self.pages.settings.public_url)
        is_public = public.scheme == "https" and _host() == public.hostname
        return is_public or self.is_on_this_machine

    def field(self, name: str, longest: int = 500) -> str:
        """Return what was filled in, without spaces around it, cut at `longest` characters."""
        return request.form.get(name, "").replace("\0", "").strip()[:longest]

    @staticmethod
    def query(name: str, longest: int) -> str:
        """Return what was typed in a search, as `field` does."""
        return request.args.get(name, "").replace("\0", "").strip()[:longest]

    @staticmethod
    def number_in_query(name: str) -> int | None:
        """Return an Id or number from the address; None if there is none."""
        return id_in(request.args.get(name, ""))

    def page(self, template: str, status: int = 200, **known: Any) -> Response:  # noqa: ANN401 - what templates print
        """Return a page that shows nothing of the ledger by itself."""
        return self.pages.frame.page(status, template, self.times, {"visit": None, **known})

    @staticmethod
    def signed_out() -> Response:
        """Answer the script of a page whose session has ended."""
        return Response("", 401, HEADERS, mimetype="text/plain")

    def to_sign_in(self) -> Response:
        """Lead to the sign-in and back; a form that was sent is kept until then."""
        if request.method == "POST":
            return self.sign_in_page(401, kept=_kept(request.path, sent_fields()))
        here = request.full_path.rstrip("?")
        return self.see_other(
            "/sign-in" if here == "/" else f"/sign-in?next={quote(here, safe='/')}"
        )

    def sign_in_page(self, status: int = 200, **known: Any) -> Response:  # noqa: ANN401 - same
        """Return the page to sign in with; `kept` are the fields that it carries along."""
        plain = {"problem": "", "name": "", "kept": _carried(), "is_private": self.is_private}
        where = local_path(request.values.get("next"))
        return self.page("sign_in.html", status, **(plain | {"next": where} | known))

    def see_other(self, path: str, notice: str = "") -> Response:
        """Lead to another page, which shows the notice once."""
        response = Response("", 303, {"Location": path}, mimetype="text/plain")
        if notice:
            self.set_cookie(response, _NOTICE, quote(notice[:_LONGEST_NOTICE]), _NOTICE_S)
        return response

    def set_cookie(self, response: Response, name: str, value: str, seconds: float) -> None:
        """Set a cookie that neither scripts nor other sites get; over https only, if not local."""
        response.set_cookie(
            name,
            value,
            max_age=int(seconds),
            secure=self.pages.is_public or not self.is_on_this_machine,
            httponly=True,
            samesite="Lax",
        )


class Visit(Guest):
    """A request of an operator who is signed in."""

    def __init__(
        self, pages: OperatorPages, operator: Operator, session: OperatorSession, secret: str
    ) -> None:
        super().__init__(pages)
        self.operator = operator
        self.session = session
        key = hashlib.sha256(secret.encode()).digest()
        self.token = hmac.new(key, b"forms of this session", hashlib.sha256).hexdigest()

    @property
    def has_token(self) -> bool:
        """Whether the form that was sent belongs to this session."""
        return hmac.compare_digest(request.form.get(TOKEN, "").encode(), self.token.encode())

    @property
    def may_operate(self) -> bool:
        """Whether this operator may change something."""
        return self.operator.role.includes(Role.OPERATE)

    @property
    def is_engineer(self) -> bool:
        """Whether this operator may see how something was decided."""
        return self.operator.role.includes(Role.ENGINEER)

    @cached_property
    def state(self) -> "SendingState":
        """Whether emails are sent now: the header and the banner of each page say the same."""
        with reading(self.pages.engine) as connection:
            sending, these = sending_of(connection), open_pauses(connection)
            pauses = tuple(one for one in these if not one.is_over(self.now))
            return SendingState(sending, pauses, pause_names(connection, pauses))

    def holding(
        self, these: Iterable[TitledEvent] = (), emails: Iterable[EmailView] = ()
    ) -> Holding:
        """Return what makes emails about these events, or these emails, wait now."""
        gathering: set[str] = set()
        with suppress(ConfigurationError):  # it is still true what a pause holds
            every = self.pages.rules.setup().rules.rules
            gathering = {one.name for one in every if one.gather_s}
        return Holding(held_ids(self.state, self.now, these, emails), gathering)

    def page(self, template: str, status: int = 200, **known: Any) -> Response:  # noqa: ANN401 - what templates print
        """Return a page with navigation, the state of sending, and the notice of the last act."""
        notice = unquote(request.cookies.get(_NOTICE, ""))[:_LONGEST_NOTICE]
        known = {"visit": self, "notice": notice, "masked": self.masked, **known}
        response = self.pages.frame.page(status, template, self.times, known)
        if notice:
            self.set_cookie(response, _NOTICE, "", 0)
        return response

    def again_page(self, template: str, **query: int | None) -> Response:
        """Return a page that loads itself again while something is found, for two minutes at most.

        `query` is what the address has.
        """
        tries = self.number_in_query("again") or 1
        response = self.page(template, is_slow=tries >= _MOST_AGAIN)
        if tries < _MOST_AGAIN:
            given = {"again": tries + 1, **{key: one for key, one in query.items() if one}}
            where = f"{quote(request.path)}?{urlencode(given)}"
            response.headers["Refresh"] = f"{_AGAIN_S}; url={where}"
        return response

    def masked(self, address: str | None) -> str | None:
        """Return an address as this operator may see it: whole if they may write to members."""
        if not address or self.may_operate:
            return address
        name, at, domain = address.rpartition("@")
        return f"{name[:1]}…@{domain}" if at else f"{domain[:1]}…"

    def member_name(self, coworker_id: int | str) -> str:
        """Return what a member is called whose name was never read."""
        return self.language.say("Member {id}").format(id=coworker_id)

    def rule_title(self, name: str) -> str:
        """Return what a rule or digest is called on these pages, also if there is none any more."""
        return self._titles.get(name) or rule_words(name)

    def email_name(self, one: ActionView | EmailView) -> str:
        """Return what one email is called: its subject once it has one, else its kind."""
        kind = email_title(self.language, one.template) if one.template else ""
        return one.title or kind or self.rule_title(one.rule)

    def stream_of(self, rule: str) -> Stream | None:
        """Return of which stream the emails of a rule are; None if there is no such rule now."""
        with suppress(ConfigurationError):
            every = self.pages.rules.setup().rules.rules
            return next((one.stream for one in every if one.name == rule), None)
        return None

    @cached_property
    def _titles(self) -> dict[str, str]:
        with suppress(ConfigurationError):
            return rule_titles(self.language, self.pages.rules.setup().rules)
        return {}

    def missing(self, what: str, coworker_id: int | None = None) -> Response:
        """Answer that there is no such thing; `what` is a sentence that says so.

        With `coworker_id` the page offers to ask Nexudus about the person of this Id.
        """
        return self.page("missing.html", 404, what=what, coworker_id=coworker_id)

    def no_such_page(self) -> Response:
        """Answer that nothing can have a number as large as that in the address."""
        return self.missing(self.language.say("There is no such page."))

    def refused(self, role: Role) -> Response:
        """Answer that the operator's role does not allow this, and name who may."""
        with reading(self.pages.engine) as connection:
            every = all_operators(connection)
        who = [one.name for one in every if one.has_signed_in and one.role.includes(role)]
        return self.page("refused.html", 403, who=who[:10])

    def ask_again(self, path: str, fields: list[tuple[str, str]]) -> Response:
        """Show a form that was sent in an ended or another session, to be sent once more."""
        return self.page("ask_again.html", 409, action=path, fields=fields)

    def asked_before_sign_in(self) -> tuple[str, list[tuple[str, str]]] | None:
        """Return path and fields of the form that was carried through the sign-in, if any."""
        path = request.form.get(_KEPT_PATH, "")
        if local_path(path) != path:
            return None
        fields = [
            (name.removeprefix(_KEPT), value)
            for name, value in sent_fields()
            if name.startswith(_KEPT)
        ]
        return path, fields


def _host() -> str:
    """Return the host that the browser asked for, without its port."""
    return (urlsplit(f"//{request.host}").hostname or "").lower()


def id_in(text: str) -> int | None:
    """Return a text as an Id, or None if it is none."""
    is_number = text.isascii() and text.isdigit() and len(text) <= len(str(MAX_ID))
    return int(text) if is_number and 1 <= int(text) <= MAX_ID else None


def local_path(text: str | None) -> str:
    """Return a path on this service, or `/` if the text is none."""
    if text is None or not text.startswith("/") or text.startswith("//"):
        return "/"
    return text if text.isprintable() and "\\" not in text else "/"


def sent_fields() -> list[tuple[str, str]]:
    """Return the fields of the form that was sent, without secrets."""
    return [
        (name, value)
        for name, value in request.form.items(multi=True)
        if name.removeprefix(_KEPT) not in _NOT_KEPT
    ]


def _kept(path: str, fields: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(_KEPT_PATH, path), *((f"{_KEPT}{name}", value) for name, value in fields)]


def _carried() -> list[tuple[str, str]]:
    """Return the kept fields of the sign-in form that was sent, to carry them further."""
    path = request.form.get(_KEPT_PATH)
    if path is None or local_path(path) != path:
        return []
    return [(_KEPT_PATH, path), *(one for one in sent_fields() if one[0].startswith(_KEPT))]
