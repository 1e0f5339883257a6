"""The operators' pages over a large ledger, each opened by an operator who is signed in."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus

from flask.testing import FlaskClient
from sqlalchemy import Connection, select, update
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule

from ledger.controls import change_mode
from ledger.engine import Engine, lock_decisions, writing
from ledger.operators import (
    Operator,
    add_operator,
    begin_session,
    make_link,
    operator_named,
    set_password,
)
from ledger.pauses import PauseScope, begin_pause
from ledger.tables import actions
from schemas.actions import ActionState, Mode
from schemas.reasons import Reason
from schemas.roles import Role
from schemas.settings import Settings, load_settings
from service.app import make_web
from service.desk.routes import ROUTES

_SESSION, _LINK = "a session", "a link"
_OURS = "bench"  # the operator, and who did what
_SEVERAL = 500  # emails of each kind that wait for something

# The path of each page, by what is measured. The study has these people, emails and courses. What
# is no page is left out.
_PAGES = {
    "page Today": "/",
    "page Today, one kind": "/?kind=enrolled",
    "page Today, a kind that never was": "/?kind=course_completed",
    "page Today, further back": "/?before=500000",
    "page People": "/people",
    "page People, by part of a name": "/people?q=erson+500001",
    "page People, by what many have": "/people?q=erson",
    "page People, by what nobody has": "/people?q=zzzz",
    "page People, by letters with accents": "/people?q=M%C3%BCller",
    "page People, by part of an address": "/people?q=1%40example",
    "page People, of a course": "/people?course=1001",
    "page of a person": "/people/500001",
    "page of what Nexudus was asked": "/people/500001/asked",
    "page of an email": "/messages/1000",
    "page of an email, its body": "/messages/1000/body",
    "page of an email, to send it again": "/messages/1000/again",
    "page of an event": "/events/1000",
    "page Emails": "/emails",
    "page Emails, one with a preview": "/emails/course-finished",
    "page Emails, the body of a preview": "/emails/course-finished/body",
    "page Upcoming": "/upcoming",
    "page Upcoming, to drop one": "/upcoming/{waiting}/skip",
    "page Held": "/held",
    "page Held, one reason": "/held/flood-guard",
    "page Pause": "/pause",
    "page Pause, a person": "/pause?person=500001",
    "page Resume": "/resume/{pause}",
    "page Certificate": "/certificate",
    "page of a report": "/reports/summary",
    "page of a report, its body": "/reports/summary/body",
    "page Numbers": "/numbers",
    "page Numbers, of a course": "/numbers/1001",
    "page Numbers, a picture": "/numbers/pictures/emails",
    "page Health": "/health",
    "page Settings": "/settings",
    "page Settings, to try others": "/settings/try",
    "page Account": "/account",
    "page Sign in": "/sign-in",
    "page Welcome": f"/welcome/{_LINK}",
    "page style": "/desk.css",
    "page script": "/desk.js",
    "page of what is newer": "/newer",
}
# They lead to another server and back, and read nothing but one account.
_OF_PROVIDERS = {"/sign-in/provider", "/sign-in/answer"}
_OBSERVING = {
    "page Start, while observing": "/start",
    "page Start, before sending": "/start/sending",
}
_FIRST = {
    "page Today, first after a start": "/",
    "page Health, first after a start": "/health",
}


_GETS = [one for one in ROUTES if one.method == "GET"]
_ROUTED = Map([Rule(one.path, endpoint=one.path) for one in _GETS]).bind("")


def unmeasured() -> set[str]:
    """Return the paths of pages that nothing here measures."""
    found = {_route_of(path) for path in (*_PAGES.values(), *_OBSERVING.values())}
    return {one.path for one in _GETS} - found - _OF_PROVIDERS


def _route_of(path: str) -> str | None:
    """Return the path of the route that answers; None if there is no such page."""
    try:
        found, _ = _ROUTED.match(path.format(waiting=1, pause=1).partition("?")[0])
    except HTTPException:
        return None
    return str(found)


def pages_of(
    engine: Engine, settings: Settings, rounds: int
) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield what opens each page, at most `rounds` times, by name.

    Leaves some emails waiting and held, and observes.
    """
    if missing := unmeasured():
        raise ValueError(f"nothing measures the pages {', '.join(sorted(missing))}")
    given = {
        "COURSEBELL_DATABASE_URL": settings.database_url,
        "COURSEBELL_DATA_DIR": settings.data_dir,
        "COURSEBELL_SMTP_URL": "smtp://127.0.0.1:9",
        "COURSEBELL_MAIL_FROM": "Bench <bench@example.org>",
    }
    mailing = load_settings(given)
    with writing(engine) as connection:
        known = _prepare(connection, datetime.now(UTC))
    with closing(make_web(mailing)) as web:
        client = _signed_in(web.app.test_client())
        client.get("/health")
        for name, path in _PAGES.items():
            if _route_of(path) is None:
                continue
            yield name, partial(_open, client, path.format(**known))
        with writing(engine) as connection:
            change_mode(connection, Mode.OBSERVE, _OURS, datetime.now(UTC))
        for name, path in _OBSERVING.items():
            yield name, partial(_open, client, path)
    with ExitStack() as stack:
        for name, path in _FIRST.items():
            webs = [stack.enter_context(closing(make_web(mailing))) for _ in range(rounds)]
            clients = [_signed_in(web.app.test_client()) for web in webs]
            yield name, partial(_open_with_next, iter(clients), path)


def _open(client: FlaskClient, path: str) -> object:
    answer = client.get(path)
    where = answer.headers.get("Location", "")
    # A search that one person matches leads to them.
    is_elsewhere = bool(where) and not where.startswith("/people/")
    if is_elsewhere or answer.status_code >= HTTPStatus.BAD_REQUEST:
        raise ValueError(f"{path}: {answer.status} {where}")
    return answer


def _open_with_next(clients: Iterator[FlaskClient], path: str) -> object:
    return _open(next(clients), path)


def _signed_in(client: FlaskClient) -> FlaskClient:
    client.set_cookie("coursebell_session", _SESSION)
    return client


def _prepare(connection: Connection, now: datetime) -> dict[str, int]:
    """Sign an operator in, and let some emails wait: for their time, for a pause, for sending."""
    operator = _operator(connection, _OURS, now)
    begin_session(connection, operator, _SESSION, _OURS, now)
    make_link(connection, _operator(connection, f"{_OURS} 2", now), _LINK, _OURS, now)
    lock_decisions(connection)
    newest = select(actions.c.id).where(actions.c.state == ActionState.DONE)
    ids = list(connection.scalars(newest.order_by(actions.c.id.desc()).limit(3 * _SEVERAL)))
    for place, (state, reason) in enumerate(
        (
            (ActionState.PLANNED, None),
            (ActionState.HELD, Reason.PAUSED),
            (ActionState.HELD, Reason.OBSERVE),
        )
    ):
        some = ids[place * _SEVERAL : (place + 1) * _SEVERAL]
        values = {"state": state, "reason": reason, "due_at": now, "finished_at": None}
        connection.execute(update(actions).where(actions.c.id.in_(some)).values(**values))
    pause = begin_pause(connection, PauseScope.ALL, None, until=None, note=None, who=_OURS, now=now)
    return {"waiting": ids[0], "pause": pause.pause_id}


def _operator(connection: Connection, name: str, now: datetime) -> Operator:
    added = add_operator(connection, name, Role.ENGINEER, _OURS, now)
    if added is not None:
        set_password(connection, added.operator_id, "none", now)
    found = operator_named(connection, name)
    if found is None:
        raise ValueError(f"there is no operator {name}")
    return found
