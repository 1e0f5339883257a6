"""What the emails say, to whom, and how they are marked up."""

import re
import shutil
from dataclasses import replace
from datetime import date
from html.parser import HTMLParser
from pathlib import Path

import pytest

from schemas.entity import CompletionType
from schemas.events import EventKind
from schemas.reasons import Reason
from schemas.text import cut_at_word, one_line
from tests.emails.people import NOTHING_KNOWN, ORDINARY
from workers.actions.email import TEMPLATES
from workers.actions.email import letter as letter_module
from workers.actions.email.branding import Branding, accent_of, contrast
from workers.actions.email.content import CONTENTS, LessonLine, LetterFacts
from workers.actions.email.letter import Letter, Letters, TemplateGap
from workers.actions.email.notice import Notice
from workers.languages import language_codes

LETTERS = Letters()
PERSONAL = Letters(Branding(signs_as_host=True, reads_replies=True))
LONG = "Everything a freelancer should know about invoices, taxes and pensions " * 4
HEBREW = "\u05d9\u05e1\u05d5\u05d3\u05d5\u05ea \u05d4\u05de\u05d9\u05de\u05d5\u05df"
ARABIC = "\u0623\u0633\u0627\u0633\u064a\u0627\u062a \u0627\u0644\u062a\u0645\u0648\u064a\u0644"


def lines(*titles: str, by: CompletionType = CompletionType.BUTTON) -> tuple[LessonLine, ...]:
    return tuple(LessonLine(title, by) for title in titles)


# Without the links that only some of these tests are about.
ANA = {name: replace(one, preferences_url=None) for name, one in ORDINARY.items()}
WELCOME, LESSON, NOTICE = ANA["welcome"], ANA["lesson-finished"], ANA["notice"]
FINISHED = replace(
    ANA["course-finished"], next_course=None, next_course_url=None, certificate_url=None
)
NOTICES = [
    replace(NOTICE, notice=Notice(member, kind, to_host=to_host))
    for kind in sorted(TEMPLATES["notice"])
    for member in ("Ana Lopez", HEBREW, "<b>Ana & Co</b>")
    for to_host in (True, False)
]
REMINDERS = [
    replace(ANA["not-started"], next_lesson="What you keep"),
    ANA["stalled"],
    ANA["lesson-available"],
]
EVERY = [
    WELCOME,
    LESSON,
    replace(LESSON, lessons=lines("One", "Two", "Three")),
    replace(LESSON, lessons=lines("Reading", by=CompletionType.VISITED)),
    FINISHED,
    replace(FINISHED, certificate_url="https://harbour.example/c/7Q3M-0VXD-92HB-KT5A"),
    *(replace(facts, **NOTHING_KNOWN) for facts in (WELCOME, LESSON, FINISHED)),
    *(replace(facts, course=LONG, host=LONG) for facts in (WELCOME, LESSON, FINISHED)),
    NOTICE,
    *NOTICES,
    replace(NOTICE, **NOTHING_KNOWN),
    replace(NOTICE, course=LONG, lessons=lines(*[LONG] * 9)),
    *REMINDERS,
    *(replace(facts, **NOTHING_KNOWN) for facts in REMINDERS),
    *(replace(facts, course=LONG, next_lesson=LONG, lessons=lines(LONG)) for facts in REMINDERS),
    replace(LESSON, course=HEBREW, lessons=lines(HEBREW), next_lesson=HEBREW),
    replace(LESSON, lessons=lines(*[LONG] * 9), course=LONG, next_lesson=LONG, first_name=LONG),
]


def compose_letter(facts: LetterFacts) -> Letter:
    return LETTERS.compose(facts)


def spoken(html: str) -> str:
    inline = re.sub(r"</?(span|a)\b[^>]*>", "", html.partition("<h1")[2])
    return " ".join(re.sub(r"<[^>]+>", " ", inline).split())


def test_every_template_that_rules_may_name_has_content() -> None:
    assert set(CONTENTS) == set(TEMPLATES)


