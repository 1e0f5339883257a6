"""A moment as a person writes it: `7d` back from now, or a date or time of day.

Not for spans that lie ahead. What names no zone is meant in COURSEBELL_ZONE, as days of the
business are.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import click

from service.command.common import command_clock, settings_now

_BACK = re.compile(r"(\d{1,6})([mhd])", re.ASCII)
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
_MISTAKE = "expected a time back from now such as 30m, 3h or 7d, or a date such as 2026-03-01"


class Moment(click.ParamType[datetime]):
    """An option that takes a moment; the command gets it aware, in UTC.

    `30m`, `3h` and `7d` are so long ago. A date is the beginning of that day, and a time without a
    zone is meant, in COURSEBELL_ZONE.
    """

    name = "moment"

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's own signature: a text, or what it was turned into
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> datetime:
        """Return the moment that this text means.

        Raises:
            click.BadParameter: it means none.
            ConfigurationError: it is meant in COURSEBELL_ZONE, and the settings are wrong.
        """
        if isinstance(value, datetime):
            return value
        text = str(value).strip()
        try:
            back = _BACK.fullmatch(text)
            if back is not None:
                return command_clock().now() - int(back[1]) * _UNITS[back[2]]
            meant = datetime.fromisoformat(text)
            if meant.tzinfo is None:
                meant = meant.replace(tzinfo=ZoneInfo(settings_now().zone))
            return meant.astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail(_MISTAKE, param, ctx)
