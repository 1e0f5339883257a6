"""The languages of the operators' pages: how one is chosen, and that a page has no other."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.pofile import write_po

from service.desk.emails import language_names
from service.desk.languages import CATALOGUE, ui_language
from tests.builders.desk_texts import texts_of_pages
from tests.contract.operator_rig import hidden_fields, opened, opened_in
from tests.emails.desk_pages import desk_pages

ELSEWHERE = {"Sec-Fetch-Site": "cross-site"}
BEGIN, END = "\N{LEFT DOUBLE ANGLE BRACKET}", "\N{RIGHT DOUBLE ANGLE BRACKET}"
MARKED = re.compile(f"{BEGIN}[^{BEGIN}{END}]*{END}")
LANGUAGES = re.compile("|".join(language_names(ui_language("de")).values()))
# What is not a text of ours: names, titles, addresses, code, times, and what is in English anyway.
DATA = ("bdi", "code", "pre", "time", "iframe", "style")
SEEN_ATTRIBUTES = ("aria-label", "placeholder", "alt")
# What pages of these ledgers print of them where no element says so: names, subjects, rules.
NAMES = re.compile(
    r"Harbour Works|Rita Sousa|Otto Lind|(?<!\w)Person \d|\btest\b|Freelance Finance"
    r"|Wolfeschlegelsteinhausenbergerdorff \w+|You're in:|You finished “Lesson \d”|Sign out there"
    r"|\b(?:welcome|congratulate (?:lesson|course))\b"
    r"|\b(?:Mo|Di|Mi|Do|Fr|Sa|So)\.(?:,? \d+\. \w+)?",
    re.IGNORECASE,
)


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a catalogue whose texts are the English ones between two marks."""
    folder = tmp_path_factory.mktemp("locales")
    texts = texts_of_pages()
    made = Catalog(locale="de", fuzzy=False)
    for message in texts:
        if message.id:
            several = message.id if isinstance(message.id, (tuple, list)) else (message.id,)
            found = tuple(f"{BEGIN}{one}{END}" for one in several)
            made.add(message.id, found if len(found) > 1 else found[0])
    file = folder / "de" / CATALOGUE
    file.parent.mkdir(parents=True)
    with file.open("wb") as opened_file:
        write_po(opened_file, made)
    return folder


class _Texts(HTMLParser):
    """Collects what a reader sees of a page outside of data, and whether it is marked."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self._data: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "html":
            assert given["lang"] == "de"
            return
        if tag in DATA or "lang" in given:
            self._data.append(tag)
        self.seen += [given[one] or "" for one in SEEN_ATTRIBUTES if one in given]

    def handle_endtag(self, tag: str) -> None:
        if self._data and self._data[-1] == tag:
            self._data.pop()

    def handle_data(self, data: str) -> None:
        self.seen.append("" if self._data else data)


def unmarked(html: str) -> list[str]:
    """Return the texts of a page that went through no catalogue."""
    reader = _Texts()
    reader.feed(html)
    text = "\0".join(reader.seen)
    while MARKED.search(text):
        text = MARKED.sub("", text)
    text = LANGUAGES.sub("", NAMES.sub("", text))
    return [one.strip() for one in text.split("\0") if re.search(r"[^\W\d_]", one)]


def test_every_text_of_every_page_is_in_the_language_that_was_asked_for(marked: Path) -> None:
    pages = desk_pages(language="de", locales=marked)
    left = {page.name: found for page in pages if (found := unmarked(page.html or ""))}
    assert left == {}


def test_a_language_is_chosen_for_a_browser_and_stays(tmp_path: Path) -> None:
    with opened_in("", None, tmp_path / "office", None, None) as office:
        stranger = office.browser()
        german = {"Accept-Language": "de-AT, en;q=0.5"}
        assert '<html lang="de"' in stranger.get("/sign-in", headers=german).text
        sent = {"language": "fr", "back": "/sign-in?next=/people?q%3Da"}
        answer = stranger.post("/language", sent, headers=german)
        assert (answer.status_code, answer.headers["Location"]) == (303, sent["back"])
        assert "HttpOnly" in answer.headers["Set-Cookie"]
        assert '<html lang="fr"' in stranger.get("/sign-in", headers=german).text
        browser = office.signed_in()
        browser.press("/account", "/language", language="es")
        for path in ("/", "/account", "/people/77"):
            page = browser.get(path, headers=german).text
            assert '<html lang="es"' in page
            for name in ("English", "Deutsch", "Español", "Français"):
                assert page.count(f">{name}</button>") == 1


@pytest.mark.parametrize("code", ["", "xx", "../../etc", "de\r\nX: y", "d" * 5000])
def test_a_language_that_there_is_not_changes_nothing(tmp_path: Path, code: str) -> None:
    with opened(tmp_path / "office") as office:
        stranger = office.browser()
        answer = stranger.post("/language", {"language": code, "back": "https://elsewhere.example"})
        assert (answer.status_code, answer.headers["Location"]) == (303, "/")
        assert "Set-Cookie" not in answer.headers
        stranger.client.set_cookie("coursebell_language", code[:3000], domain="127.0.0.1")
        assert '<html lang="en"' in stranger.get("/sign-in").text


def test_another_site_cannot_choose_the_language(tmp_path: Path) -> None:
    with opened(tmp_path / "office") as office:
        answer = office.browser().post("/language", {"language": "fr"}, headers=ELSEWHERE)
        assert answer.status_code == 403
        assert "Set-Cookie" not in answer.headers


def test_the_answer_to_a_form_leads_in_another_language_to_the_page_of_the_form(
    tmp_path: Path,
) -> None:
    with opened(tmp_path / "office") as office:
        browser = office.signed_in()
        wrong = office.browser().sign_in(password="wrong", next="/people?q=a")
        again = browser.send(browser.get("/pause"), "/pause", what="rule")
        test = browser.send(browser.get("/account"), "/account/password", password="no")
        for answer, back in (
            (wrong, "/sign-in?next=/people%3Fq%3Da"),
            (again, "/pause"),
            (test, "/account"),
            (browser.post("/people/1/bring", {}, headers=ELSEWHERE), "/people/1"),
        ):
            assert answer.status_code >= 400
            assert hidden_fields(answer.text, "/language")["back"] == back


def test_no_other_language_is_offered_where_that_would_lose_what_was_filled_in(
    tmp_path: Path,
) -> None:
    with opened(tmp_path / "office") as office:
        browser = office.signed_in()
        sent = {"what": "rule"}
        for answer in (browser.post("/pause", sent), office.browser().post("/pause", sent)):
            assert answer.status_code in {401, 409}
            assert "/language" not in answer.text
