"""`coursebell templates`: checks the texts of emails: their translations, and the wording file."""

import click

from service.cli.common import as_json, print_json, printable, settings_now
from service.cli.main import Commands
from workers.actions.email.own_words import read_wording
from workers.languages import language_codes, untranslated

_UNTRANSLATED = 1


@click.group(cls=Commands)
def templates() -> None:
    """Check the texts of emails."""


@templates.command()
@as_json
def check(*, as_json: bool) -> None:
    """List the texts that a language lacks, and check the wording file.

    Exits with 1 if a language lacks a text, which is then in English. A mistake in the file of
    COURSEBELL_WORDING exits with 2 and has its line.
    """
    own = read_wording(settings_now())
    missing = {code: untranslated(code) for code in language_codes()}
    if as_json:
        print_json({"untranslated": missing, "own_words": len(own.entries)})
    else:
        for code, texts in missing.items():
            click.echo(f"{code}: {_number(len(texts))}")
            for text in texts:
                click.echo(printable(f"  {text}"))
        if own.digest:
            click.echo(f"The wording file can be used; entries: {len(own.entries)}.")
    if any(missing.values()):
        raise SystemExit(_UNTRANSLATED)


def _number(missing: int) -> str:
    return f"{missing} not translated" if missing else "complete"
