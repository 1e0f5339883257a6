"""What our emails use although an email program lacks it or a part of it, each with its reason.

All of it makes an email better where it is supported and does no harm where it is not. `unlisted`
and `unneeded` compare these tables with what was found.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tests.emails.gate import SupportGap

_GMAIL = ("gmail.desktop-webmail", "gmail.ios", "gmail.android")
_OUTLOOK = ("outlook.outlook-com", "outlook.macos", "outlook.ios", "outlook.android")
_WORD = "outlook.windows"  # shows emails as Word does


@dataclass(frozen=True, slots=True)
class AcceptedGap:
    """The programs that lack a feature, and why that does no harm."""

    clients: frozenset[str]
    reason: str


def _lacking(*clients: str, reason: str) -> AcceptedGap:
    return AcceptedGap(frozenset(clients), reason)


# Features that a program does not support at all.
LACKING: Mapping[str, AcceptedGap] = {
    "@media": _lacking(
        _WORD, reason="It holds the dark colours alone; Outlook shows the light ones."
    ),
    "@media (prefers-color-scheme)": _lacking(
        _WORD, *_GMAIL, reason="The program shows the light colours, or makes dark ones itself."
    ),
    "color-scheme CSS property": _lacking(
        _WORD, *_OUTLOOK, *_GMAIL, reason="It tells Apple Mail that the email has dark colours."
    ),
    "color-scheme meta tag": _lacking(
        _WORD,
        *_OUTLOOK,
        *_GMAIL,
        "apple-mail.ios",
        reason="It tells Apple Mail on a Mac that the email has dark colours.",
    ),
    "border-radius": _lacking(_WORD, reason="The button and the card have square corners."),
    "word-wrap": _lacking(
        _WORD, "outlook.android", reason="A word longer than a line makes the email wider."
    ),
    "<body> element": _lacking(
        "outlook.macos", reason="The first element in it has the same background and language."
    ),
    "HTML5 doctype": _lacking(_WORD, reason="Word has one way to show HTML, whatever the doctype."),
    "system-ui, ui-serif, ui-sans-serif, ui-rounded, ui-monospace": _lacking(
        _WORD, reason="The next fonts of the list are tried, Segoe UI among them."
    ),
}
# Features that a program supports in part, and why the missing part does no harm.
PARTLY: Mapping[str, str] = {
    "!important keyword": "It stands in the dark colours alone, in lower case.",
    "@media": "Its one query is about the colour scheme, is not nested and asks for no height.",
    "<style> element": "In the head, before what it styles, it holds the dark colours alone.",
    "Class selector": "Where Gmail shows other accounts, the light colours in the markup remain.",
    "<body> element": "The first element in it has the same background and language.",
    "<ul>, <ol> and <dl>": "Our lists are not numbered.",
    "background": "We set only the colour of a background.",
    "border": "The line above the end is one pixel; without it there is still a gap.",
    "dir attribute": "No link has one.",
    "display": "Outlook makes the link in a button inline; its cell has padding and colour.",
    "display:none": "The hidden text for the inbox holds no table; `mso-hide` hides it in Outlook.",
    "font-size": "All are in pixels.",
    "font-weight": "We use 600, which Outlook makes bold.",
    "text-align": "We use left and right, which every program knows, never start and end.",
    "height attribute": "Heights are in pixels; on a sharper screen the bar is a little lower.",
    "height property": "Outlook needs it in table cells and images alone, where it is supported.",
    "line-height": "Lines are a little closer; bars, where it matters, have an exact height.",
    "margin": "None is negative; a table for Outlook alone centres the card.",
    "max-width": "A table for Outlook alone gives the card its width.",
    "padding": "A table for Outlook alone pads the card, `mso-padding-alt` the button.",
    "system-ui, ui-serif, ui-sans-serif, ui-rounded, ui-monospace": "We use system-ui alone.",
    "text-decoration": "A button's words may be underlined, as those of other links are.",
    "width attribute": "No image has a width.",
    "width property": "Outlook needs it in table cells alone, where it is supported.",
    "word-wrap": "Gmail breaks long words everywhere, as we ask.",
}


def unlisted(gaps: Iterable[SupportGap]) -> list[str]:
    """Return the gaps that the tables do not accept."""
    return sorted(
        f"{one.client} lacks {one.feature} ({one.support}) {one.note}".strip()
        for one in gaps
        if not _is_accepted(one)
    )


def unneeded(gaps: Iterable[SupportGap]) -> list[str]:
    """Return what the tables accept and no email needs."""
    found = {(one.support, one.feature, one.client) for one in gaps}
    lacking = [
        f"{feature}: {client}"
        for feature, gap in LACKING.items()
        for client in gap.clients
        if ("none", feature, client) not in found
    ]
    in_part = {feature for support, feature, _ in found if support == "partial"}
    return sorted([*lacking, *(PARTLY.keys() - in_part)])


def _is_accepted(gap: SupportGap) -> bool:
    if gap.support == "partial":
        return gap.feature in PARTLY
    return gap.feature in LACKING and gap.client in LACKING[gap.feature].clients
