"""The languages of the operators' pages, and how they write times and numbers.

They are fewer than those of members' emails, and have catalogues of their own.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from gettext import NullTranslations
from pathlib import Path
from unicodedata import bidirectional
from zoneinfo import ZoneInfo

from babel import Locale, negotiate_locale
from babel.dates import format_date, format_time, format_timedelta, get_timezone_location
from babel.numbers import format_decimal
from markupsafe import Markup

from workers.languages import translations_in

FOLDER = Path(__file__).parent / "locales"
CATALOGUE = Path("LC_MESSAGES") / "desk.po"
LANGUAGE = "coursebell_language"  # the cookie with the code of the language that was chosen
_LOCALES = {"en": "en_GB", "de": "de", "es": "es", "fr": "fr"}
_DAYS = {"de": "d. MMM"}  # how a day without its year is written, where not as in English
_LONGEST_HEADER = 200
_ISOLATE, _POP = "\u2068", "\u2069"  # first strong isolate, pop directional isolate
_RIGHT_TO_LEFT = frozenset({"R", "AL"})


class Sentence(str):
    """A text with places, in which names may be written in another direction."""

    __slots__ = ()

    def format(self, *values: object, **named: object) -> str:
        """Fill the places in; each name is isolated, see `isolated`."""
        given = {name: isolated(value) for name, value in named.items()}
        return str.format(self, *map(isolated, values), **given)


def isolated(value: object) -> object:
    """Return a name so that what stands beside it keeps its place.

    A name that is written from right to left would take a bracket, a number or a full stop after
    it to its other side. Anything else is returned as it is.
    """
    if isinstance(value, str) and any(bidirectional(one) in _RIGHT_TO_LEFT for one in value):
        return f"{_ISOLATE}{value}{_POP}"
    return value


@dataclass(frozen=True, slots=True)
class UiLanguage:
    """One language of the pages."""

    code: str
    locale: Locale
    translations: NullTranslations

    def say(self, text: str) -> str:
        """Return the translation of a text, or the text itself if there is none."""
        return Sentence(self.translations.gettext(text))

    def say_n(self, one: str, several: str, number: int) -> str:
        """Return the translation of a text about so many things, with the number in it."""
        text = self.translations.ngettext(one, several, number)
        return text.format(number=self.number(number))

    def number(self, number: float | Decimal) -> str:
        """Return a number as it is written in this language, such as `1,234.5`."""
        return format_decimal(number, locale=self.locale)

    @property
    def own_name(self) -> str:
        """What speakers of the language call it."""
        name = self.locale.get_language_name() or self.code
        return name[0].upper() + name[1:]

    def day(self, day: date, form: str = "EEE {}") -> str:
        """Return a day as `Fri 27 Nov`; in `form`, {} is the day of its month."""
        return format_date(day, form.format(_DAYS.get(self.code, "d MMM")), locale=self.locale)


def ui_languages() -> tuple[UiLanguage, ...]:
    """Return the languages that the pages have, English first."""
    return tuple(_language(code, FOLDER) for code in _LOCALES)


def ui_language(
    accepted: str | None, chosen: str | None = None, folder: Path = FOLDER
) -> UiLanguage:
    """Return the language that was chosen, else the first that the browser asks for, or English.

    `folder` has the catalogues.
    """
    if chosen in _LOCALES:
        return _language(chosen, folder)
    wanted = [part.split(";")[0].strip() for part in (accepted or "")[:_LONGEST_HEADER].split(",")]
    primary = [one.replace("_", "-").split("-")[0].lower() for one in wanted if one]
    return _language(negotiate_locale(primary, list(_LOCALES)) or "en", folder)


@lru_cache(maxsize=20)
def _language(code: str, folder: Path) -> UiLanguage:
    file = folder / code / CATALOGUE
    found = translations_in(file, code) if file.exists() else NullTranslations()
    return UiLanguage(code, Locale.parse(_LOCALES[code]), found)


@dataclass(frozen=True, slots=True)
class Times:
    """Writes moments as an operator reads them, in the zone of the space."""

    language: UiLanguage
    zone: ZoneInfo
    now: datetime

    def words(self, moment: datetime, zone: ZoneInfo | None = None) -> str:
        """Return a moment as `14:32`, `tomorrow 08:00`, `Fri 27 Nov, 08:00`, with a far year."""
        at, today = moment.astimezone(zone or self.zone), self.now.astimezone(zone or self.zone)
        clock = format_time(at, "short", locale=self.language.locale)
        if at.date() == today.date():
            return clock
        if at.date() == today.date() + timedelta(days=1):
            return self.language.say("tomorrow {time}").format(time=clock)
        if at.date() == today.date() - timedelta(days=1):
            return self.language.say("yesterday {time}").format(time=clock)
        return f"{self.day(at.date(), today.date())}, {clock}"

    def there(self, moment: datetime, zone: ZoneInfo) -> str:
        """Return a moment by a person's clock as `08:00 in Sydney`; empty if it is the same."""
        if moment.astimezone(zone).utcoffset() == moment.astimezone(self.zone).utcoffset():
            return ""
        place = get_timezone_location(zone, locale=self.language.locale, return_city=True)
        return self.language.say("{time} in {place}").format(
            time=self.words(moment, zone), place=place
        )

    def ago(self, moment: datetime) -> str:
        """Return how long ago a moment was, such as `2 hours ago`."""
        if self.now - moment < timedelta(minutes=1):
            return self.language.say("just now")
        return format_timedelta(
            moment - self.now,
            granularity="minute",
            add_direction=True,
            locale=self.language.locale,
        )

    def day(self, day: date, today: date | None = None) -> str:
        """Return a day as `Fri 27 Nov`, with its year if it is another."""
        today = today or self.now.astimezone(self.zone).date()
        year = "" if day.year == today.year else " y"
        return self.language.day(day, f"EEE {{}}{year}")

    def mark(self, moment: datetime | None) -> Markup:
        """Return a moment as HTML that programs can read too; empty for None."""
        if moment is None:
            return Markup()
        text = self.words(moment)
        whole = f"{moment.astimezone(self.zone):%Y-%m-%d %H:%M %Z}"
        return Markup('<time datetime="{}" title="{}">{}</time>').format(
            moment.isoformat(), whole, text
        )
