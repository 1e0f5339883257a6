"""Every command and link on a page exists."""

import re
from pathlib import Path

import pytest

from service.cli.main import commands
from tests.house.source_tree import PAGES, ROOT, code_in, commands_in, mistake_in, source_texts

# `coursebell` where a command stands, and its words up to the end of that command.
CALL = re.compile(
    r"(?<![\w./-])(?<!-u )(?:\S+/bin/)?coursebell((?:[ \t]+[^\s|&;#<>()`'\",]+)*)(?![\w:/.-])"
)
PLACEHOLDERS = {"COMMAND"}  # a page's word for any of our commands
LINK = re.compile(r"\]\((?!https?://)([^)#]*)(?:#([^)]*))?\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
FENCED = re.compile(r"^```[\s\S]*?^```$", re.MULTILINE)
TARGET = re.compile(r"^make ([a-z]+)", re.MULTILINE)
SPAN = re.compile(r"`(coursebell [^`\n]+)`")
# The files that adding-an-action.md lets its reader make.
_FOLDER = "workers/actions/logbook/"
LOGBOOK = {_FOLDER, f"{_FOLDER}__init__.py", f"{_FOLDER}action.py"}


def calls(code: str) -> list[list[str]]:
    found = [words.split() for words in CALL.findall(code)]
    return [words for words in found if words and words[0] not in PLACEHOLDERS]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_on_a_page_exists(page: object) -> None:
    text = (ROOT / str(page)).read_text(encoding="utf-8")
    wrong = {
        " ".join(words): mistake
        for code in code_in(text)
        for words in calls(code)
        if (mistake := mistake_in(words))
    }
    assert wrong == {}


def test_every_command_named_anywhere_else_exists() -> None:
    wrong = {
        f"{path}: {span}": mistake
        for path, text in source_texts()
        if path.parts[0] != "tests" and path.suffix != ".md"
        for span in SPAN.findall(text)
        for words in calls(span)
        if "{" not in span and (mistake := mistake_in(words))
    }
    assert wrong == {}


def test_the_readme_has_every_command() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = {words[0] for code in code_in(text) for words in calls(code)}
    assert named == {command.name for command in commands_in(commands)}


def test_every_make_target_on_a_page_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    named = {
        target
        for page in PAGES
        for code in code_in(page.read_text(encoding="utf-8"))
        for target in TARGET.findall(re.sub(r"^[ \t]+", "", code, flags=re.MULTILINE))
    }
    assert named
    assert named <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_and_every_file_a_page_names_exists(page: object) -> None:
    path = ROOT / str(page)
    text = path.read_text(encoding="utf-8")
    links = [path.parent / link for link, _ in LINK.findall(text)]
    starts = r"`((?:service|workers|ledger|schemas|sandbox|tests|docs|deploy)/[\w./-]+)`"
    made_here = {"deploy/env", "deploy/.env", *LOGBOOK}
    files = [ROOT / name for name in re.findall(starts, text) if name not in made_here]
    assert [str(one) for one in [*links, *files] if not one.exists()] == []


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    headings = HEADING.findall(FENCED.sub("", page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_heading_has_its_heading(page: Path) -> None:
    links = LINK.findall(page.read_text(encoding="utf-8"))
    named = [(page.parent / link if link else page, anchor) for link, anchor in links if anchor]
    missing = [f"{to.name}#{anchor}" for to, anchor in named if anchor not in anchors(to)]
    assert missing == []


def test_the_readme_links_to_every_page() -> None:
    links = {ROOT / link for link, _ in LINK.findall((ROOT / "README.md").read_text("utf-8"))}
    assert [page.name for page in PAGES if page not in {*links, ROOT / "README.md"}] == []
