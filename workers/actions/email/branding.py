"""How a space presents itself in its emails: its name, logo, colour, address and voice.

Contrasts are those of WCAG 2.2 (1.4.3 and 1.4.11). A colour that white text cannot be read on is
made darker until it can; for dark mode it is made lighter.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from schemas.settings import Settings

_TEXT_CONTRAST = 4.5
_WHITE, _INK = "#FFFFFF", "#10100E"
_CARD, _DARK_CARD = "#FFFFFF", "#1D1C19"
_LINEAR = 0.04045  # of sRGB: below it, a channel is linear (IEC 61966-2-1)
_STEPS = 50  # from a colour to black or white


@dataclass(frozen=True, slots=True)
class Accent:
    """A colour for buttons and bars, with the colour of text on it, in light and dark mode."""

    light: str
    light_text: str
    dark: str
    dark_text: str


@dataclass(frozen=True, slots=True)
class Branding:
    """What emails show of the space. `name` None means the name that Nexudus has for it.

    `colour` is that of buttons; see `accent_of`. With `signs_as_host` the host of the course signs;
    with `reads_replies` emails invite replies.
    """

    colour: str = "#0E6655"
    name: str | None = None
    logo_url: str | None = None
    address: str | None = None
    signs_as_host: bool = False
    reads_replies: bool = False

    @classmethod
    def from_settings(cls, settings: Settings) -> "Branding":
        """Return the branding that the settings describe."""
        return cls(
            settings.space_colour,
            settings.space_name,
            settings.space_logo,
            settings.space_address,
            settings.mail_signs_as_host,
            settings.mail_reads_replies,
        )


def accent_of(colour: str) -> Accent:
    """Return the accent for a colour such as `#0E6655`."""
    light = next(one for one in _towards(colour, "#000000") if _fits(one, _WHITE, _CARD))
    dark = next(one for one in _towards(colour, _WHITE) if _fits(one, _INK, _DARK_CARD))
    return Accent(light, _WHITE, dark, _INK)


def replaced_colour(settings: Settings) -> str | None:
    """Return what is used instead of the colour in the settings, and why; None if that is used."""
    wanted = settings.space_colour.upper()
    accent = accent_of(wanted)
    if accent.light == wanted:
        return None
    found = contrast(wanted, accent.light_text)
    return (
        f"COURSEBELL_SPACE_COLOUR is {wanted}, and the darker {accent.light} is used: white text on"
        f" it needs a contrast of {_TEXT_CONTRAST} and would have {found:.1f} (WCAG 2.2)"
    )


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours, from 1 to 21 (WCAG 2.2, relative luminance)."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _fits(colour: str, text: str, card: str) -> bool:
    return contrast(colour, text) >= _TEXT_CONTRAST and contrast(colour, card) >= _TEXT_CONTRAST


def _towards(colour: str, end: str) -> Iterator[str]:
    """Yield the colour and its mixtures with `end`, which comes last."""
    start, goal = _channels(colour), _channels(end)
    for step in range(_STEPS + 1):
        mixed = (round(a + (b - a) * step / _STEPS) for a, b in zip(start, goal, strict=True))
        yield "#" + "".join(f"{channel:02X}" for channel in mixed)


def _luminance(colour: str) -> float:
    def linear(channel: int) -> float:
        share = channel / 255
        return share / 12.92 if share <= _LINEAR else ((share + 0.055) / 1.055) ** 2.4

    red, green, blue = map(linear, _channels(colour))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _channels(colour: str) -> tuple[int, int, int]:
    digits = colour.removeprefix("#")
    return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16)
