"""The wording file: a space's own words, where they apply, and every mistake with its place."""

from dataclasses import replace
from pathlib import Path

import pytest

from schemas.errors import ConfigurationError
from schemas.settings import load_settings
from schemas.wording import Wording, load_wording
from tests.unit.test_letters import LESSON, LETTERS, WELCOME, lines
from workers.actions.email.letter import Letters
from workers.actions.email.own_words import read_wording

TEMPLATES = {"welcome": False, "lesson-finished": True}


def load(text: str) -> Wording:
    return load_wording(text, "wording.yaml", templates=TEMPLATES, languages=("en", "de"))


def letters(entries: str) -> Letters:
    return Letters(own=load(f"version: 1\nwording:\n{entries}"))


def test_own_words_replace_the_parts_that_they_name() -> None:
    own = letters(
        "  - template: welcome\n"
        '    subject: "Welcome to {course}"\n'
        '    greeting: "Hi {name}!"\n'
        '    paragraph: "{host} meets you at the door of {space}."\n'
        '    button: "Begin"\n'
        '    signature: "Your team at {space}"\n'
    )
    letter = own.compose(WELCOME)
    assert letter.subject == "Welcome to Freelance Finance"
    assert letter.text.startswith(
        "Welcome to Freelance Finance\n\nHi Ana!\n\n"
        "Rita Okafor meets you at the door of Harbour Works.\n\nYour place is ready."
    )
    assert "Begin:\nhttps://" in letter.text
    assert "\n\nYour team at Harbour Works\n\n" in letter.text
    for words in ("Welcome to", "Hi Ana!", "meets you", "Begin", "Your team at"):
        assert words in letter.html
    assert own.compose(LESSON) == replace(
        LETTERS.compose(LESSON), wording=own.compose(LESSON).wording
    )


def test_the_first_entry_that_fits_has_the_word_for_each_part() -> None:
    own = letters(
        "  - {language: de, greeting: Moin}\n"
        "  - {course: [sales, 77], greeting: Course}\n"
        "  - {template: welcome, greeting: Welcome, signature: Signed}\n"
        "  - {greeting: Any}\n"
    )
    greeting = {
        "de": own.compose(replace(WELCOME, languages=("de-AT",))),
        "course": own.compose(replace(WELCOME, course="Sales")),
        "by Id": own.compose(replace(WELCOME, course_id=77)),
        "welcome": own.compose(WELCOME),
        "lesson": own.compose(LESSON),
    }
    found = {name: letter.text.split("\n\n")[1] for name, letter in greeting.items()}
    assert found == {
        "de": "Moin",
        "course": "Course",
        "by Id": "Course",
        "welcome": "Welcome",
        "lesson": "Any",
    }
    assert all(
        ("\n\nSigned\n\n" in one.text) == (name != "lesson") for name, one in greeting.items()
    )


def test_words_that_need_an_unknown_fact_are_not_used() -> None:
    own = letters('  - {greeting: "Hi {name}!", paragraph: "Ask {host}."}\n')
    text = own.compose(replace(WELCOME, host=None, first_name=None)).text
    assert "\n\nHello,\n\nYour place" in text
    assert "{" not in text


def test_own_words_about_a_lesson_are_not_used_for_several() -> None:
    own = letters('  - {template: lesson-finished, subject: "Bravo: {lesson}"}\n')
    assert own.compose(LESSON).subject == f"Bravo: {LESSON.lessons[0].title}"
    several = replace(LESSON, lessons=lines("One", "Two"))
    assert own.compose(several).subject == LETTERS.compose(several).subject


def test_a_changed_file_is_another_wording() -> None:
    wordings = {
        letters(f"  - {{greeting: {word}}}\n").compose(WELCOME).wording for word in ("A", "B")
    }
    assert len(wordings | {LETTERS.compose(WELCOME).wording}) == 3


def test_own_words_are_escaped_and_stay_on_one_line() -> None:
    own = letters('  - {template: lesson-finished, subject: "<b>{lesson}</b> & more"}\n')
    letter = own.compose(replace(LESSON, lessons=lines("A\r\nBcc: x@example.org")))
    assert letter.subject == "<b>A Bcc: x@example.org</b> & more"
    assert "&lt;b&gt;A Bcc: x@example.org&lt;/b&gt; &amp; more</h1>" in letter.html


@pytest.mark.parametrize(
    ("entry", "place", "message"),
    [
        ("{template: goodbye, greeting: A}", "3:16", "expected welcome or lesson-finished"),
        ("{language: xx, greeting: A}", "3:16", "expected en or de"),
        ('{greeting: "Hi {nome}"}', "3:16", "there is no {nome}; expected {course}, {lesson}"),
        ('{greeting: "Hi {name"}', "3:16", "expected a } for every {"),
        ('{subject: "{lesson}"}', "3:15", "{lesson} is only known in lesson-finished"),
        ("{template: welcome}", "3:5", "expected at least one of subject, greeting"),
        ("{greting: A}", "3:6", "there is no such key; did you mean greeting?"),
        (f"{{button: {'x' * 41}}}", "3:14", "expected at most 40 characters"),
        ("{greeting: ' '}", "3:16", "expected a value"),
    ],
)
def test_each_mistake_has_its_place(entry: str, place: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        load(f"version: 1\nwording:\n  - {entry}\n")
    assert any(
        one.startswith(f"wording.yaml:{place}: wording[0]") and message in one
        for one in raised.value.mistakes
    ), raised.value.mistakes


@pytest.mark.parametrize(
    "text", ["", "version: 1\n", "wording: []\n", "[]", "version: 2\nwording: []\n"]
)
def test_a_file_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        load(text)


def test_the_setting_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "wording.yaml"
    path.write_text("version: 1\nwording:\n  - {template: welcome, greeting: Hi}\n")
    settings = load_settings({"COURSEBELL_WORDING": str(path)})
    assert read_wording(settings).entries[0].texts == {"greeting": "Hi"}
    assert read_wording(load_settings({})) == Wording()
    path.unlink()
    with pytest.raises(ConfigurationError, match="COURSEBELL_WORDING: cannot read"):
        read_wording(settings)