def test_a_welcome_says_what_it_is_and_where_to_start() -> None:
    letter = compose_letter(WELCOME)
    assert letter.subject == "You're in: Freelance Finance"
    assert letter.preview == "There are 8 lessons. The course begins with “What a year costs”."
    assert letter.text == (
        "You're in: Freelance Finance\n"
        "\n"
        "Hello Ana,\n"
        "\n"
        "Your place is ready. You can start whenever it suits you.\n"
        "\n"
        "Invoices, taxes and what to put aside.\n"
        "\n"
        "There are 8 lessons. The course begins with “What a year costs”. Your\n"
        "host is Rita Okafor.\n"
        "\n"
        "Start the first lesson:\n"
        "https://harbour.example/learn/12/lesson/3\n"
        "\n"
        "Harbour Works\n"
        "\n"
        "You're getting this email because you are enrolled on a course at\n"
        "Harbour Works.\n"
    )


def test_the_host_signs_and_replies_are_invited_only_where_the_space_says_so() -> None:
    for facts in (WELCOME, FINISHED):
        said = " ".join(LETTERS.compose(facts).text.split())
        assert "reply" not in said
        assert "Rita Okafor Harbour Works" not in said
        assert "Rita Okafor thanks" not in said
        personal = " ".join(PERSONAL.compose(facts).text.split())
        assert "reply to this email" in personal
        assert "Rita Okafor Harbour Works" in personal
    assert "Rita Okafor thanks you" in PERSONAL.compose(FINISHED).text


def test_the_title_of_the_course_is_printed_once() -> None:
    for facts in EVERY:
        if facts.course == "Freelance Finance":
            assert compose_letter(facts).text.count("Freelance Finance") <= 1
            assert spoken(compose_letter(facts).html).count("Freelance Finance") <= 1


def test_one_finished_lesson_is_named_with_progress_and_the_next_step() -> None:
    letter = compose_letter(LESSON)
    assert letter.subject == "You finished “Your first invoice”"
    assert letter.preview == "Next is “Money for tax”."
    assert "Well done. This lesson is part of “Freelance Finance”." in letter.text
    assert "5 of 8 lessons\n\nNext is “Money for tax”.\n\n" in letter.text
    link = "Continue with the next lesson:\nhttps://harbour.example/learn/12/lesson/3"
    assert link in letter.text


def test_a_notice_says_what_happened_and_how_to_reach_the_member() -> None:
    letter = compose_letter(NOTICE)
    assert letter.subject == "Ana Lopez has finished 1 lesson of Freelance Finance"
    assert letter.preview == "5 of 8 lessons"
    assert letter.text == (
        "Ana Lopez has finished 1 lesson of Freelance Finance\n"
        "\n"
        "Hello Rita,\n"
        "\n"
        "Date: 9 April 2026\n"
        "\n"
        "- Your first invoice\n"
        "\n"
        "5 of 8 lessons\n"
        "\n"
        "To reach Ana Lopez, open their profile in Nexudus.\n"
        "\n"
        "Harbour Works\n"
        "\n"
        "You're getting this email because you are the host of this course.\n"
    )
    assert "enrolled" not in letter.html
    assert "you are the host of this course." in spoken(letter.html)
    assert "Rita Okafor" not in PERSONAL.compose(NOTICE).text


def test_a_notice_to_an_address_names_no_reader_and_says_why_it_came() -> None:
    notice = Notice("Ana Lopez", EventKind.COURSE_COMPLETED, to_host=False)
    letter = compose_letter(replace(NOTICE, full_name="", first_name=None, notice=notice))
    assert letter.subject == "Ana Lopez has finished Freelance Finance"
    assert "\n\nHello,\n\n" in letter.text
    assert "Your first invoice" not in letter.text
    assert "because this address is set up to receive" in letter.text


@pytest.mark.parametrize("notice", [None, Notice(" ", EventKind.ENROLLED, to_host=True)])
def test_a_notice_about_no_member_is_not_written(notice: Notice | None) -> None:
    with pytest.raises(TemplateGap, match="member"):
        compose_letter(replace(NOTICE, notice=notice))


@pytest.mark.parametrize("code", language_codes())
@pytest.mark.parametrize("kind", sorted(TEMPLATES["notice"]))
def test_a_notice_can_be_written_in_every_language(kind: EventKind, code: str) -> None:
    notice = Notice("Ana Lopez", kind, to_host=True)
    letter = compose_letter(replace(NOTICE, notice=notice, languages=(code,)))
    assert "Ana Lopez" in letter.subject
    assert "Freelance" in letter.subject
    assert "{" not in letter.text


