"""The settings: what they are called, what they may be, and how they are shown.

`load_settings` is given the environment as a mapping; reading files and the process's own
environment is done in `workers.environment`. There is no settings object here: whoever starts a
process loads one and hands it on.
"""

from schemas.settings.addresses import API_URL, is_loopback
from schemas.settings.describing import SettingLine, describe, weak_secrets
from schemas.settings.loading import is_set, load_settings
from schemas.settings.platform import PLATFORM_NAMES, from_platform, platform_sources
from schemas.settings.quotes import is_quoted
from schemas.settings.shape import Listen, MailAddress, Settings, SmtpServer, TlsMode
from schemas.settings.table import PREFIX, SETTINGS, SettingDoc

__all__ = [
    "API_URL",
    "PLATFORM_NAMES",
    "PREFIX",
    "SETTINGS",
    "Listen",
    "MailAddress",
    "SettingDoc",
    "SettingLine",
    "Settings",
    "SmtpServer",
    "TlsMode",
    "describe",
    "from_platform",
    "is_loopback",
    "is_quoted",
    "is_set",
    "load_settings",
    "platform_sources",
    "weak_secrets",
]
