"""The web application with the pages of one member, who is known to its ledger."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from werkzeug.test import TestResponse

from ledger.choices import choice_keys, choices_of, store_choices
from ledger.controls import check_key
from ledger.engine import Engine, reading, writing
from ledger.people import accept_person
from schemas.choices import Choice, Choices
from schemas.rules import Stream
from schemas.settings import load_settings
from service.app import Web, make_web
from tests.contract.ledger_rig import ANA, JOEL, NOW
from tests.contract.source_rig import HandClock
from tests.contract.study_rig import coworker
from tests.servers.ready_ledgers import quick_engine, sqlite_copy
from workers.preference_links import PreferenceLinks

KEY = "a-secret-key-for-this-test-only"
EMAIL = "ana@people.example"
LINKS = PreferenceLinks("https://courses.harbour.example", KEY)
ALL_ON = {"act": "save", "stream": ["service", "reminder"]}


@dataclass
class Site:
    """The web application, and the links of one member."""

    web: Web
    engine: Engine
    clock: HandClock
    email: str = EMAIL
    coworker_id: int = ANA
    links: PreferenceLinks = field(default_factory=lambda: LINKS)

    @property
    def page(self) -> str:
        return f"/p/{self.links.page_token(self.links.owner(self.coworker_id, self.email))}"

    def one_click(self, stream: Stream = Stream.SERVICE) -> str:
        url = self.links.one_click(self.links.owner(self.coworker_id, self.email), stream)
        return url.removeprefix("https://courses.harbour.example")

    def get(self, path: str | None = None) -> TestResponse:
        return self.web.app.test_client().get(path or self.page)

    def post(self, sent: Any = ALL_ON, path: str | None = None, **how: Any) -> TestResponse:  # noqa: ANN401 - whatever a client sends
        return self.web.app.test_client().post(path or self.page, data=sent, **how)

    def chosen(self, email: str | None = None) -> Choices:
        with reading(self.engine) as connection:
            return choices_of(connection, choice_keys(KEY, self.coworker_id, email or self.email))

    def store(self, **chosen: Choice) -> None:
        with writing(self.engine) as connection:
            store_choices(connection, choice_keys(KEY, self.coworker_id, self.email), chosen)


@contextmanager
def opened(folder: Path, **settings: str) -> Iterator[Site]:
    url = sqlite_copy(folder / "ledger.db")
    engine, clock = quick_engine(url), HandClock()
    with writing(engine) as connection:
        for number, name, email in (
            (ANA, "Ana López", EMAIL),
            (JOEL, "Joel Weber", "joel@people.example"),
        ):
            one = coworker(number, full_name=name, first_name=name.split()[0], email=email)
            accept_person(connection, one, NOW, "Europe/Lisbon")
    check_key(engine, KEY, NOW)
    given = {
        "COURSEBELL_DATA_DIR": str(folder),
        "COURSEBELL_DATABASE_URL": url,
        "COURSEBELL_SECRET_KEY": KEY,
        "COURSEBELL_MAIL_FROM": "Harbour Works <courses@harbour.example>",
    }
    web = make_web(load_settings({**given, **settings}), clock=clock)
    yield Site(web, engine, clock)
    web.close()
    engine.dispose()
