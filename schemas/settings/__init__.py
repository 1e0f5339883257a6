"""The settings: their names, values and descriptions, and how to load and show them.

`load_settings` takes the environment as a mapping; `workers.environment` reads files and the
process's environment. There is no global settings object: each process loads one at its start and
passes it on.
"""

from schemas.settings.addresses import (
    API_URL,
    Listen,
    Network,
    is_loopback,
)
from schemas.settings.loading import (
    PLATFORM_NAMES,
    SettingLine,
    describe,
    from_platform,
    is_quoted,
    is_set,
    load_settings,
    platform_sources,
    weak_secrets,
)
from schemas.settings.mail import MailAddress, SendingRate, SmtpServer, TlsMode
from schemas.settings.table import PREFIX, SETTINGS, SettingDoc, Settings
from schemas.settings.values import LANGUAGES

__all__ = [
    "API_URL",
    "LANGUAGES",
    "PLATFORM_NAMES",
    "PREFIX",
    "SETTINGS",
    "Listen",
    "MailAddress",
    "Network",
    "SendingRate",
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
