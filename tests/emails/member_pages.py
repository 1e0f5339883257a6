"""The pages that members open from emails, in each of their states."""

import tempfile
from collections.abc import Iterable
from pathlib import Path

from tests.contract.preference_rig import Site, opened
from tests.emails.gate import CheckedPage
from workers.languages import language_for


def member_pages(languages: Iterable[str]) -> list[CheckedPage]:
    """Return every page in these languages."""
    with tempfile.TemporaryDirectory() as folder, opened(Path(folder)) as site:
        return [
            CheckedPage(
                f"{code} {state}",
                html=site.get(f"{path}{'&' if '?' in path else '?'}lang={code}").text,
                language=code,
                direction=language_for(code).direction,
            )
            for code in languages
            for state, path in _states(site).items()
        ]


def _states(site: Site) -> dict[str, str]:
    """Return the path of each page, by the state that it shows."""
    return {
        "choices": site.page,
        "choices saved": f"{site.page}?saved=1",
        "wrong link": "/p/abc",
    }
