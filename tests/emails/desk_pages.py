"""The pages of operators, in each state, as documents to open in a browser."""

import re
import tempfile
from base64 import b64encode
from collections.abc import Collection, Iterator
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import func, select

from ledger.clock import SYSTEM_CLOCK
from ledger.engine import reading, writing
from ledger.pauses import PauseScope, begin_pause
from ledger.people import accept_person
from ledger.tables import actions
from schemas.actions import Mode
from schemas.entity import Entity
from schemas.roles import Role
from service.desk.routes import ROUTES
from tests.builders.records import COURSE_ID, course, lesson
from tests.contract.operator_rig import Browser, Office, hidden_fields, opened_in
from tests.contract.source_rig import HandClock
from tests.contract.study_rig import HASH_KEY, LESSONS, Space, coworker, rules_of
from tests.e2e.house import RULES
from tests.emails.gate import CheckedPage
from tests.servers.ready_ledgers import quick_engine, sqlite_copy

_LONG = "Wolfeschlegelsteinhausenbergerdorff \N{HEBREW LETTER NUN}\N{HEBREW LETTER VAV}"
_HEBREW = "\N{HEBREW LETTER NUN}\N{HEBREW LETTER VAV}\N{HEBREW LETTER AYIN}\N{HEBREW LETTER HE}"
_ARABIC = "\N{ARABIC LETTER LAM}\N{ARABIC LETTER YEH}\N{ARABIC LETTER LAM} (2)"
_COURSE = "\N{ARABIC LETTER KHAH}\N{ARABIC LETTER TAH}: 1"
_STYLE = re.compile(r'<link rel="stylesheet"[^>]*>')
# What stands for the parts of paths; each exists in the ledger of `_happened`.
_PARTS = {
    "coworker_id": "1",
    "action_id": "1",
    "pause_id": "1",
    "event_id": "1",
    "reason": "too-old",
    "name": "welcome",
    "course_id": str(COURSE_ID),
}
_NOT_PAGES = re.compile(r"/desk\.css|/sign-in|/welcome/.*|.*/body|/numbers/pictures/.*|/newer")
_PICTURE = re.compile(r'(src|srcset)="(/numbers/pictures/[^"]*)"')


def desk_pages(
    only: Collection[str] = (),
    language: str = "en",
    locales: Path | None = None,
    role: Role = Role.ENGINEER,
) -> list[CheckedPage]:
    """Return every page of operators over a ledger where much happened, and over an empty one.

    `only` are the names of some, without the word before them; `locales` has other catalogues.
    """
    with tempfile.TemporaryDirectory() as name:
        folder, visitor = Path(name), _Visitor(language, locales, role)
        found = [*_of_much(folder / "much", visitor), *_of_nothing(folder / "nothing", visitor)]
    wanted = {f"desk {name}" for name in only}
    assert wanted <= {one.name for one in found}
    return [one for one in found if not wanted or one.name in wanted]


