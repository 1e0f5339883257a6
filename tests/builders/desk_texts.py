"""The texts of the operators' pages, as `make messages` collects them."""

import functools
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po

from tests.house.source_tree import ROOT

_PAGES = re.compile(r"^PAGES := (.*?)(?<!\\)$", re.MULTILINE | re.DOTALL)


@functools.cache
def texts_of_pages() -> Catalog:
    """Return the texts that are in the code now, by the words of the Makefile."""
    found = _PAGES.search((ROOT / "Makefile").read_text(encoding="utf-8"))
    assert found
    pybabel = [sys.executable, "-m", "babel.messages.frontend", "-q", "extract"]
    words = shlex.split(found[1].replace("\\\n", " "))
    with tempfile.TemporaryDirectory() as folder:
        to = Path(folder) / "desk.pot"
        subprocess.run([*pybabel, *words, "-o", to], check=True, cwd=ROOT)
        with to.open("rb") as file:
            return read_po(file)
