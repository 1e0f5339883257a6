"""Opens emails and pages in a headless Chromium and returns what is wrong with them.

An email is opened 320 and 600 pixels wide, a page 320, 360 and 1180, each in light and dark mode,
and checked with axe-core (WCAG 2.2 A and AA), for contrast, for sideways scrolling and cut text,
and for its language and direction.
What the markup and styles of an email need of email programs is looked up in caniemail's tables.

`page_faults` checks pages of the service by their addresses or files.
"""

import atexit
import functools
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from tests.emails.people import EmailCase

FOLDER = Path(__file__).parent
_PACKAGES = FOLDER / "node_modules"
_UNPACKED = _PACKAGES / ".browser"  # by unpack-browser.mjs
_INSTALL = "Run `make setup`: it installs the browser that emails are checked in (needs Node.js)."
_OWN_BROWSER = "Install Chromium, or set CHROMIUM to the path of one."
_PATIENCE_S = 3_600


class NoBrowser(Exception):
    """There is no browser to check emails in. The message says what to do."""


@dataclass(frozen=True, slots=True)
class CheckedPage:
    """One document to open: its HTML, or the address where it is.

    `language` and `direction` are what they must be; None accepts any that is stated.
    """

    name: str
    html: str | None = None
    url: str | None = None
    language: str | None = None
    direction: str | None = None
    is_email: bool = False


@dataclass(frozen=True, slots=True)
class PageFault:
    """One fault of a page. `view` is the width and the colour scheme it was seen in."""

    page: str
    view: str
    check: str
    detail: str


@dataclass(frozen=True, slots=True)
class SupportGap:
    """A feature that an email program lacks (`support` is none) or has in part (partial).

    `pages` are the emails that use the feature.
    """

    feature: str
    client: str
    support: str
    note: str
    pages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GateResult:
    """What was found. `views` is how often a document was looked at."""

    faults: tuple[PageFault, ...]
    gaps: tuple[SupportGap, ...]
    views: int

    def of(self, *names: str) -> "GateResult":
        """Return what was found in the pages with these names."""
        return GateResult(
            tuple(one for one in self.faults if one.page in names),
            tuple(one for one in self.gaps if not set(names).isdisjoint(one.pages)),
            self.views,
        )


def as_page(case: EmailCase) -> CheckedPage:
    """Return an email as a page to check."""
    return CheckedPage(
        case.name,
        html=case.letter.html,
        language=case.language,
        direction=case.direction,
        is_email=True,
    )


def check_pages(pages: Iterable[CheckedPage]) -> GateResult:
    """Open these pages in one browser and return what is wrong with them.

    Raises:
        NoBrowser: there is none.
    """
    found = run_in_browser("gate.mjs", {"pages": [asdict(page) for page in pages]})
    return GateResult(
        tuple(PageFault(**one) for one in found["faults"]),
        tuple(SupportGap(**{**one, "pages": tuple(one["pages"])}) for one in found["gaps"]),
        found["views"],
    )


def page_faults(*places: str | Path) -> list[PageFault]:
    """Return the faults of pages, by their addresses or the paths of their files."""
    urls = [one.resolve().as_uri() if isinstance(one, Path) else one for one in places]
    return list(check_pages(CheckedPage(url, url=url) for url in urls).faults)


def run_in_browser(script: str, job: Mapping[str, object]) -> dict[str, Any]:
    """Run a script of this folder with Node.js and return what it found.

    Raises:
        NoBrowser: there is no browser, or no Node.js to drive it.
    """
    ran = subprocess.run(
        [_node(), FOLDER / script],
        input=json.dumps({**job, "browser": find_browser(os.environ)}),
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
        check=False,
    )
    if ran.returncode:
        raise RuntimeError(f"{script} failed: {ran.stderr[-2_000:]}")
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def walk_in_browser(walk: Mapping[str, object]) -> dict[str, Any]:
    """Walk through pages, as `walk.mjs` says, and return what was seen. All use one browser.

    Raises:
        NoBrowser: there is no browser, or no Node.js to drive it.
    """
    asked, told = _walking_program()
    try:
        asked.write(f"{json.dumps(walk)}\n")
        asked.flush()
        line = told.readline()
    except BaseException:
        _walking_program.cache_clear()  # its next line would be the answer to this walk
        raise
    seen: dict[str, Any] = json.loads(line) if line else {"failed": "walk.mjs ended"}
    if "failed" in seen:
        raise RuntimeError(f"The walk failed: {seen['failed']}")
    return seen


@functools.cache
def _walking_program() -> tuple[IO[str], IO[str]]:
    program = subprocess.Popen(
        [_node(), FOLDER / "walk.mjs"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    asked, told = program.stdin, program.stdout
    assert asked is not None
    assert told is not None

    def end() -> None:
        asked.close()
        program.wait()
        told.close()

    atexit.register(end)
    asked.write(f"{json.dumps({'browser': find_browser(os.environ)})}\n")
    asked.flush()
    assert told.readline(), "walk.mjs started no browser"
    return asked, told


def _node() -> str:
    node = shutil.which("node")
    if node is None or not _PACKAGES.is_dir():
        raise NoBrowser(_INSTALL)
    return node


def find_browser(
    environment: Mapping[str, str], unpacked: Path = _UNPACKED, machine: str | None = None
) -> dict[str, object]:
    """Return the path of the browser and the variables that it needs.

    It is the one that CHROMIUM names, or the one that `make setup` installs, or, on a machine that
    this does not run on, an installed one.

    Raises:
        NoBrowser: there is none of these.
    """
    variables = {
        "FONTCONFIG_FILE": str(FOLDER / "fonts.conf"),
        "XDG_CACHE_HOME": str(_PACKAGES / ".cache"),
    }
    named = environment.get("CHROMIUM")
    if named:
        path = shutil.which(named)
        if path is None:
            raise NoBrowser(f"CHROMIUM is {named}, which is no program. {_OWN_BROWSER}")
    elif sys.platform == "linux" and (machine or platform.machine()) == "x86_64":
        path = str(unpacked / "chromium")
        if not Path(path).is_file():
            raise NoBrowser(_INSTALL)
        variables["LD_LIBRARY_PATH"] = str(unpacked / "lib")
    else:
        path = shutil.which("chromium", path=environment.get("PATH"))
        if path is None:
            raise NoBrowser(
                f"The browser of this repository is for Linux on x86-64. {_OWN_BROWSER}"
            )
    return {"path": path, "variables": variables}
