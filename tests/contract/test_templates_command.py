"""`coursebell templates check`: what a language lacks, and mistakes in the wording file."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from schemas.errors import ConfigurationError
from tests.contract.desk_rig import Desk
from tests.contract.ledger_rig import ROOT
from workers import languages

pytestmark = pytest.mark.engines("sqlite")


def test_the_languages_we_have_are_complete(desk: Desk) -> None:
    checked = desk.run("templates", "check")
    assert checked.exit_code == 0
    assert checked.stdout.splitlines() == [
        f"{code}: complete" for code in languages.language_codes()
    ]
    assert desk.as_json("templates", "check")["untranslated"]["pl"] == []


def test_a_missing_translation_is_named_and_exits_with_1(tmp_path: Path) -> None:
    """The program is our own but for one catalogue, beside links to everything else."""
    package = tmp_path / "workers"
    package.mkdir()
    for path in (ROOT / "workers").iterdir():
        if path.name not in {"locales", "__pycache__"}:
            (package / path.name).symlink_to(path)
    shutil.copytree(languages.FOLDER, package / "locales")
    catalogue = package / "locales" / "pl" / languages.CATALOGUE
    text = catalogue.read_text(encoding="utf-8")
    catalogue.write_text(text.replace('msgstr "Cześć!"', 'msgstr ""'), encoding="utf-8")
    environment = {**os.environ, "COURSEBELL_DATA_DIR": str(tmp_path)}
    checked = subprocess.run(
        [sys.executable, "-m", "service", "templates", "check"],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert checked.returncode == 1, checked.stderr
    lines = checked.stdout.splitlines()
    at = next(place for place, line in enumerate(lines) if line.startswith("pl"))
    assert "Hello," in lines[at + 1]
    assert len([line for line in lines if line.endswith(": complete")]) == 12


def test_a_text_that_lacks_a_form_or_its_translation_is_listed(tmp_path: Path) -> None:
    broken = tmp_path / "pl" / languages.CATALOGUE
    broken.parent.mkdir(parents=True)
    text = (languages.FOLDER / "pl" / languages.CATALOGUE).read_text(encoding="utf-8")
    text = text.replace('msgstr "Cześć!"', 'msgstr ""')
    text = text.replace('msgstr[1] "Kurs obejmuje {number} lekcje."', 'msgstr[1] ""')
    text = text.replace('msgid "Well done."', '#, fuzzy\nmsgid "Well done."')
    broken.write_text(text, encoding="utf-8")
    assert languages.untranslated("pl", tmp_path) == [
        "Well done.",
        "There is one lesson.",
        "Hello,",
    ]
    assert languages.untranslated("en") == []


def test_a_mistake_in_the_wording_file_has_its_line(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "wording.yaml"
    monkeypatch.setenv("COURSEBELL_WORDING", str(file))
    file.write_text("version: 1\nwording:\n  - {greeting: Hi}\n")
    assert "The wording file can be used; entries: 1." in desk.run("templates", "check").stdout
    file.write_text("version: 1\nwording:\n  - {greeting: '{nome}'}\n")
    refused = desk.run("templates", "check").exception
    assert isinstance(refused, ConfigurationError)
    assert refused.mistakes[0].startswith(f"{file}:3:16: wording[0].greeting: there is no {{nome}}")
