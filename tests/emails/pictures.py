"""Paints the pictures of the README: pages of operators after a few days of a small space.

    python -m tests.emails.pictures

They are docs/pictures/*.png.
"""

import tempfile
from datetime import timedelta
from html import escape
from pathlib import Path

from ledger.choices import choice_keys, store_choices
from ledger.clock import SYSTEM_CLOCK
from ledger.engine import writing
from schemas.choices import ALL, Choice
from schemas.entity import Entity
from schemas.records import CourseMember
from tests.contract.operator_rig import Browser, opened
from tests.contract.source_rig import HandClock
from tests.contract.study_rig import HASH_KEY, Space, coworker, rules_of
from tests.e2e.house import RULES
from tests.emails.desk_pages import with_style
from tests.emails.gate import run_in_browser
from tests.house.source_tree import ROOT
from tests.servers.ready_ledgers import quick_engine, sqlite_copy

FOLDER = ROOT / "docs" / "pictures"
_PEOPLE = {
    1: "Ana Ribeiro",
    2: "Joël Núñez",
    3: "Mina Park",
    4: "Otto Lindqvist",
    5: "Priya Shah",
}


def main() -> None:
    """Paint each page, light and dark."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        pages = _pages(Path(name))
    pictures = [
        {
            "html": html,
            "path": str(FOLDER / f"{name}-{scheme}.png"),
            "width": 1040,
            "height": 760,
            "scheme": scheme,
        }
        for name, html in pages.items()
        for scheme in ("light", "dark")
    ]
    run_in_browser("paint-page.mjs", {"pictures": pictures})


def _pages(folder: Path) -> dict[str, str]:
    url = sqlite_copy(folder / "ledger.db")
    rules = rules_of(RULES.read_text(encoding="utf-8"))
    noon = SYSTEM_CLOCK.now().replace(hour=12, minute=14)
    clock = HandClock(noon - timedelta(hours=46))
    space = Space(quick_engine(url), rules, clock)
    _study(space, clock)
    given = {"COURSEBELL_SECRET_KEY": HASH_KEY, "COURSEBELL_RULES": str(RULES)}
    with opened(folder, url, clock, **given) as office:
        browser = office.signed_in()
        found = {
            "today": with_style(browser, browser.get("/").text),
            "person": with_style(browser, browser.get("/people/1").text),
            "email": _email(browser, 1),
        }
    space.engine.dispose()
    return found


def _email(browser: Browser, action_id: int) -> str:
    """Return the page of an email with the email in its frame, as it has no server here."""
    page = with_style(browser, browser.get(f"/messages/{action_id}").text)
    text = escape(browser.get(f"/messages/{action_id}/body").text, quote=True)
    return page.replace(f'src="/messages/{action_id}/body"', f'srcdoc="{text}"')


def _study(space: Space, clock: HandClock) -> None:
    """Let five people enrol within two days: one studies, one wants no emails, one has moved."""
    ana = _enrol(space, 1)
    for number in (2, 3):
        _enrol(space, number)
    clock.move(26 * 3_600)
    no = Choice(agreed=False, chosen_at=clock.now())
    with writing(space.engine) as connection:
        store_choices(connection, choice_keys(HASH_KEY, 4, None), {ALL: no})
    _enrol(space, 4)
    clock.move(20 * 3_600)
    space.finish(ana, 1, 2)
    space.work()
    space.mailer.answer("priya@example.org", "550 5.1.1 no such person")
    _enrol(space, 5)


def _enrol(space: Space, number: int) -> CourseMember:
    name = _PEOPLE[number]
    first = name.split()[0]
    address = f"{first.lower()}@example.org"
    member = space.enrol(number)
    person = coworker(number, full_name=name, first_name=first, email=address)
    space.source.have(Entity.COWORKER, person)
    space.work()
    return member


if __name__ == "__main__":
    main()
