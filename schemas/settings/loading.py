"""From the environment's texts to typed settings, with every mistake at once.

Mistakes name the setting and what was expected. They never repeat what was written: a password
pasted into the wrong setting must not end in a log.
"""

from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError, post_load

from schemas.base import HouseSchema
from schemas.errors import ConfigurationError
from schemas.settings import addresses, values
from schemas.settings.quotes import unquoted
from schemas.settings.shape import Settings
from schemas.settings.table import PREFIX, SETTINGS
from schemas.text import Text, closest

_FILE = "_FILE"
_BLANKS = " \t"
_A_DAY_S = 86_400
_AN_HOUR_S = 3_600
_MOST_WORKERS = 64


class SettingsSchema(HouseSchema):
    """One field for each setting; the attribute of `Settings` is the field's own name."""

    record_class = Settings

    data_dir = Text(values.folder, data_key="COURSEBELL_DATA_DIR")
    database_url = Text(
        addresses.database_url, data_key="COURSEBELL_DATABASE_URL", load_default=None
    )
    broker_url = Text(addresses.broker_url, data_key="COURSEBELL_BROKER_URL", load_default=None)
    nexudus_url = Text(addresses.nexudus_url, data_key="COURSEBELL_NEXUDUS_URL")
    nexudus_username = Text(values.plain, data_key="COURSEBELL_NEXUDUS_USERNAME", load_default=None)
    nexudus_password = Text(values.plain, data_key="COURSEBELL_NEXUDUS_PASSWORD", load_default=None)
    nexudus_totp = Text(
        values.authenticator_key, data_key="COURSEBELL_NEXUDUS_TOTP", load_default=None
    )
    nexudus_client_id = Text(
        values.plain, data_key="COURSEBELL_NEXUDUS_CLIENT_ID", load_default=None
    )
    hook_secrets = Text(values.hook_secrets, data_key="COURSEBELL_HOOK_SECRETS", load_default=())
    relay_tokens = Text(values.relay_tokens, data_key="COURSEBELL_RELAY_TOKENS", load_default=())
    smtp = Text(addresses.smtp_server, data_key="COURSEBELL_SMTP_URL", load_default=None)
    mail_from = Text(addresses.mail_address, data_key="COURSEBELL_MAIL_FROM", load_default=None)
    mail_reply_to = Text(
        addresses.mail_address, data_key="COURSEBELL_MAIL_REPLY_TO", load_default=None
    )
    rules = Text(values.plain, data_key="COURSEBELL_RULES", load_default=None)
    public_url = Text(addresses.web_address, data_key="COURSEBELL_PUBLIC_URL")
    listen = Text(addresses.listen, data_key="COURSEBELL_LISTEN")
    mode = Text(values.mode, data_key="COURSEBELL_MODE")
    check_every_s = Text(values.whole_number(0, _A_DAY_S), data_key="COURSEBELL_CHECK_EVERY_S")
    hooks_reenable = Text(values.flag, data_key="COURSEBELL_HOOKS_REENABLE")
    lesson_url = Text(
        addresses.portal_pattern("course_id", "lesson_id", "lesson_unique_id"),
        data_key="COURSEBELL_LESSON_URL",
        load_default=None,
    )
    course_url = Text(
        addresses.portal_pattern("course_id"), data_key="COURSEBELL_COURSE_URL", load_default=None
    )
    secret_key = Text(values.secret, data_key="COURSEBELL_SECRET_KEY", load_default=None)
    nexudus_limits = Text(values.limits, data_key="COURSEBELL_NEXUDUS_LIMITS")
    zone = Text(values.zone, data_key="COURSEBELL_ZONE")
    lease_s = Text(values.whole_number(1, _AN_HOUR_S), data_key="COURSEBELL_LEASE_S")
    workers = Text(values.whole_number(1, _MOST_WORKERS), data_key="COURSEBELL_WORKERS")

    @post_load
    def make_record(self, fields: dict[str, Any], **_: Any) -> Any:  # noqa: ANN401 - marshmallow's own signature
        """Build the settings; the ledger's place follows from the data folder unless given."""
        in_data_dir = f"sqlite:///{fields['data_dir']}/coursebell.db"
        return Settings(**{**fields, "database_url": fields["database_url"] or in_data_dir})


_SCHEMA = SettingsSchema()

# Which attribute of `Settings` each setting becomes.
ATTRIBUTES: dict[str, str] = {
    field.data_key: attribute for attribute, field in _SCHEMA.fields.items() if field.data_key
}


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Return the settings that this environment states, with defaults for the rest.

    Only names that begin with `COURSEBELL_` are looked at, and an empty text is the same as none.
    Quotes around a whole value are removed (`schemas.settings.quotes`).
    Names that end in `_FILE` must have been resolved before (`workers.environment` does that).

    Raises:
        ConfigurationError: with one sentence for each mistake, in the order of the table, each
            beginning with the setting's name; a name that is no setting is a mistake too.
    """
    ours = {name: text for name, text in environ.items() if name.startswith(PREFIX)}
    stated: dict[str, str] = {}
    mistakes: dict[str, Any] = {}
    for name, text in ours.items():
        try:
            value = plain_text(name, text)
        except ValidationError as error:
            mistakes[name] = error.messages
        else:
            stated |= {name: value} if value else {}
    defaults = {doc.name: doc.default for doc in SETTINGS if doc.default is not None}
    try:
        loaded: Settings = _SCHEMA.load({**defaults, **stated})
    except ValidationError as errors:
        mistakes |= errors.messages_dict
    if mistakes:
        raise ConfigurationError(_sentences(mistakes))
    return loaded


def plain_text(name: str, text: str) -> str:
    """Return what a setting's text says, without quotes and blanks around it.

    A blank may be part of a secret, so secrets keep theirs. An empty result means unset.

    Raises:
        ValidationError: see `unquoted`.
    """
    secret = any(doc.secret for doc in SETTINGS if doc.name == name)
    return unquoted(text) if secret else unquoted(text.strip(_BLANKS)).strip(_BLANKS)


def is_set(name: str, environ: Mapping[str, str]) -> bool:
    """Return whether the environment states this name, with more than blanks or empty quotes."""
    try:
        return bool(plain_text(name, environ.get(name, "")))
    except ValidationError:
        return True


def _sentences(errors: Mapping[str, Any]) -> list[str]:
    known = [f"{name}: {sentence}" for name in ATTRIBUTES for sentence in errors.get(name, ())]
    unknown = sorted(name for name in errors if name not in ATTRIBUTES)
    return known + [f"{ascii(name)[1:-1]}: {_unknown(name)}" for name in unknown]


def _unknown(name: str) -> str:
    """Say that there is no such setting, and which one may have been meant."""
    if name.removesuffix(_FILE) in ATTRIBUTES:
        return "expected to have been read from its file before; this is a fault of the caller"
    names = {doc.name + _FILE if name.endswith(_FILE) else doc.name for doc in SETTINGS}
    return f"there is no such setting{closest(name, names, prefix=PREFIX)}"
