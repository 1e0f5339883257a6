"""Foreign text made fit for one line of a letter or a header, and cut to a length.

Titles and names are typed by people at the source. They may hold newlines, control characters,
marks that turn the direction of everything after them, and words that a mail reader would decode
into a second header line (CVE-2024-6923, CVE-2026-1299).
"""

import re
import unicodedata

from schemas.text import folded

SUBJECT_ROOM = 60  # characters; more is cut off by most inboxes

# Embeddings, overrides and isolates: they reach beyond the text they stand in.
_DIRECTION_MARKS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_BLANK_CATEGORIES = frozenset({"Cc", "Zl", "Zp", "Zs"})
_JOINERS = frozenset("\u200d\ufe0f")


def one_line(text: str | None) -> str:
    """Return the text as one clean line; empty if nothing readable is left.

    Control characters and all kinds of blank become single spaces; direction marks and lone
    surrogates, which cannot be written as UTF-8, are dropped. An encoded word is broken by a
    space after its `=`, last of all, so that no dropped character can put it together again.
    """
    kept = "".join(map(_readable, text or ""))
    return " ".join(kept.split()).replace("=?", "= ?")


def cut_at_word(text: str, room: int) -> str:
    """Return at most `room` characters, with "…" where it was cut: between words, if possible."""
    if len(text) <= room:
        return text
    if room < 1:
        return ""
    end = room - 1
    gap = text.rfind(" ", 0, end + 1)
    end = gap if gap >= room // 2 else _before_a_whole_character(text, end)
    return text[:end].rstrip(" ,;:.-\u2013\u2014(") + "…"


def around(pattern: str, title: str) -> str:
    """Return the pattern with the title in place of `{}`, cut so that all of it fits a subject."""
    return pattern.replace("{}", cut_at_word(title, SUBJECT_ROOM - len(pattern) + 2), 1)


def _readable(character: str) -> str:
    category = unicodedata.category(character)
    if category in _BLANK_CATEGORIES:
        return " "
    if category == "Cs" or character in _DIRECTION_MARKS or character == "\ufeff":
        return ""
    return character


def _before_a_whole_character(text: str, end: int) -> int:
    # An accent or a joined emoji must not be parted from what it belongs to.
    while end > 0 and (
        unicodedata.combining(text[end]) or text[end] in _JOINERS or text[end - 1] in _JOINERS
    ):
        end -= 1
    return end


# A name somebody can be greeted by. A link or an address typed as a name would be sent by us to
# whoever owns the mailbox, so anything that a mail reader may turn into a link is no name.
_NO_NAME = re.compile(r"[0-9/:@]|\.\w{2}|www\.", re.IGNORECASE)
_LONGEST_NAME = 40


def greetable(first_name: str | None, full_name: str) -> str | None:
    """Return the first name if it looks like one and is whole words of the full name; else None."""
    name, whole = one_line(first_name), one_line(full_name)
    if not name or len(name) > _LONGEST_NAME or _NO_NAME.search(name):
        return None
    return name if f" {folded(name)} " in f" {folded(whole)} " else None
