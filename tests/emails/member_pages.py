"""The pages that members open from emails, and anyone with a certificate, in each state."""

import tempfile
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path

from ledger.completion_certificates import CompletionCertificate, store_certificate
from ledger.engine import writing
from tests.contract.ledger_rig import ANA, NOW
from tests.contract.preference_rig import KEY, Site, opened
from tests.emails.gate import CheckedPage
from workers.completion_certificate.code import code_hash, completion_code
from workers.languages import language_for

_COURSE_ID = 12
_CODE = completion_code(KEY, _COURSE_ID, ANA)
_CERTIFICATE = CompletionCertificate(
    course_id=_COURSE_ID,
    coworker_id=ANA,
    name="Wolfeschlegelsteinhausenbergerdorff \u05e0\u05d5\u05e2\u05d4",
    course="Everything a freelancer should know about invoices, taxes and pensions",
    space="Harbour Works",
    finished_on=date(2026, 4, 9),
    language="en",
)


def member_pages(languages: Iterable[str]) -> list[CheckedPage]:
    """Return every page in these languages."""
    with (
        tempfile.TemporaryDirectory() as folder,
        opened(Path(folder), COURSEBELL_SPACE_NAME="Harbour Works") as site,
    ):
        with writing(site.engine) as connection:
            store_certificate(connection, code_hash(_CODE), _CERTIFICATE, NOW)
        return [page for code in languages for page in _in_language(site, code)]


def _in_language(site: Site, code: str) -> Iterator[CheckedPage]:
    """Yield each page in one language, named by the state that it shows."""
    for state, path in {
        "choices": site.page,
        "choices saved": f"{site.page}?saved=1",
        "wrong link": "/p/abc",
        "certificate": f"/c/{_CODE}",
        "unknown certificate": f"/c/{_CODE[:-4]}0000",
        "no code of a certificate": "/c/nonsense",
    }.items():
        answer = site.web.app.test_client().get(
            f"{path}{'&' if '?' in path else '?'}lang={code}", headers={"Accept-Language": code}
        )
        direction = language_for(code).direction
        yield CheckedPage(f"{code} {state}", html=answer.text, language=code, direction=direction)
