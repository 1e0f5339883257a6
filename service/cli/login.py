"""`coursebell login`: signs in at Nexudus as a user with a second factor.

The code of an authenticator app is valid for half a minute, so workers cannot use one. A person
signs in once; workers then use the refresh token, each use of which gives the next one.
"""

import sys
from datetime import datetime

import click

from ledger.source_state import SignIn
from schemas.errors import ConfigurationError, SourceRefused, Transient
from schemas.settings import Settings
from service.cli.common import (
    as_json,
    command_clock,
    local,
    opened_ledger,
    print_json,
    settings_now,
)
from workers.source.auth import REFRESH_LIFE, InvalidGrant, Tokens, credentials_of
from workers.source.http import Transport

REFUSED = 1
OUT_OF_REACH = 4
_CODE_LENGTHS = range(6, 9)


def _digits(text: str) -> str:
    """Remove spaces from a code. An empty code means that there is no second factor."""
    digits = "".join(text.split())
    if digits and not (digits.isascii() and digits.isdigit() and len(digits) in _CODE_LENGTHS):
        raise click.BadParameter("expected the 6 digits that the authenticator app shows now")
    return digits


@click.command()
@click.option(
    "--code",
    callback=lambda _context, _option, text: text if text is None else _digits(text),
    help="The code that the authenticator app shows now; empty if there is no second factor.",
)
@as_json
def login(code: str | None, *, as_json: bool) -> None:
    """Sign in at Nexudus with a code; workers keep the sign-in alive."""
    settings = settings_now()
    with opened_ledger(settings) as engine:
        password = _password(settings)
        typed = _typed_code(settings) if code is None else code
        transport = Transport(settings.nexudus_url)
        tokens = Tokens(engine, lambda: transport, credentials_of(settings), command_clock())
        try:
            signed_in = tokens.sign_in_with(password, typed or None)
        except InvalidGrant:
            _end(
                "Nexudus does not accept this user, password or code.",
                "Check COURSEBELL_NEXUDUS_USERNAME and COURSEBELL_NEXUDUS_PASSWORD; with a "
                "second factor, wait for a new code. Then: coursebell login --code 123456",
                REFUSED,
            )
        except SourceRefused as error:
            next_step = "Check COURSEBELL_NEXUDUS_URL: coursebell config show"
            _end(f"{error}", next_step, REFUSED)
        except Transient as error:
            _end(f"{error}", "To find out what to fix: coursebell doctor", OUT_OF_REACH)
        finally:
            transport.close()
    _print_result(signed_in, as_json=as_json)


def _password(settings: Settings) -> str:
    if not settings.nexudus_username:
        raise ConfigurationError(
            ["COURSEBELL_NEXUDUS_USERNAME: not set, but needed for `coursebell login`"]
        )
    if settings.nexudus_password:
        return settings.nexudus_password
    if not sys.stdin.isatty():
        raise ConfigurationError(
            ["COURSEBELL_NEXUDUS_PASSWORD: set it, or run `coursebell login` in a terminal"]
        )
    try:
        typed: str = click.prompt("Password", hide_input=True, err=True)
    except UnicodeDecodeError:
        raise click.UsageError(
            "The password contains bytes that are not text in the encoding of this terminal. Use "
            "a terminal and a locale with UTF-8, for example LC_ALL=C.UTF-8."
        ) from None
    return typed


def _typed_code(settings: Settings) -> str | None:
    """Ask for a code; None if codes are computed from the key, or there is no terminal."""
    if settings.nexudus_totp:
        return None
    if not sys.stdin.isatty():
        return None  # most users have no second factor; those who have one give --code
    typed: str = click.prompt(
        "Code of the authenticator app (empty if there is none)",
        default="",
        show_default=False,
        err=True,
        value_proc=_digits,
    )
    return typed


def _print_result(signed_in: SignIn, *, as_json: bool) -> None:
    until = _lasts_until(signed_in)
    if as_json:
        print_json({"signed_in_at": signed_in.signed_in_at, "lasts_until": until})
        return
    click.echo("Signed in. Workers use this sign-in and keep it alive.")
    click.echo(f"It expires if no worker reaches Nexudus until {local(until)}.")
    click.echo("If it expires or is revoked, sign in again: coursebell login")


def _lasts_until(signed_in: SignIn) -> datetime:
    """Return when it expires if it is not used."""
    if signed_in.refresh_token is None or signed_in.signed_in_at is None:
        return signed_in.use_until or command_clock().now()
    return signed_in.signed_in_at + REFRESH_LIFE


def _end(problem: str, next_step: str, code: int) -> None:
    click.echo(problem, err=True)
    click.echo(next_step, err=True)
    raise SystemExit(code)
