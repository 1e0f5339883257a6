"""Emails and the pages of members can be used by everyone: a sample, opened in a browser.

In English every email is to an ordinary person, and one email to every person; in each other
language one email is to one person. The pages are in two languages. `make emails` checks all.
"""

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.emails.client_support import LACKING, PARTLY, unlisted, unneeded
from tests.emails.desk_pages import desk_pages, right_to_left_pages
from tests.emails.gate import (
    CheckedPage,
    GateResult,
    NoBrowser,
    as_page,
    check_pages,
    find_browser,
    page_faults,
)
from tests.emails.member_pages import member_pages
from tests.emails.people import ORDINARY, PEOPLE, EmailCase, email_case, one_case_each
from tests.emails.reports import REPORTS, report_case
from workers.actions.email import TEMPLATES
from workers.languages import ENGLISH, language_codes

# The sample takes a quarter of a minute on two quiet cores.
pytestmark = pytest.mark.timeout(600)
FULLEST = "lesson-finished"  # has a list, a bar, a button and the names of all that is named
DESK_SAMPLE = {
    "/",
    "/people/1",
    "/messages/4",
    "/messages/6/again",
    "/pause",
    "wrong password",
}
NAMES_SAMPLE = ("/people/1", "/messages/1/again")
HEBREW = "\N{HEBREW LETTER NUN}\N{HEBREW LETTER VAV}"
PAGE_LANGUAGES = ("de", "ar")  # German has the longest words, Arabic runs from right to left


@functools.cache
def sample_cases() -> tuple[EmailCase, ...]:
    return (
        *(email_case(ENGLISH, template, "ordinary") for template in ORDINARY),
        *(email_case(ENGLISH, FULLEST, person) for person in PEOPLE if person != "ordinary"),
        *one_case_each(language_codes()[1:]),
        *(report_case(ENGLISH, report, "awkward") for report in REPORTS),
        report_case("ar", "summary", "awkward"),
        report_case("de", "digest", "ordinary"),
    )


@functools.cache
def sample_pages() -> tuple[CheckedPage, ...]:
    return (
        *member_pages(PAGE_LANGUAGES),
        *desk_pages(DESK_SAMPLE),
        *right_to_left_pages(NAMES_SAMPLE),
    )


def _styled(style: str) -> Callable[[str], str]:
    """Return what gives the card of an email more style."""
    return lambda html: html.replace('class="card" style="', f'class="card" style="{style}', 1)


def _after_heading(markup: str) -> Callable[[str], str]:
    return lambda html: html.replace("</h1>", f"</h1>{markup}", 1)


# What the gate must find in an email, and how the email is broken.
BROKEN: dict[str, tuple[str, Callable[[str], str]]] = {
    "pale text": ("contrast", _after_heading('<p style="color:#8A857B">Pale</p>')),
    "pale text on a picture": (
        "contrast",
        _after_heading('<p style="background-image:linear-gradient(#FFF,#EEE)">On a picture</p>'),
    ),
    "no language": ("language", lambda html: html.replace(' lang="en"', "")),
    "no direction": ("direction", lambda html: html.replace(' dir="ltr"', "")),
    "a wide table": (
        "sideways-scroll",
        _after_heading('<table role="presentation" width="700"><tr><td>Wide</td></tr></table>'),
    ),
    "text beyond the edge": (
        "outside",
        _after_heading('<p style="margin-left:-80px">Begins where nobody sees it</p>'),
    ),
    "text that is cut": (
        "cut-off",
        _after_heading(
            '<p style="width:90px;overflow:hidden;white-space:nowrap">A long line of it</p>'
        ),
    ),
    "a picture without a text": (
        "axe image-alt",
        _after_heading('<img src="https://a.example/a.png">'),
    ),
    "a picture without a text that only wide emails show": (
        "axe image-alt",
        _after_heading(
            "<style>@media (max-width: 500px) {.it {display: none}}</style>"
            '<img src="https://a.example/a.png" class="it">'
        ),
    ),
    "a link without words": ("axe link-name", _after_heading('<a href="https://a.example/"></a>')),
    "a link that only dark mode hides in its text": (
        "axe link-in-text-block",
        _after_heading(
            "<style>@media (prefers-color-scheme: dark) {.it {color: #D8D5CE !important}}</style>"
            '<p>Some words, and <a href="https://a.example/" class="it"'
            ' style="color:#0A58FF;text-decoration:none">a link</a> among them.</p>'
        ),
    ),
    "no heading": (
        "axe page-has-heading-one",
        lambda html: html.replace("<h1", "<p").replace("</h1>", "</p>"),
    ),
    "no dark colours": (
        "not-dark",
        lambda html: html.replace("prefers-color-scheme: dark", "print"),
    ),
}
# A feature that an email program lacks, and the style that uses it.
UNSUPPORTED = {"position": "position:fixed;", "transform": "transform:rotate(1deg);"}
GOOD_PAGE = """<!doctype html><html lang="en" dir="ltr"><head><title>Choices</title>
<meta name="viewport" content="width=device-width"></head>
<body><main><h1>Choices</h1><p>Which emails do you want?</p></main></body></html>"""


