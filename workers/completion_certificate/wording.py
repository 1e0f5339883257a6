"""What a certificate of completion says: cleaned texts, and the sentences around them."""

import re
import unicodedata
from collections.abc import Mapping

from babel.dates import format_date

from ledger.completion_certificates import CompletionCertificate
from schemas.text import cut_at_word, one_line
from workers.languages import Language

_LONGEST_NAME = 120  # characters
_LONGEST_TITLE = 240
# Signs of trade in names and titles, which Unicode counts among the pictures.
_KEPT_SIGNS = frozenset("©®™℠℗№°")
_ABOVE_BMP = 0xFFFF
_KEYCAP = "\u20e3"
_EMOJI_STYLE = re.compile("[\ufe00-\ufe0f]")
_JOINERS = frozenset("\u200c\u200d")
_RIGHT_TO_LEFT = frozenset({"R", "AL"})


def printed_name(full_name: str) -> str:
    """Return a person's name as it is printed: one line without emoji; "" if nothing remains."""
    return cut_at_word(without_pictures(full_name), _LONGEST_NAME)


def printed_title(title: str | None) -> str:
    """Return the title of a course, or the name of a space, as it is printed."""
    return cut_at_word(without_pictures(title or ""), _LONGEST_TITLE)


def without_pictures(text: str) -> str:
    """Return the text as one clean line without emoji and other pictures.

    Joiners remain between letters, where Persian and other scripts need them.
    """
    kept = [one for one in _EMOJI_STYLE.sub("", text) if not _is_picture(one)]
    return one_line(
        "".join(one for place, one in enumerate(kept) if one not in _JOINERS or _joins(kept, place))
    )


def _is_picture(character: str) -> bool:
    category = unicodedata.category(character)
    if category == "So":
        return character not in _KEPT_SIGNS
    # Tones of skin are modifiers, and the letters of flags are format characters.
    is_part = category in {"Sk", "Cf"} and ord(character) > _ABOVE_BMP
    return is_part or character == _KEYCAP or category in {"Cn", "Co"}


def _joins(characters: list[str], place: int) -> bool:
    beside = characters[max(0, place - 1) : place + 2]
    return len(beside) > 2 and all(unicodedata.category(one)[0] in "LM" for one in beside[::2])  # noqa: PLR2004


def direction_of(text: str, otherwise: str) -> str:
    """Return the direction of the first letter that has one: `ltr` or `rtl`."""
    for character in text:
        kind = unicodedata.bidirectional(character)
        if kind == "L":
            return "ltr"
        if kind in _RIGHT_TO_LEFT:
            return "rtl"
    return otherwise


def day_in_words(certificate: CompletionCertificate, language: Language) -> str:
    """Return the day of completion, as `24 November 2026`."""
    return format_date(certificate.finished_on, "long", locale=language.locale)


def certificate_labels(language: Language) -> Mapping[str, str]:
    """Return the words beside what a certificate says, on paper and on the page."""
    return {
        "awarded-to": language.gettext("Awarded to"),
        "for-completing": language.gettext("For completing the course"),
        "completed-on": language.gettext("Completed on"),
        "issued-by": language.gettext("Issued by"),
        "code-label": language.gettext("Code"),
    }


def certificate_text(
    certificate: CompletionCertificate, code: str, address: str, language: Language
) -> Mapping[str, str]:
    """Return everything that `certificate.typ` prints, by the names it uses."""
    heading = language.gettext("Certificate of completion")
    shown = {
        "name": certificate.name,
        "course": certificate.course,
        "space": certificate.space or "",
        "finished": day_in_words(certificate, language),
        "code": code,
    }
    return {
        "lang": language.code,
        "dir": language.direction,
        "title": f"{heading}: {certificate.course}",
        "heading": heading,
        "check": language.gettext("Anyone can check this certificate at this address:"),
        "address": address,
        "year": str(certificate.finished_on.year),
        "month": str(certificate.finished_on.month),
        "day": str(certificate.finished_on.day),
        **certificate_labels(language),
        **shown,
        **{f"{key}-dir": direction_of(text, language.direction) for key, text in shown.items()},
    }
