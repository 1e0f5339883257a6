"""Reads the rules file: the one of the settings, or the one that Coursebell brings along."""

from importlib.util import find_spec
from pathlib import Path

from schemas.errors import ConfigurationError
from schemas.rules import Rules, load_rules
from schemas.settings import Settings
from schemas.strict_yaml import file_text
from workers.actions.registry import kinds_for_rules
from workers.actions.webhook import read_endpoints
from workers.preference_links import reaches_members

# Beside the packages in a working tree, inside one of them once installed.
_SHIPPED_RULES = (
    Path(__file__).parent.parent / "schemas" / "rules.yaml",
    Path(__file__).parent.parent / "rules.yaml",
)
_NO_TYPST = (
    "certificates need the package typst, which is not installed; install Coursebell with its "
    "extra `certificate`, or remove this line"
)
_NO_ADDRESS = (
    "certificates are printed with the address of the page that confirms them; set "
    "COURSEBELL_PUBLIC_URL to the https address at which members reach this service, or remove "
    "this line"
)


def read_rules(settings: Settings) -> Rules:
    """Return the rules in force.

    Raises:
        ConfigurationError: every mistake in them, or that the file cannot be read.
    """
    return read_rules_at(rules_path(settings), "COURSEBELL_RULES", settings)


def rules_or_none(settings: Settings) -> Rules | None:
    """Return the rules in force; None if they cannot be used, which `coursebell status` reports."""
    try:
        return read_rules(settings)
    except ConfigurationError:
        return None


def rules_path(settings: Settings) -> Path:
    """Return where the rules in force are."""
    return Path(settings.rules) if settings.rules else _shipped_rules()


def read_rules_at(path: Path, named_by: str, settings: Settings) -> Rules:
    """Return the rules in this file; `named_by` is the setting or option that names it.

    With these settings they must be usable: they may post to the endpoints that these name, and
    send certificates if members can open the address on them.

    Raises:
        ConfigurationError: every mistake in them, or that the file cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        why = (error.strerror or "the system refuses it").lower()
        raise ConfigurationError([f"{named_by}: cannot read {path}: {why}"]) from None
    text = file_text(content, str(path))
    return load_rules(
        text,
        str(path),
        actions=kinds_for_rules(),
        no_certificates=_why_no_certificates(settings),
        endpoints={one.name for one in read_endpoints(settings)},
    )


def _why_no_certificates(settings: Settings) -> str | None:
    """Return why no rule may send certificates of completion, or None if one may.

    What is printed on one cannot be corrected later.
    """
    if find_spec("typst") is None:
        return _NO_TYPST
    return None if reaches_members(settings) else _NO_ADDRESS


def _shipped_rules() -> Path:
    return next((path for path in _SHIPPED_RULES if path.exists()), _SHIPPED_RULES[0])