def test_opening_a_page_is_not_congratulated() -> None:
    letter = compose_letter(replace(LESSON, lessons=lines("Reading", by=CompletionType.VISITED)))
    assert letter.subject == "You looked at “Reading”"
    for said in (letter.text, letter.html):
        assert not re.search("well done|congratul|finished", said, re.IGNORECASE)


def test_several_lessons_make_one_list() -> None:
    letter = compose_letter(replace(LESSON, lessons=lines("One", "Two", "Three")))
    assert letter.subject == "3 lessons done in Freelance Finance"
    assert "You finished:\n\n- One\n- Two\n- Three\n\n5 of 8 lessons" in letter.text
    assert letter.html.count("<li") == 3


@pytest.mark.parametrize(("count", "named", "last"), [(6, 6, "- L6"), (7, 5, "- and 2 more")])
def test_of_more_than_six_titles_five_are_named(count: int, named: int, last: str) -> None:
    titles = [f"L{number}" for number in range(1, count + 1)]
    letter = compose_letter(replace(LESSON, lessons=lines(*titles)))
    listed = [line for line in letter.text.splitlines() if line.startswith("- ")]
    assert len([line for line in listed if line.startswith("- L")]) == named
    assert listed[-1] == last
    assert letter.subject.startswith(f"{count} lessons")


def test_a_finished_course_is_named_with_its_dates_and_thanks() -> None:
    letter = compose_letter(FINISHED)
    assert letter.subject == "You finished “Freelance Finance”"
    assert letter.text.startswith(
        "You finished “Freelance Finance”\n"
        "\n"
        "Hello Ana,\n"
        "\n"
        "Well done. You completed every lesson, 8 in all. You started on 3 March\n"
        "2026 and finished on 9 April 2026.\n"
        "\n"
        "Thank you for taking this course.\n"
    )


def test_after_a_course_the_next_one_is_suggested_and_not_the_same_again() -> None:
    assert "https://" not in compose_letter(FINISHED).text
    url = "https://harbour.example/learn/13"
    letter = compose_letter(replace(FINISHED, next_course="Pricing", next_course_url=url))
    assert "If you would like to learn more, “Pricing” comes next." in letter.text
    assert f"See the next course:\n{url}\n" in letter.text


@pytest.mark.parametrize(
    ("finished_on", "total", "expected"),
    [
        (date(2026, 4, 9), 1, "You completed its one lesson. You finished on 9 April 2026."),
        (date(2026, 4, 9), 0, "You finished on 9 April 2026. Thank you"),
        (None, 2, "You completed every lesson, 2 in all. Thank you"),
        (None, 0, "Thank you"),
    ],
)
def test_unknown_facts_of_a_finished_course_are_left_out(
    finished_on: date | None, total: int, expected: str
) -> None:
    facts = replace(
        FINISHED, finished_on=finished_on, started_on=None, done=total, total=total, host=None
    )
    letter = compose_letter(facts)
    assert f"Well done. {expected}" in " ".join(letter.text.split())


def test_a_welcome_without_a_link_to_the_lesson_is_complete() -> None:
    to_course = compose_letter(replace(WELCOME, lesson_url=None))
    assert "There are 8 lessons. The course begins with “What a year costs”." in to_course.text
    assert "\n\nOpen the course:\nhttps://harbour.example/learn/12" in to_course.text
    nowhere = compose_letter(replace(WELCOME, lesson_url=None, course_url=None))
    for said in (nowhere.text, nowhere.html):
        assert "https://" not in said
        assert "Start the" not in said


def test_a_start_after_the_finish_is_left_out() -> None:
    letter = compose_letter(replace(FINISHED, started_on=date(2026, 5, 1)))
    assert "started" not in letter.text
    assert "9 April 2026" in " ".join(letter.text.split())


@pytest.mark.parametrize(("done", "total"), [(0, 0), (9, 8), (-1, 8)])
def test_progress_that_does_not_add_up_is_left_out(done: int, total: int) -> None:
    letter = compose_letter(replace(LESSON, done=done, total=total))
    assert not re.search(r"\d+ of \d+", letter.text + spoken(letter.html))


def test_without_a_next_lesson_it_says_so() -> None:
    letter = compose_letter(replace(LESSON, next_lesson=None))
    assert letter.preview == "That was the last lesson that is open for now."
    assert "That was the last lesson that is open for now." in letter.text
    assert "Continue" not in letter.text
    assert "Open the course:" in letter.text
    assert compose_letter(replace(LESSON, done=8, next_lesson=None)).preview == (
        "That was the last lesson."
    )


