"""Checks every email and page of members in every language, and paints emails of each language.

    python -m tests.emails

It prints each fault and exits with 1 if there is one. The pictures are `contact-sheets/*.png`.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from service.desk.languages import ui_languages
from tests.emails.client_support import unlisted, unneeded
from tests.emails.desk_pages import desk_pages, right_to_left_pages
from tests.emails.gate import NoBrowser, as_page, check_pages, run_in_browser
from tests.emails.member_pages import member_pages
from tests.emails.people import ORDINARY, PEOPLE, EmailCase, email_case, every_case
from tests.emails.reports import REPORTS, every_report, report_case
from workers.languages import language_codes, language_for

_SHEETS = Path("contact-sheets")


def paint_sheets(languages: Sequence[str], person: str) -> None:
    """Paint a contact sheet of each language: every email to this person."""
    _SHEETS.mkdir(exist_ok=True)
    end = "" if person == "ordinary" else f"-{person}"
    sheets = [
        {
            "path": str((_SHEETS / f"{language}{end}.png").resolve()),
            "title": f"{language_for(language).locale.english_name} ({language}), {person}",
            "language": language,
            "direction": language_for(language).direction,
            "letters": [
                *(_shown(email_case(language, template, person)) for template in ORDINARY),
                *(_shown(report_case(language, report, person)) for report in REPORTS),
            ],
        }
        for language in languages
    ]
    run_in_browser("contact-sheet.mjs", {"sheets": sheets})


def _shown(case: EmailCase) -> dict[str, str]:
    letter = case.letter
    return {
        "template": case.template,
        "subject": letter.subject,
        "preview": letter.preview,
        "html": letter.html,
        "text": letter.text,
    }


def check_all(languages: Sequence[str]) -> bool:
    """Check all in these languages, print what is wrong, and return whether nothing is."""
    began = time.monotonic()
    cases = [*every_case(languages), *every_report(languages)]
    pages = [*member_pages(languages), *right_to_left_pages()]
    for one in ui_languages():
        if one.code in languages:
            pages += desk_pages(language=one.code)
    result = check_pages([*map(as_page, cases), *pages])
    wrong = [f"{one.page}, {one.view}: {one.check}: {one.detail}" for one in result.faults]
    wrong += unlisted(result.gaps)
    wrong += [
        f"accepted in client_support.py and not needed: {one}" for one in unneeded(result.gaps)
    ]
    summary = (
        f"{len(cases)} emails and {len(pages)} pages in {len(languages)} languages,"
        f" {result.views} views, {time.monotonic() - began:.0f} s: {len(wrong)} faults"
    )
    sys.stdout.write("\n".join([*wrong, summary, ""]))
    return not wrong


def main() -> int | str:
    """Check and paint what the command line asks for; return the status to exit with."""
    parser = argparse.ArgumentParser(prog="python -m tests.emails", description=__doc__)
    parser.add_argument("--languages", help="the codes of some languages, such as `de,he`")
    parser.add_argument(
        "--person", choices=[*PEOPLE], help="paint this person's emails, check none"
    )
    asked = parser.parse_args()
    languages = asked.languages.split(",") if asked.languages else language_codes()
    try:
        is_right = asked.person is not None or check_all(languages)
        paint_sheets(languages, asked.person or "ordinary")
    except NoBrowser as error:
        return str(error)
    sys.stdout.write(f"Contact sheets: {_SHEETS}/\n")
    return 0 if is_right else 1


if __name__ == "__main__":
    sys.exit(main())
