"""Shared by the repository tests: the source files, the pages, and the command line."""

import ast
import functools
import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from service.cli.main import commands

ROOT = Path(__file__).parents[2]
PACKAGES = ("service", "workers", "ledger", "schemas", "sandbox")
PAGES = (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")))

# What is made here or filled in here, and is no part of the source.
_NOT_SOURCE = {".git", ".venv", ".hypothesis", "var", "dist", "htmlcov", "__pycache__", "secrets"}
_NOT_SOURCE |= {"node_modules", "contact-sheets"}
_FILLED_IN = {"deploy/env", "deploy/.env"}
_NOT_SOURCE_ENDS = ("_cache", ".egg-info")
_CODE = re.compile(r"^```[\s\S]*?^```$|^(?: {4,}[^\n]*\n?)+|`[^`\n]+`", re.MULTILINE)

_PIP_INSTALL = re.compile(r"\bpip[\d.]*\b[^\n|;&`]*?\sinstall\b([^\n|;&`]*)")


def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def source_files() -> Iterator[Path]:
    """Every file of the source, by its path from the root."""
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [
            name
            for name in folders
            if name not in _NOT_SOURCE and not name.endswith(_NOT_SOURCE_ENDS)
        ]
        for name in names:
            path = (Path(folder) / name).relative_to(ROOT)
            if str(path) not in _FILLED_IN and path.name not in {".coverage", ".git"}:
                yield path


def source_texts() -> Iterator[tuple[Path, str]]:
    for path in source_files():
        yield path, (ROOT / path).read_text(encoding="utf-8", errors="replace")


@functools.cache
def modules() -> tuple[tuple[str, ast.Module, str], ...]:
    """Return every module of the packages: its path, its tree, its text."""
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    texts = {path: path.read_text(encoding="utf-8") for path in paths}
    return tuple(
        (str(path.relative_to(ROOT)), ast.parse(text), text) for path, text in texts.items()
    )


def pip_installs() -> Iterator[tuple[Path, list[str]]]:
    """Every `pip install` that a page, a script or a build file states: the words behind it.

    Programs are not looked into, nor lock files.
    """
    for path, text in source_texts():
        if path.suffix not in {".py", ".lock"} and "pip" in text:
            for line in text.replace("\\\n", " ").splitlines():
                for words in _PIP_INSTALL.findall(line):
                    yield path, words.split()


def table_rows(page: str) -> list[list[str]]:
    """Every row of every table of a page, as the texts of its cells."""
    lines = (ROOT / "docs" / page).read_text(encoding="utf-8").splitlines()
    return [
        [cell.strip() for cell in line.strip("| ").split(" | ")]
        for line in lines
        if line.startswith("| ")
    ]


def code_in(page: str) -> list[str]:
    """Find the code spans and blocks of a page."""
    return [found.strip("`") for found in _CODE.findall(page)]


def commands_in(group: click.Group) -> list[click.Command]:
    """Every command of a group, imported."""
    context = click.Context(group)
    found = [group.get_command(context, name) for name in group.list_commands(context)]
    return [command for command in found if command is not None]


def mistake_in(words: list[str]) -> str | None:
    """Say what is wrong with a call of `coursebell` with these words; None: nothing is."""
    command: click.Command = commands
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(click.Context(command), words[0])
        if found is None:
            return f"there is no command {words[0]}"
        command, words = found, words[1:]
    if isinstance(command, click.Group):
        return None
    try:
        command.make_context("coursebell", list(words), resilient_parsing=False)
    except click.exceptions.Exit:
        return None  # --help
    except click.UsageError as error:
        named_alone = isinstance(error, click.MissingParameter) and not words
        return None if named_alone else error.format_message()
    return None