@pytest.mark.parametrize(
    ("first_name", "full_name", "is_individual", "greeting"),
    [
        ("Ana", "Ana Lopez", True, "Hello Ana,"),
        ("ana", "ANA LOPEZ", True, "Hello ana,"),
        ("José", "jose\u0301 Lopez", True, "Hello José,"),
        ("Ana Maria", "Dr Ana Maria Lopez", True, "Hello Ana Maria,"),
        ("MARIA", "MARIA JOSÉ", True, "Hello Maria,"),
        ("ANNE-MARIE", "ANNE-MARIE LOPEZ", True, "Hello Anne-Marie,"),
        ("JP", "JP Lopez", True, "Hello JP,"),
        ("\U0001f31f", "\U0001f31f Lopez", True, "Hello,"),
        ("Harbour", "Harbour Works Ltd", False, "Hello Harbour Works Ltd,"),
        (None, "win.example", False, "Hello,"),
        ("Ana", "Anabel Lopez", True, "Hello,"),
        ("Rita", "Ana Lopez", True, "Hello,"),
        (None, "Ana Lopez", True, "Hello,"),
        ("  ", "Ana Lopez", True, "Hello,"),
        ("www.win.example", "www.win.example now", True, "Hello,"),
        ("win.example", "win.example now", True, "Hello,"),
        ("+4420", "+4420 now", True, "Hello,"),
        ("A" * 41, "A" * 41, True, "Hello,"),
    ],
)
def test_members_are_greeted_by_what_is_a_name(
    first_name: str | None,
    full_name: str,
    is_individual: bool,  # noqa: FBT001 - a column of the table
    greeting: str,
) -> None:
    facts = replace(
        WELCOME, first_name=first_name, full_name=full_name, is_individual=is_individual
    )
    letter = compose_letter(facts)
    assert letter.text.splitlines()[2] == greeting
    assert greeting.replace(" ", "") in spoken(letter.html).replace(" ", "")


@pytest.mark.parametrize("facts", EVERY)
def test_nothing_unknown_is_ever_printed(facts: LetterFacts) -> None:
    letter = compose_letter(facts)
    everything = letter.subject + letter.preview + letter.text + spoken(letter.html)
    assert not re.search(r"None|\{\{|\{%|undefined", everything)
    assert "  " not in letter.subject + letter.preview
    assert " ." not in everything
    assert ".." not in everything


@pytest.mark.parametrize("facts", EVERY)
def test_subjects_fit_an_inbox(facts: LetterFacts) -> None:
    letter = compose_letter(facts)
    assert 0 < len(letter.subject) <= 60
    assert 0 < len(letter.preview) <= 110


def test_a_subject_is_cut_only_if_it_is_too_long_and_then_its_longest_title() -> None:
    letter = compose_letter(replace(NOTICE, course="Freelance Finance at Home"))
    assert letter.subject == "Ana Lopez has finished 1 lesson of Freelance Finance at Home"
    longer = compose_letter(replace(NOTICE, course="Freelance Finance at Home too"))
    assert longer.subject == "Ana Lopez has finished 1 lesson of Freelance Finance at…"


@pytest.mark.parametrize("facts", EVERY)
def test_plain_text_has_72_columns_and_whole_addresses(facts: LetterFacts) -> None:
    text = compose_letter(facts).text
    assert all(len(line) <= 72 for line in text.splitlines())
    assert "\n\n\n" not in text
    for address in re.findall(r"https?://\S+", text):
        assert address in {facts.course_url, facts.lesson_url, facts.certificate_url}


@pytest.mark.parametrize("facts", EVERY)
def test_plain_text_is_short(facts: LetterFacts) -> None:
    if LONG not in {facts.course, facts.host}:
        assert len(compose_letter(facts).text.split()) < 120


