"""The settings: what they are called, what they may be, and how they are shown.

`load_settings` is given the environment as a mapping; files and the process's own environment are
read in `workers.environment`. There is no global settings object: a process loads one when it
starts and passes it on.
"""

from schemas.settings.addresses import (
    API_URL,
    Listen,
    MailAddress,
    SmtpServer,
    TlsMode,
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
from schemas.settings.table import PREFIX, SETTINGS, SettingDoc, Settings

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
