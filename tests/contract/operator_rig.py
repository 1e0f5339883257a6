"""The pages of operators over a ledger, and browsers that are signed in with a role."""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import cache
from html import unescape
from pathlib import Path
from typing import Any

from werkzeug.test import Client, TestResponse

from ledger.engine import Engine, reading, writing
from ledger.operators import (
    Operator,
    add_operator,
    begin_session,
    make_link,
    operator_named,
    set_password,
)
from schemas.roles import Role
from schemas.settings import load_settings
from service.app import Web, make_web
from service.desk.passwords import hashed
from tests.contract.desk_rig import Desk
from tests.contract.source_rig import HandClock
from tests.contract.study_rig import HASH_KEY
from tests.e2e.house import RULES
from tests.servers.ready_ledgers import quick_engine, sqlite_copy

PASSWORD = "four words are enough"
RITA = "Rita Sousa"
LINK_TOKEN = "a-token-for-this-test"
HERE = "http://127.0.0.1:8000"


@cache
def password_hash() -> str:
    """Return the hash of `PASSWORD`, which takes a while to make."""
    return hashed(PASSWORD)


@dataclass
class Browser:
    """One browser with its cookies."""

    client: Client
    base: str = HERE

    def get(self, path: str = "/", **how: Any) -> TestResponse:  # noqa: ANN401 - of werkzeug's client
        return self.client.get(path, base_url=self.base, **how)

    def post(self, path: str, sent: Any = (), **how: Any) -> TestResponse:  # noqa: ANN401 - same
        """Post fields as they are."""
        return self.client.post(path, data=dict(sent), base_url=self.base, **how)

    def press(self, page: str, action: str, **fields: Any) -> TestResponse:  # noqa: ANN401 - same
        """Open a page and send its form with this action, with its hidden fields and these."""
        shown = self.get(page)
        return self.send(shown, action, **fields)

    def send(self, shown: TestResponse, action: str, **fields: Any) -> TestResponse:  # noqa: ANN401 - same
        """Send a form of a page that was opened before."""
        return self.post(action, {**hidden_fields(shown.text, action), **fields})

    def sign_in(self, name: str = RITA, password: str = PASSWORD, **more: str) -> TestResponse:
        """Send the form to sign in with."""
        return self.post("/sign-in", {"name": name, "password": password, **more})


def hidden_fields(page: str, action: str) -> dict[str, str]:
    """Return the hidden fields of the form with this action."""
    form = re.search(
        rf'<form method="post" action="{re.escape(action)}".*?</form>', page, re.DOTALL
    )
    assert form, f"no form for {action} in {page}"
    found = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', form[0])
    return {unescape(name): unescape(value) for name, value in found}


@dataclass
class Office:
    """The web application with its ledger, and a clock that is moved by hand."""

    web: Web
    engine: Engine
    clock: HandClock = field(default_factory=HandClock)
    language: str = "en"

    def browser(self, base: str = HERE) -> Browser:
        """Return a browser that is not signed in."""
        client = self.web.app.test_client()
        client.set_cookie("coursebell_language", self.language, domain="127.0.0.1")
        return Browser(client, base)

    def add(self, name: str = RITA, role: Role = Role.ENGINEER) -> Operator:
        """Add an account with `PASSWORD`."""
        with writing(self.engine) as connection:
            made = add_operator(connection, name, role, "test", self.clock.now())
            assert made
            set_password(connection, made.operator_id, password_hash(), self.clock.now())
            found = operator_named(connection, name)
        assert found
        return found

    def signed_in(self, role: Role = Role.ENGINEER, name: str = RITA) -> Browser:
        """Return a browser in which an operator with this role is signed in."""
        operator, browser = self.add(name, role), self.browser()
        token = f"a-session-of-{operator.operator_id}"
        with writing(self.engine) as connection:
            begin_session(connection, operator, token, "test", self.clock.now())
        browser.client.set_cookie("coursebell_session", token, domain="127.0.0.1")
        return browser

    def link(self, name: str = RITA, token: str = LINK_TOKEN) -> str:
        """Return the path of a one-time link for an account."""
        with writing(self.engine) as connection:
            operator = operator_named(connection, name)
            assert operator
            make_link(connection, operator, token, "test", self.clock.now())
        return f"/welcome/{token}"

    def account(self, name: str = RITA) -> Operator:
        """Return an account as it is stored."""
        with reading(self.engine) as connection:
            found = operator_named(connection, name)
        assert found
        return found


def opened(
    folder: Path, url: str | None = None, clock: HandClock | None = None, **settings: str
) -> AbstractContextManager[Office]:
    """Open the pages over a ledger, or over an empty one, for browsers that chose English."""
    return opened_in("en", None, folder, url, clock, **settings)


@contextmanager
def opened_in(
    language: str,
    locales: Path | None,
    folder: Path,
    url: str | None,
    clock: HandClock | None,
    **settings: str,
) -> Iterator[Office]:
    """Open the pages for browsers that chose a language; `locales` has other catalogues."""
    folder.mkdir(exist_ok=True)
    key = {} if url else {"COURSEBELL_SECRET_KEY": "a-secret-key-for-this-test-only"}
    url = url or sqlite_copy(folder / "ledger.db")
    engine, clock = quick_engine(url), clock or HandClock()
    given = {
        "COURSEBELL_DATA_DIR": str(folder),
        "COURSEBELL_DATABASE_URL": url,
        "COURSEBELL_SPACE_NAME": "Harbour Works",
        "COURSEBELL_MAIL_FROM": "Harbour Works <courses@harbour.example>",
    }
    web = make_web(load_settings({**given, **key, **settings}), clock=clock, locales=locales)
    yield Office(web, engine, clock, language)
    web.close()
    engine.dispose()


def over(
    desk: Desk, folder: Path, rules: Path = RULES, **settings: str
) -> AbstractContextManager[Office]:
    """Open the pages over the ledger of a space where things happen, by these rules."""
    url = desk.space.engine.url.render_as_string(hide_password=False)
    assert isinstance(desk.space.clock, HandClock)
    given = {"COURSEBELL_SECRET_KEY": HASH_KEY, "COURSEBELL_RULES": str(rules)}
    return opened(folder, url, desk.space.clock, **(given | settings))