def right_to_left_pages(only: Collection[str] = ()) -> list[CheckedPage]:
    """Return every page where all names and titles are written from right to left.

    `only` are the paths of some.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        url = sqlite_copy(folder / "ledger.db")
        rules = rules_of(RULES.read_text(encoding="utf-8"))
        space = Space(quick_engine(url), rules, HandClock(SYSTEM_CLOCK.now()))
        space.source.have(Entity.COURSE, course(title=_COURSE, host_name=_ARABIC))
        for number in LESSONS:
            space.source.have(Entity.LESSON, lesson(number, title=f"{_HEBREW} {number}"))
        _happened(space)
        with writing(space.engine) as connection:
            for number in range(1, 7):
                person = coworker(number, full_name=_HEBREW if number % 2 else _ARABIC)
                accept_person(connection, person, space.clock.now())
        given = {"COURSEBELL_SECRET_KEY": HASH_KEY, "COURSEBELL_RULES": str(RULES)}
        given["COURSEBELL_SPACE_NAME"] = _ARABIC
        assert isinstance(space.clock, HandClock)
        with opened_in("en", None, folder, url, space.clock, **given) as office:
            browser = office.signed_in(name=_HEBREW)
            _counted(browser, "/numbers")
            paths = only or (*_paths(), "/people?q=person2", "/people/2", "/messages/5")
            shown = [one for one in paths if browser.get(one).status_code == HTTPStatus.OK]
            found = [_page(office, browser, one, "right to left") for one in shown]
        space.engine.dispose()
    return found


class _Visitor(NamedTuple):
    language: str
    locales: Path | None
    role: Role


def _of_much(folder: Path, visitor: _Visitor) -> Iterator[CheckedPage]:
    folder.mkdir()
    url = sqlite_copy(folder / "ledger.db")
    space = Space(
        quick_engine(url),
        rules_of(RULES.read_text(encoding="utf-8")),
        HandClock(SYSTEM_CLOCK.now()),
    )
    assert isinstance(space.clock, HandClock)
    _happened(space)
    given = {"COURSEBELL_SECRET_KEY": HASH_KEY, "COURSEBELL_RULES": str(RULES)}
    given["COURSEBELL_SMTP_URL"] = "smtp://mail.harbour.example:25"
    with opened_in(visitor.language, visitor.locales, folder, url, space.clock, **given) as office:
        browser, looks = office.signed_in(visitor.role), office.signed_in(Role.LOOK, "Otto Lind")
        yield _page(office, browser, "/numbers", "being counted")
        _counted(browser, "/numbers")
        for path in _paths():
            if browser.get(path).status_code == HTTPStatus.OK:
                yield _page(office, browser, path)
        tried = browser.press("/settings/try", "/settings/try", key="cap_per_day", value="1")
        for path in ("/reports/summary", tried.headers["Location"]):
            _counted(browser, path)
            yield _page(office, browser, path)
        for number in range(2, 7):
            yield _page(office, browser, f"/messages/{number}")
            yield _page(office, browser, f"/people/{number}")
        yield _page(office, browser, "/messages/6/again")
        yield _page(office, browser, "/people?q=person")
        yield _page(office, browser, "/people?q=nobody")
        yield _page(office, browser, "/people/77")
        yield _page(office, browser, "/pause?person=2")
        for path, act in (("/held/too-old", "drop-all"), ("/held/too-old", "send-all")):
            sent = {**hidden_fields(browser.get(path).text, path), "act": act}
            yield _document(office, browser, f"{path} {act}", browser.post(path, sent).text)
        space.enrol(7)
        space.look_up()
        yield _page(office, browser, f"/upcoming/{_newest(space)}/skip")
        unclear = browser.send(browser.get("/pause"), "/pause", what="rule")
        yield _document(office, browser, "/pause unclear", unclear.text)
        yield _page(office, looks, "/messages/1/again", "not allowed")
        space.choose(Mode.OBSERVE)
        for path in ("/", "/start", "/start/sending", "/emails/welcome"):
            yield _page(office, browser, path, "observing")
    space.engine.dispose()


def _of_nothing(folder: Path, visitor: _Visitor) -> Iterator[CheckedPage]:
    with opened_in(visitor.language, visitor.locales, folder, None, None) as office:
        yield _page(office, office.browser(), "/sign-in", "no account")
        browser = office.signed_in(visitor.role)
        _counted(browser, "/numbers")
        for path in _paths():
            # Some lead to another page where there is nothing to do.
            is_shown = "<" not in path and "/1" not in path
            if is_shown and browser.get(path).status_code == HTTPStatus.OK:
                yield _page(office, browser, path, "empty")
        stranger = office.browser()
        yield _page(office, stranger, "/sign-in")
        yield _page(office, stranger, office.link())
        yield _page(office, stranger, "/welcome/none")
        wrong = stranger.sign_in(password="wrong")
        yield _document(office, stranger, "wrong password", wrong.text)
        again = browser.post("/account/end", {"session": "abc", "intent": "Sign out there"})
        yield _document(office, browser, "ask again", again.text)


def _newest(space: Space) -> int:
    """Return the Id of the email that was planned last."""
    with reading(space.engine) as connection:
        return connection.scalar(select(func.max(actions.c.id))) or 0


def _happened(space: Space) -> None:
    """Let members study, so that there is an email in each state, and a pause."""
    member = space.enrol(1)
    space.work()
    space.finish(member, 1, 2)
    space.work()
    for number in range(2, 6):
        space.enrol(number)
    space.look_up()
    states = ("held", "too-old"), ("held", "paused"), ("unknown", "handover-unknown")
    with writing(space.engine) as connection:
        for number, (state, reason) in enumerate(states, 2):
            changed = {"state": state, "reason": reason}
            connection.execute(
                actions.update().where(actions.c.coworker_id == number).values(**changed)
            )
        accept_person(
            connection, coworker(2, full_name=_LONG, email="w@example.org"), space.clock.now()
        )
    space.mailer.answer("person6@example.org", "550 5.1.1 no such person")
    space.enrol(6)
    space.work()
    with writing(space.engine) as connection:
        begin_pause(
            connection,
            PauseScope.PERSON,
            "3",
            until=space.clock.now() + timedelta(days=3),
            note="away",
            who="Rita Sousa",
            now=space.clock.now(),
        )


def _paths() -> list[str]:
    found = [one.path for one in ROUTES if one.method == "GET" and one.role is not None]
    return [
        re.sub(r"<(?:int:)?(\w+)>", lambda part: _PARTS.get(part[1], part[0]), path)
        for path in found
        if not _NOT_PAGES.fullmatch(path)
    ]


def _page(office: Office, browser: Browser, path: str, state: str = "") -> CheckedPage:
    answer = browser.get(path)
    return _document(office, browser, f"{path} {state}".strip(), answer.text)


def with_style(browser: Browser, html: str) -> str:
    """Return a page with its style sheet and pictures inside, so that it needs no server."""
    style = browser.get("/desk.css").text
    html = _PICTURE.sub(lambda found: f'{found[1]}="{_inside(browser, found[2])}"', html)
    return _STYLE.sub(lambda _: f"<style>{style}</style>", html)


def _inside(browser: Browser, path: str) -> str:
    """Return an address that has the picture in itself."""
    return f"data:image/svg+xml;base64,{b64encode(browser.get(path).data).decode()}"


def _counted(browser: Browser, path: str) -> None:
    """Open a page of numbers until it has them."""
    while "Refresh" in browser.get(path).headers:
        pass


def _document(office: Office, browser: Browser, name: str, html: str) -> CheckedPage:
    inside = with_style(browser, html)
    spoken = "" if office.language == "en" else f" in {office.language}"
    return CheckedPage(
        f"desk {name}{spoken}", html=inside, language=office.language, direction="ltr"
    )
