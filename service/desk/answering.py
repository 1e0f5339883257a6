"""Answers each request for an operators' page: who is it, may they, and what if it fails."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from flask import Response, request

from ledger.engine import reading, writing
from ledger.operators import Operator, OperatorSession, is_to_note, note_use, signed_in
from schemas.errors import LedgerUnavailable
from schemas.fields import MAX_ID
from schemas.settings import Settings
from service.desk.operator_pages import OperatorPages
from service.desk.routes import PageRoute
from service.desk.visit import SESSION, Guest, Visit, sent_fields

_NOTE_AGAIN_S = 60.0

View = Callable[..., Response]


class Answering:
    """Answers with the pages of one service."""

    def __init__(self, pages: OperatorPages) -> None:
        self.pages = pages
        self._note_again_at = 0.0

    def close(self) -> None:
        """Wait for what the pages do in the background."""
        self.pages.close()

    def answer(self, route: PageRoute, view: View, given: Mapping[str, Any]) -> Response:
        """Answer one request: open pages to all, others to those whose role allows it."""
        guest = Guest(self.pages)
        if request.method == "POST" and not is_same_site(self.pages.settings):
            return guest.page("not_ours.html", 403)
        if route.role is None:
            return view(guest, **given)
        found = self._signed_in(guest, is_use=not route.is_asked_by_script)
        if found is None:
            return guest.signed_out() if route.is_asked_by_script else guest.to_sign_in()
        visit = Visit(self.pages, *found)
        if not visit.operator.role.includes(route.role):
            return visit.refused(route.role)
        if any(isinstance(one, int) and one > MAX_ID for one in given.values()):
            view, given = Visit.no_such_page, {}
        if request.method == "POST" and not visit.has_token:
            return visit.ask_again(request.path, sent_fields())
        return view(visit, **given)

    def unavailable(self) -> Response:
        """Answer while the ledger cannot be used."""
        response = Guest(self.pages).page("unavailable.html", 503, are_rules_wrong=False)
        response.headers["Retry-After"] = "30"
        return response

    def misconfigured(self) -> Response:
        """Answer that this page needs the rules, which cannot be read."""
        return Guest(self.pages).page("unavailable.html", 503, are_rules_wrong=True)

    def broken(self) -> Response:
        """Answer after a fault of ours, which is in the log."""
        return Guest(self.pages).page("broken.html", 500)

    def no_such_page(self, *, is_ours: bool) -> Response:
        """Answer for a path that does not exist. Strangers learn nothing of ours (`is_ours`)."""
        guest = Guest(self.pages)
        found = self._signed_in(guest, is_use=True)
        if found is not None:
            return Visit(self.pages, *found).no_such_page()
        if is_ours:
            return guest.to_sign_in()
        what = guest.language.say("There is no such page.")
        return guest.page("missing.html", 404, what=what, coworker_id=None)

    def _signed_in(
        self, guest: Guest, *, is_use: bool
    ) -> tuple[Operator, OperatorSession, str] | None:
        token = request.cookies.get(SESSION)
        if not token:
            return None
        with reading(self.pages.engine) as connection:
            found = signed_in(connection, token, guest.now)
        if found is None:
            return None
        if is_use and is_to_note(found[1], guest.now):
            self._note_use(found[1], guest.now)
        return (*found, token)

    def _note_use(self, session: OperatorSession, now: datetime) -> None:
        """Store that a session was used, unless the ledger cannot be written now."""
        if self.pages.clock.monotonic() < self._note_again_at:
            return
        try:
            with writing(self.pages.engine) as connection:
                note_use(connection, session, now)
        except LedgerUnavailable:
            self._note_again_at = self.pages.clock.monotonic() + _NOTE_AGAIN_S


def is_same_site(settings: Settings) -> bool:
    """Return whether this request comes from a page of this service, as its browser says.

    Programs other than browsers say nothing, and hold no cookie that could be abused.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in {"same-origin", "none"}
    origin = request.headers.get("Origin")
    if origin is None:
        return True
    ours = {request.host}
    if settings.public_url is not None:
        ours.add(urlsplit(settings.public_url).netloc)
    return urlsplit(origin).netloc in ours
