"""Signing in at a provider in a real browser, for which it is another site."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import requests

from tests.doubles.openid_provider import CLIENT_ID, CLIENT_SECRET, Provider, providing
from tests.e2e.house import House, living
from tests.emails.gate import walk_in_browser
from tests.servers.programs import wait_until


@pytest.fixture
def provider() -> Iterator[Provider]:
    with providing("localhost") as found:
        found.asks = True
        found.person = {"sub": "i-1", "email": "ines@example.org", "email_verified": True}
        yield found


@pytest.fixture
def house(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Give the web process alone."""
    with ExitStack() as stack:
        found = stack.enter_context(
            living(
                tmp_path_factory.mktemp("provider"),
                COURSEBELL_OIDC_ISSUER=provider.issuer,
                COURSEBELL_OIDC_CLIENT_ID=CLIENT_ID,
                COURSEBELL_OIDC_CLIENT_SECRET=CLIENT_SECRET,
                COURSEBELL_OIDC_NAME="Harbour ID",
            )
        )
        found.start("serve")
        wait_until(lambda: is_up(found), "the web process")
        yield found


def is_up(house: House) -> bool:
    try:
        return requests.get(f"{house.url}/healthz", timeout=5).ok
    except requests.RequestException:
        return False


def test_a_provider_signs_in_and_what_was_filled_in_is_kept(house: House) -> None:
    added = house.run("user", "add", "Ines", "--email", "ines@example.org")
    assert added.returncode == 0, added.stderr
    steps = (
        ("open", "/pause"),
        ("press", "Sign in with Harbour ID"),
        ("press", "Allow"),
        ("see", "Pause now"),
        ("loseSession",),
        ("press", "Pause now"),
        ("see", "What you filled in is kept"),
        ("pressInOtherTab", "Sign in with Harbour ID", "Allow", "Go back to the other tab"),
        ("press", "I am signed in: continue"),
        ("see", "nothing you typed is lost"),
        ("press", "Pause now"),
        ("see", "Paused: all emails."),
    )
    job = {"base": house.url, "steps": steps, "cookies": [], "scripts": False}
    seen = walk_in_browser(job)
    assert seen["url"].startswith(house.url)
    assert house.rows("SELECT made_by FROM pauses") == [("Ines",)]