class Outline(HTMLParser):
    """Elements with their attributes, and whether all were closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in {"meta", "img", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.mark.parametrize("facts", EVERY)
def test_the_markup_keeps_its_rules(facts: LetterFacts) -> None:
    html = compose_letter(facts).html
    outline = Outline(html)
    assert outline.open == []
    assert len(html.encode()) < 20_000
    (root,), (article,) = (
        outline.all("html"),
        [found for _, found in outline.elements if found.get("role") == "article"],
    )
    for place in (root, article):
        assert place["lang"] == "en"
        assert place["dir"] == "ltr"
    assert article["aria-roledescription"] == "email"
    assert article["aria-label"]
    assert len(outline.all("h1")) == 1
    assert all(table["role"] == "presentation" for table in outline.all("table"))
    assert {"name": "color-scheme", "content": "light dark"} in outline.all("meta")
    assert html.count("<style>") == 1
    assert "@media (prefers-color-scheme: dark)" in html
    assert "max-width:536px" in html
    assert "padding:32px" in html
    assert not outline.all("img")
    assert 'dir="auto"' not in html
    assert "<script" not in html


@pytest.mark.parametrize("facts", [WELCOME, LESSON, *REMINDERS])
def test_there_is_one_button_and_only_if_it_has_a_link(facts: LetterFacts) -> None:
    (button,) = Outline(compose_letter(facts).html).all("a")
    assert button["href"] in {facts.lesson_url, facts.course_url}
    style = button["style"] or ""
    assert "padding:10px 24px" in style
    assert "line-height:24px" in style  # 10 + 24 + 10 makes 44
    bare = replace(facts, lesson_url=None, course_url=None)
    assert not Outline(compose_letter(bare).html).all("a")


def test_the_inbox_line_comes_first_and_is_padded() -> None:
    letter = compose_letter(WELCOME)
    body = letter.html.partition("<body")[2]
    first = re.sub(r"<[^>]+>", "", body.partition(">")[2]).strip()
    assert first.startswith(f"{letter.preview}&#847;&zwnj;&nbsp;&#847;")


def test_titles_and_names_cannot_become_markup() -> None:
    evil = '<script>alert("1")</script>&{{ 7 * 7 }}'
    facts = replace(LESSON, course=evil, lessons=lines(evil), host=evil, next_lesson=evil)
    letter = compose_letter(facts)
    assert "<script" not in letter.html
    assert "&lt;script&gt;" in letter.html
    assert "{{ 7 * 7 }}" in letter.text
    assert evil in " ".join(letter.text.split())
    assert Outline(letter.html).open == []


def test_titles_and_names_keep_their_own_direction() -> None:
    letter = compose_letter(replace(LESSON, course=HEBREW, lessons=lines(HEBREW), host=HEBREW))
    for part in letter.html.partition("<h1")[2].split(HEBREW)[:-1]:
        assert re.search(r'<span dir="rtl"[^>]*>$', part)


def test_a_title_in_another_script_is_marked_with_its_language() -> None:
    html = compose_letter(replace(LESSON, course=HEBREW, next_lesson=ARABIC)).html
    assert f'<span dir="rtl" lang="he">{HEBREW}</span>' in html
    assert f'<span dir="rtl" lang="ar" style="font-weight:600;">{ARABIC}</span>' in html


def test_a_title_is_marked_with_its_direction_only_if_it_is_another() -> None:
    html = compose_letter(replace(LESSON, course="Money", next_lesson="Tax: \u05de\u05e1")).html
    assert "part of “Money”." in html
    assert '<span dir="ltr" style="font-weight:600;">Tax: \u05de\u05e1</span>' in html
    hebrew = compose_letter(replace(LESSON, languages=("he",), course="Money!")).html
    assert '<span dir="ltr">Money!</span>' in hebrew
    assert "<bdi" not in html + hebrew


def test_sentences_are_separated_as_in_the_language() -> None:
    english, japanese = (
        compose_letter(replace(WELCOME, languages=(code,))) for code in ("en", "ja")
    )
    assert "\u3002 " not in japanese.text + japanese.html + japanese.preview
    assert japanese.preview.count("\u3002") == 2
    assert ". The" in english.preview
    assert ". The" in spoken(english.html)


def test_a_title_of_the_other_direction_is_isolated_in_plain_text() -> None:
    text = compose_letter(replace(LESSON, course=HEBREW)).text
    assert f"This lesson is part of “\u2068{HEBREW}\u2069”." in text
    assert "\u2068" not in compose_letter(LESSON).text


@pytest.mark.parametrize(
    ("code", "title", "isolate"),
    [
        ("en", f"{HEBREW} " * 9, "\u2067"),
        ("en", f"{HEBREW} and then some English words " * 4, "\u2067"),
        ("he", "Everything about invoices, taxes and pensions " * 3, "\u2066"),
    ],
)
def test_a_title_of_the_other_direction_is_isolated_on_each_line_of_plain_text(
    code: str, title: str, isolate: str
) -> None:
    facts = replace(LESSON, course=title.strip(), lessons=lines(title, title), languages=(code,))
    text = compose_letter(facts).text
    for line in text.splitlines():
        assert len(line) <= 72
        assert len(re.findall("[\u2066-\u2068]", line)) == line.count("\u2069")
    continued = [line.lstrip() for line in text.splitlines() if isolate in line]
    assert len(continued) >= 3
    assert all(line.startswith(isolate) for line in continued)
    unmarked = re.sub("[\u2066-\u2069]", "", text)
    assert title.strip() in " ".join(unmarked.split())


@pytest.mark.parametrize(("code", "end"), [("en", ":"), ("fr", "\xa0:"), ("ja", "\uff1a")])
def test_the_line_before_an_address_ends_as_in_the_language(code: str, end: str) -> None:
    facts = replace(WELCOME, languages=(code,), preferences_url="https://courses.example/p/abc")
    before = re.findall(r"(.+)\nhttps://", compose_letter(facts).text)
    assert len(before) == 2
    assert all(line.endswith(end) for line in before)


@pytest.mark.parametrize("mark", [".", "!", "?", "\u2026", "\u061f"])
def test_a_name_that_ends_a_sentence_with_its_own_mark_gets_no_full_stop(mark: str) -> None:
    letter = compose_letter(replace(WELCOME, space=f"Yay{mark}", host=f"Who{mark}"))
    for said in (letter.text, spoken(letter.html)):
        words = f"{said} ".replace("\u2068", "").replace("\u2069", "").replace("\n", " ")
        assert f"a course at Yay{mark} " in words
        assert f"Your host is Who{mark} " in words


@pytest.mark.parametrize(
    ("summary", "printed"),
    [
        ("<p>Invoices &amp; <b>taxes</b>.</p><p>Pensions.</p>", "Invoices & taxes. Pensions."),
        ("<script>alert(1)</script>Plain", "Plain"),
        ("<STYLE type='a'>p { color: red }</style ><p>Plain</p>", "Plain"),
        ("<!-- <script> -->Plain<!-- no end", "Plain"),
        ("Plain<script>if (1 < 2) { alert('</p>') }", "Plain"),
        ("<title>Untitled</title><p>Plain</p><noscript><b>No</b></noscript>", "Plain"),
        ("<template><p>No</p></template>Plain &lt;script&gt;", "Plain <script>"),
        ("A description of <b>scripts</b>", "A description of scripts"),
        ("Prices < 100 and > 50", "Prices < 100 and > 50"),
        ("Fish & chips", "Fish & chips"),
        ("<br/>", None),
    ],
)
def test_a_summary_is_printed_without_markup(summary: str, printed: str | None) -> None:
    letter = compose_letter(replace(WELCOME, course_summary=summary))
    about = letter.text.split("\n\n")[3]
    assert about == printed if printed else about.startswith("There are 8 lessons.")
    assert "<script" not in letter.html


BRANDED = Letters(
    Branding(
        colour="#FFD400",
        name="Harbour Works Lisboa",
        logo_url="https://harbour.example/logo.png",
        address="Rua da Prata 1, 1100-052 Lisboa",
    )
)


def test_the_space_shows_its_name_logo_colour_and_address() -> None:
    letter = BRANDED.compose(WELCOME)
    (image,) = Outline(letter.html).all("img")
    assert image["src"] == "https://harbour.example/logo.png"
    assert image["alt"] == "Harbour Works Lisboa"
    assert letter.text.endswith("Harbour Works Lisboa.\nRua da Prata 1, 1100-052 Lisboa\n")
    assert "Rua da Prata 1" in spoken(letter.html)
    assert "background-color:#FFD400" not in letter.html


@pytest.mark.parametrize("colour", ["#0E6655", "#FFD400", "#FFFFFF", "#000000", "#777777"])
def test_text_on_a_button_can_be_read_whatever_the_colour(colour: str) -> None:
    accent = accent_of(colour)
    assert contrast(accent.light, accent.light_text) >= 4.5
    assert contrast(accent.light, "#FFFFFF") >= 4.5
    assert contrast(accent.dark, accent.dark_text) >= 4.5
    assert contrast(accent.dark, "#1D1C19") >= 4.5


def test_contrast_is_that_of_the_guidelines() -> None:
    assert contrast("#000000", "#FFFFFF") == pytest.approx(21)
    assert contrast("#777777", "#FFFFFF") == pytest.approx(4.478, abs=0.001)
    assert accent_of("#0E6655").light == "#0E6655"


@pytest.mark.parametrize("code", language_codes())
@pytest.mark.parametrize("template", ["not-started", "stalled", "lesson-available"])
def test_a_reminder_says_in_the_size_of_its_text_how_to_stop_reminders(
    template: str, code: str
) -> None:
    reminder = replace(ORDINARY[template], languages=(code,))
    letter, other = compose_letter(reminder), compose_letter(replace(reminder, is_reminder=False))
    link = rf'<p style="([^"]+)"><a [^>]*href="{reminder.preferences_url}"[^>]*>([^<]+)</a></p>'
    [(style, words)] = re.findall(link, letter.html)
    assert "font-size:16px;" in style
    assert words not in other.html
    assert re.search(rf"{re.escape(words)}\s?\S\n{reminder.preferences_url}\n", letter.text)


def test_the_link_to_the_choices_is_at_the_end() -> None:
    url = "https://courses.example/p/abc"
    letter = compose_letter(replace(WELCOME, preferences_url=url))
    assert letter.text.endswith(f"\n\nChoose which emails you get:\n{url}\n")
    assert Outline(letter.html).all("a")[-1]["href"] == url


@pytest.mark.parametrize(
    "facts",
    [
        replace(WELCOME, template="goodbye"),
        replace(WELCOME, template="../welcome"),
        replace(WELCOME, course=" \u202e\n"),
        replace(LESSON, lessons=()),
        replace(LESSON, lessons=lines("One", "")),
        replace(WELCOME, course_url="javascript:alert(1)"),
        replace(WELCOME, lesson_url="https://harbour.example/a b"),
        replace(WELCOME, lesson_url="https://harbour.example/a\nb"),
        replace(WELCOME, lesson_url="https://harbour.example/a\x01b"),
        replace(WELCOME, lesson_url="https://"),
    ],
)
def test_essential_facts_are_required(facts: LetterFacts) -> None:
    with pytest.raises(TemplateGap) as raised:
        compose_letter(facts)
    assert raised.value.reason is Reason.TEMPLATE_ERROR


def test_the_wording_is_named_by_a_digest_of_its_text() -> None:
    in_english = compose_letter(WELCOME).wording
    assert re.fullmatch("[0-9a-f]{12}", in_english)
    assert compose_letter(replace(WELCOME, languages=("de",))).wording != in_english
    assert compose_letter(LESSON).wording == in_english


def test_the_digest_changes_with_every_module_that_has_a_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "email"
    shutil.copytree(Path(letter_module.__file__).parent, folder)
    before = letter_module.wording("en", folder)
    has_sentence = re.compile(r"\bwrite\.(phrase|plural|quote)\(|\bPhrase\(")
    deciding = [one for one in folder.glob("*.py") if has_sentence.search(one.read_text("utf-8"))]
    assert len(deciding) >= 5
    for file in (*deciding, folder / "frame.html"):
        text = file.read_text("utf-8")
        file.write_text(f"{text}# a change\n", "utf-8")
        letter_module.wording.cache_clear()
        assert letter_module.wording("en", folder) != before, file.name
        file.write_text(text, "utf-8")


def test_the_same_facts_make_the_same_letter() -> None:
    assert compose_letter(LESSON) == Letters().compose(LESSON)


@pytest.mark.parametrize(
    ("foreign", "clean"),
    [
        ("  a\r\n\tb\x00\u2028c\x85d ", "a b c d"),
        ("\u202eabc\u2066d\u2069\ufeff", "abcd"),
        ("=?utf-8?q?x=0ABcc:_evil@example.org?=", "= ?utf-8?q?x=0ABcc:_evil@example.org?="),
        ("=\u202e?utf-8?q?x?=", "= ?utf-8?q?x?="),
        ("\ud800lone", "lone"),
        ("\U0001f469\u200d\U0001f4bb ok", "\U0001f469\u200d\U0001f4bb ok"),
        (None, ""),
    ],
)
def test_foreign_text_becomes_one_harmless_line(foreign: str | None, clean: str) -> None:
    assert one_line(foreign) == clean


@pytest.mark.parametrize(
    ("text", "room", "cut"),
    [
        ("short", 5, "short"),
        ("one two three", 10, "one two…"),
        ("one two, three", 10, "one two…"),
        ("x" * 20, 10, "x" * 9 + "…"),
        ("abc\U0001f469\u200d\U0001f4bbx", 6, "abc…"),
        ("abce\u0301fg", 5, "abc…"),
        ("abc\U0001f1f5\U0001f1f9\U0001f1ea\U0001f1f8", 6, "abc\U0001f1f5\U0001f1f9…"),
        ("abc\U0001f1f5\U0001f1f9\U0001f1ea\U0001f1f8d", 7, "abc\U0001f1f5\U0001f1f9…"),
        ("abc\U0001f1f5\U0001f1f9d", 5, "abc…"),
        ("abc\U0001f44d\U0001f3fdde", 5, "abc…"),
        ("abc1\ufe0f\u20e3de", 6, "abc…"),
        ("abc\U0001f3f4\U000e0067\U000e0062\U000e007fde", 7, "abc…"),
        ("\u1112\u1161\u11ab\u1100\u116e\u11a8", 5, "\u1112\u1161\u11ab…"),
        ("\u0915\u094d\u0937\u093f\u0915", 4, "…"),
        ("e" + "\u0301" * 99, 60, "…"),
        ("long", 0, ""),
    ],
)
def test_a_title_is_cut_at_a_word_or_else_between_whole_characters(
    text: str, room: int, cut: str
) -> None:
    assert cut_at_word(text, room) == cut


def test_a_certificate_is_announced_only_where_there_is_one() -> None:
    url = "https://harbour.example/c/7Q3M-0VXD-92HB-KT5A"
    letter = compose_letter(replace(FINISHED, certificate_url=url))
    assert "Your certificate of completion is attached as a PDF." in letter.text
    assert url in letter.text.splitlines()
    assert f'href="{url}"' in letter.html
    plain = compose_letter(FINISHED)
    assert "certificate" not in (plain.text + plain.html).lower()


@pytest.mark.parametrize("letter", ["a", "\u0633", "\u8cbb", "\U0001f469", "&", "<"])
@pytest.mark.parametrize("facts", [LESSON, FINISHED, replace(LESSON, template="stalled")])
def test_an_email_stays_small_with_titles_of_two_thousand_letters(
    facts: LetterFacts, letter: str
) -> None:
    long = letter * 2_000
    found = compose_letter(
        replace(
            facts,
            course=long,
            host=long,
            space=long,
            full_name=long,
            lessons=lines(*[long] * 9) if facts.lessons else (),
            next_lesson=long,
            last_lesson=long,
            next_course=long,
        )
    )
    assert len(found.html.encode()) < 20_000
    assert letter * 201 not in found.text


def test_a_reminder_says_where_the_member_left_off() -> None:
    stalled = replace(LESSON, template="stalled", lessons=())
    known = compose_letter(replace(stalled, last_lesson="What you keep"))
    assert "The last lesson you finished was “What you keep”. You can continue" in known.text
    assert "last lesson you finished" not in compose_letter(stalled).text


def test_without_a_number_of_lessons_nothing_is_said_about_what_comes_next() -> None:
    unknown = replace(LESSON, done=0, total=0, next_lesson=None)
    said = compose_letter(unknown)
    assert "last lesson" not in said.text
    assert said.preview == "You finished “Your first invoice”"
    assert "That was the last lesson" in compose_letter(replace(LESSON, next_lesson=None)).text


def test_lessons_of_a_week_are_called_so_if_there_are_several() -> None:
    week = replace(LESSON, is_weekly=True, lessons=lines("One", "Two"))
    assert compose_letter(week).subject == "Your week in Freelance Finance: 2 lessons done"
    one = compose_letter(replace(LESSON, is_weekly=True))
    assert one.subject == "You finished “Your first invoice”"


def test_a_certificate_is_a_link_and_the_next_course_the_one_button() -> None:
    facts = replace(
        FINISHED,
        certificate_url="https://harbour.example/c/7Q3M-0VXD-92HB-KT5A",
        next_course="Pricing",
        next_course_url="https://harbour.example/learn/13",
    )
    html = compose_letter(facts).html
    assert re.findall(r'<a class="button" href="([^"]+)"', html) == [facts.next_course_url]
    assert f'<a class="link" href="{facts.certificate_url}"' in html