# What the gate must find in a page that is used in other ways, and what is added to the page.
MISUSED: dict[str, tuple[str, str]] = {
    "only a colour": ("forced-colours", '<p style="background:#FCEED2">Paused</p>'),
    "a line without room": (
        "cut-off",
        '<p style="width:250px;overflow:auto;white-space:nowrap">A line as wide as it may be</p>',
    ),
    "a width that only a zoomed page has": (
        "sideways-scroll",
        '<style>@media (width:640px) {.wide {width:700px}}</style><p class="wide">Zoomed</p>',
    ),
    "no outline of the focus": ("keyboard", '<a href="#a" style="outline:0">A link</a>'),
    "a button that is left out": ("keyboard", '<button tabindex="-1">Save</button>'),
    "another order": ("keyboard", '<button>One</button><button tabindex="1">Two</button>'),
    "a name that moves a number": ("direction-mixed", f"<p>To {HEBREW} (2) today</p>"),
}


def misused_pages() -> list[CheckedPage]:
    return [
        CheckedPage(name, html=GOOD_PAGE.replace("</main>", f"{markup}</main>"))
        for name, (_, markup) in MISUSED.items()
    ]


def broken_pages() -> list[CheckedPage]:
    good = as_page(email_case(ENGLISH, "lesson-finished", "ordinary"))
    assert good.html is not None
    styles = {feature: _styled(style) for feature, style in UNSUPPORTED.items()}
    ways = {**{name: change for name, (_, change) in BROKEN.items()}, **styles}
    changed = {name: change(good.html) for name, change in ways.items()}
    assert good.html not in changed.values()
    return [replace(good, name=name, html=html) for name, html in changed.items()]


@pytest.fixture(scope="module")
def found() -> GateResult:
    """Open the sample and the broken emails in one browser."""
    return check_pages(
        [*map(as_page, sample_cases()), *sample_pages(), *broken_pages(), *misused_pages()]
    )


@pytest.fixture(scope="module")
def sample(found: GateResult) -> GateResult:
    return found.of(*(case.name for case in sample_cases()))


def test_the_sample_has_every_template_every_person_and_every_language() -> None:
    assert set(ORDINARY) == set(TEMPLATES)
    english = [one for one in sample_cases() if one.language == ENGLISH]
    assert {one.template for one in english} == {*TEMPLATES, *REPORTS}
    assert {one.person for one in english if one.template in TEMPLATES} == set(PEOPLE)
    assert {one.language for one in sample_cases()} == set(language_codes())


def test_each_was_opened_in_every_width_and_two_colour_schemes(found: GateResult) -> None:
    emails = len(sample_cases()) + len(BROKEN) + len(UNSUPPORTED)
    pages = len(sample_pages()) + len(MISUSED)
    assert found.views == 2 * (2 * emails + 3 * pages)


def test_no_email_has_a_fault(sample: GateResult) -> None:
    assert sample.faults == ()


def test_no_page_of_a_member_has_a_fault(found: GateResult) -> None:
    assert found.of(*(page.name for page in sample_pages())).faults == ()


def test_no_email_needs_what_an_email_program_lacks(sample: GateResult) -> None:
    assert unlisted(sample.gaps) == []


def test_every_accepted_gap_is_still_needed_and_has_a_reason(sample: GateResult) -> None:
    assert unneeded(sample.gaps) == []
    reasons = [*(gap.reason for gap in LACKING.values()), *PARTLY.values()]
    assert all(reason.endswith(".") and len(reason.split()) > 3 for reason in reasons)


@pytest.mark.parametrize("name", BROKEN)
def test_the_gate_finds_what_is_broken(found: GateResult, name: str) -> None:
    check, _ = BROKEN[name]
    assert check in {fault.check for fault in found.of(name).faults}


@pytest.mark.parametrize("name", MISUSED)
def test_the_gate_finds_what_stops_those_who_use_a_page_in_another_way(
    found: GateResult, name: str
) -> None:
    check, _ = MISUSED[name]
    assert {fault.check for fault in found.of(name).faults} == {check}


@pytest.mark.parametrize("feature", UNSUPPORTED)
def test_the_gate_finds_what_an_email_program_lacks(found: GateResult, feature: str) -> None:
    assert [line for line in unlisted(found.of(feature).gaps) if f" {feature} " in line]


def test_pages_are_checked_by_their_files(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.html", tmp_path / "bad.html"
    picture = '<img alt="A map" src="http://127.0.0.1:9/map.png">'
    good.write_text(GOOD_PAGE, encoding="utf-8")
    bad.write_text(GOOD_PAGE.replace("main>", "div>").replace("<p>", picture), encoding="utf-8")
    assert {(fault.page, fault.check) for fault in page_faults(good, bad)} == {
        (bad.as_uri(), "axe landmark-one-main"),
        (bad.as_uri(), "axe region"),
        (bad.as_uri(), "loads-from-elsewhere"),
    }


@pytest.mark.parametrize(
    ("environment", "machine", "advice"),
    [
        ({"CHROMIUM": "nowhere/chromium"}, "x86_64", "set CHROMIUM to the path"),
        ({}, "x86_64", "make setup"),
        ({"PATH": ""}, "aarch64", "Install Chromium"),
    ],
)
def test_without_a_browser_the_gate_fails_and_says_what_to_do(
    tmp_path: Path, environment: dict[str, str], machine: str, advice: str
) -> None:
    with pytest.raises(NoBrowser, match=advice):
        find_browser(environment, tmp_path, machine)
