"""The lines of the README that call a running Coursebell, given to a real shell."""

import contextlib
import re
import shutil
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.e2e.house import House, living
from tests.house.source_tree import ROOT
from tests.servers.programs import wait_until

TOKENS = "the-newest-token,an-older-token"
SECRETS = "the-newest-secret, an-older-secret"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    for program in ("curl", "openssl"):
        if shutil.which(program) is None:
            pytest.skip(f"The README's lines call {program}, which is not installed.")
    folder = tmp_path_factory.mktemp("readme")
    settings = {"COURSEBELL_RELAY_TOKENS": TOKENS, "COURSEBELL_HOOK_SECRETS": SECRETS}
    with living(folder, **settings) as found:
        found.start("serve")
        wait_until(lambda: _answers(found.url), "the web server")
        yield found


def _answers(url: str) -> bool:
    with contextlib.suppress(requests.RequestException):
        return requests.get(f"{url}/readyz?for=web", timeout=5).ok
    return False


def lines_with(*words: str) -> str:
    """Return the README's only code block that has these words."""
    blocks = re.findall(r"(?:^ {4,}.*\n)+", (ROOT / "README.md").read_text(), re.MULTILINE)
    (block,) = [one for one in blocks if all(word in one for word in words)]
    return textwrap.dedent(block)


def output_of(house: House, lines: str, folder: Path, **settings: str) -> str:
    """Run the lines after step 5 of the README, which loads a file of settings."""
    file = folder / "env"
    file.write_text("".join(f"{name}='{text}'\n" for name, text in settings.items()))
    ours = lines.replace("http://127.0.0.1:8000", house.url)
    done = subprocess.run(
        ["/bin/sh", "-euc", f"set -a; . {file}; set +a\n{ours}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.strip()


@pytest.mark.parametrize("tokens", [TOKENS, TOKENS.partition(",")[0], TOKENS.partition(",")[2]])
def test_the_relays_line_works_with_one_token_or_several(
    house: House, tmp_path: Path, tokens: str
) -> None:
    lines = lines_with("curl", "/hooks/relay")
    assert output_of(house, lines, tmp_path, COURSEBELL_RELAY_TOKENS=tokens) == '{"accepted":1}'


@pytest.mark.parametrize("secrets", [SECRETS, SECRETS.partition(",")[0]])
def test_the_signing_lines_work_with_one_secret_or_several(
    house: House, tmp_path: Path, secrets: str
) -> None:
    lines = lines_with("curl", "openssl")
    assert output_of(house, lines, tmp_path, COURSEBELL_HOOK_SECRETS=secrets) == '{"accepted":1}'
