"""No page of operators speaks as engineers do: every route and the main states are read."""

import re
from html import unescape

from schemas.roles import Role
from service.desk.routes import ROUTES
from tests.emails.desk_pages import desk_pages

# The numbers are answers of servers, as in "a 404".
BANNED = re.compile(
    r"\b(webhook|payload|queue|job|retry policy|uuid|json|http (?:post|get)|endpoint|boolean|null"
    r"|a [45]\d\d)s?\b",
    re.IGNORECASE,
)
OF_ENGINEERS = {"event:show"}
NO_PAGES = {
    *("preview:body", "message:body", "reports:body"),  # emails
    *("assets:style", "assets:script", "numbers:picture", "today:count_newer"),
    *("provider:begin", "provider:answer"),  # they lead on
}


def said(html: str) -> str:
    """Return what a reader sees of a page, without what is shown to be copied."""
    content = html.partition("<body")[2].partition(">")[2]
    content = re.sub(r"<(code|pre)\b.*?</\1>", " ", content, flags=re.DOTALL)
    return unescape(" ".join(re.sub(r"<[^>]*>", " ", content).split()))


def test_no_page_speaks_as_engineers_do() -> None:
    pages = {
        one.name.removeprefix("desk "): one.html or "" for one in desk_pages(role=Role.OPERATE)
    }
    found = {name: words for name, html in pages.items() if (words := BANNED.findall(said(html)))}
    assert found == {}
    shown = [name.split()[0] for name, html in pages.items() if "<main" in html]
    for route in ROUTES:
        if route.method == "GET" and route.view not in OF_ENGINEERS | NO_PAGES:
            path = re.sub(r"<[^>]*>", "[^/]+", route.path)
            assert any(re.fullmatch(path, one) for one in shown), f"no page shows {route.path}"
