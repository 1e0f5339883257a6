"""Parses, compares and cleans text that people write, and suggests names for misspelt ones.

The field `Text` is for settings and rules. The source's records have fields of their own.
"""

import difflib
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import idna
from marshmallow import ValidationError, fields
from wcwidth import iter_graphemes

Parsed = TypeVar("Parsed")

# Control characters, lone surrogates, line and paragraph separators do not belong in a line.
_UNFIT_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})
_INVISIBLE = re.compile("[\u180b-\u180f\ufe00-\ufe0f]")  # variation selectors, which are not Cf
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?")
_LONGEST_LABEL, _LONGEST_DOMAIN = 63, 253  # octets; RFC 5321, section 4.5.3.1
_ATOM = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+")  # RFC 5322, section 3.2.3
_LONGEST_LOCAL = 64  # octets; RFC 5321, section 4.5.3.1
_UNFIT_FOR_ATOMS = frozenset({"Cc", "Cf", "Cs", "Cn", "Co", "Zs", "Zl", "Zp"})
_SHORTEST_START = 3  # characters; a shorter prefix means nothing
_DOTTED_I = re.compile("i\u0307+")  # the case-folded Turkish capital I with dot


class Text(fields.Field[Parsed]):
    """A field that is written as one line of text, or `many_lines`, and converted by `parse`.

    `parse` raises `ValidationError` with what was expected. Any other exception is a bug: a
    library's message may repeat a secret, so it must not be shown.
    """

    def __init__(
        self,
        parse: Callable[[str], Parsed],
        *,
        many_lines: bool = False,
        **options: Any,  # noqa: ANN401 - marshmallow's own options
    ) -> None:
        super().__init__(**options)
        self.parse = parse
        self.many_lines = many_lines

    def _deserialize(
        self,
        value: Any,  # noqa: ANN401 - marshmallow's own signature
        attr: str | None,  # noqa: ARG002 - same
        data: Mapping[str, Any] | None,  # noqa: ARG002 - same
        **_: Any,  # noqa: ANN401 - same
    ) -> Parsed:
        if not isinstance(value, str):
            raise ValidationError("expected a single value")
        lines = value.splitlines() if self.many_lines else [value]
        if not all(map(is_one_line, lines)):
            raise ValidationError("expected one line of text without control characters")
        return self.parse(value)


def is_one_line(text: str) -> bool:
    """Whether the text is free of control characters, line breaks and broken Unicode."""
    return not any(unicodedata.category(character) in _UNFIT_CATEGORIES for character in text)


def folded(text: str | None) -> str:
    """Return the form in which text that people wrote is compared; empty for None.

    Texts that look alike are equal: composed and decomposed accents, letters in any case of any
    script (also \N{LATIN SMALL LETTER SHARP S} and ss, and the four Turkish letters i), any kind
    and number of spaces, and invisible characters. Lone surrogates, which no database accepts,
    become U+FFFD. The result is in NFC. Use it to search, never to display text or to decide whose
    mailbox an address is.
    """
    if text is None or text.isascii():
        return " ".join((text or "").lower().split())
    seen = "".join(map(_seen, unicodedata.normalize("NFD", _INVISIBLE.sub("", text))))
    plain = _DOTTED_I.sub("i", seen.casefold().replace("\N{LATIN SMALL LETTER DOTLESS I}", "i"))
    return " ".join(unicodedata.normalize("NFC", plain).split())


def searched(text: str | None) -> str:
    """Return the form in which a part of a name or title is searched: `folded`, without accents.

    So `pena` finds Peña, `zielinski` finds Zieliński and `soren` finds Søren.
    """
    plain = folded(text)
    if plain.isascii():
        return plain
    bare = _ACCENTS.sub("", unicodedata.normalize("NFD", plain)).translate(_PLAIN_LETTERS)
    return unicodedata.normalize("NFC", bare)


def ascii_domain(domain: str) -> str | None:
    """Return a domain of any script in ASCII, as mail servers know it; None if it is not valid.

    By IDNA 2008. Python's own codec is IDNA 2003, for which \N{LATIN SMALL LETTER SHARP S} is ss,
    which is another domain.
    """
    if len(domain) > _LONGEST_DOMAIN:
        return None
    try:
        name = domain if domain.isascii() else idna.encode(domain, uts46=True).decode("ascii")
    except idna.IDNAError:
        return None
    fits = all(
        _LABEL.fullmatch(label) and len(label) <= _LONGEST_LABEL for label in name.split(".")
    )
    return name if fits and len(name) <= _LONGEST_DOMAIN else None


def is_local_part(text: str) -> bool:
    """Whether this may stand before the @ of an address, in any script (RFC 6531), without quotes.

    The quoted form is valid too, but hardly any mailbox has it.
    """
    if len(text.encode("utf-8", "replace")) > _LONGEST_LOCAL:
        return False
    return all(atom and all(map(_fits_an_atom, atom)) for atom in text.split("."))


def _fits_an_atom(character: str) -> bool:
    if character.isascii():
        return bool(_ATOM.fullmatch(character))
    return unicodedata.category(character) not in _UNFIT_FOR_ATOMS


def _seen(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cf":
        return ""
    return "\N{REPLACEMENT CHARACTER}" if category == "Cs" else character


def closest(name: str, known: Iterable[str], *, prefix: str = "") -> str:
    """Return `; did you mean …?` with the nearest known name, or an empty text if none is near.

    Names that begin with `name` come before all others. `prefix`, which all names share, is not
    compared, since it would make all of them near.
    """
    rests = sorted(one.removeprefix(prefix) for one in known)
    written = name.removeprefix(prefix)[:100]
    longer = [one for one in rests if len(written) >= _SHORTEST_START and one.startswith(written)]
    found = difflib.get_close_matches(written, longer, n=1, cutoff=0.0)
    found = found or difflib.get_close_matches(written, rests, n=1)
    return f"; did you mean {prefix}{found[0]}?" if found else ""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known text that `name` most likely means, or None. Compares by `folded`."""
    by_form = {folded(one): one for one in known}
    found = difflib.get_close_matches(folded(name)[:100], by_form, n=1)
    return by_form[found[0]] if found else None


def one_of(words: Iterable[str]) -> str:
    """Return words as a choice: `a, b or c`."""
    listed = list(words)
    return " or ".join([", ".join(listed[:-1]), listed[-1]] if len(listed) > 1 else listed)


MAX_SUBJECT_LENGTH = 60  # characters; most inboxes cut off more

# Embeddings, overrides and isolates affect text beyond the one they are in.
_NONCHARACTER = 0xFFFE  # and 0xFFFF, in each plane
_ACCENTS = re.compile("[\u0300-\u036f]")
_PLAIN_LETTERS = str.maketrans(
    {"\N{LATIN SMALL LETTER L WITH STROKE}": "l", "\N{LATIN SMALL LETTER O WITH STROKE}": "o"}
    | {"\N{LATIN SMALL LETTER D WITH STROKE}": "d", "\N{LATIN SMALL LETTER AE}": "ae"}
    | {"\N{LATIN SMALL LIGATURE OE}": "oe", "\N{LATIN SMALL LETTER ETH}": "d"}
    | {"\N{LATIN SMALL LETTER THORN}": "th"}
)
_DIRECTION_MARKS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_BLANK_CATEGORIES = frozenset({"Cc", "Zl", "Zp", "Zs"})


def one_line(text: str | None) -> str:
    """Return the text as one clean line; empty if nothing readable is left.

    Control characters and all kinds of white space become single spaces; direction marks and lone
    surrogates, which UTF-8 cannot encode, are dropped. Last, an encoded word is broken by a space
    after its `=`, so that no dropped character can restore it.
    """
    kept = "".join(map(_readable, text or ""))
    return " ".join(kept.split()).replace("=?", "= ?")


def cut_at_word(text: str, room: int) -> str:
    """Return at most `room` code points. A cut is marked by "…" and is between words if possible.

    Otherwise it is between what readers see as characters (grapheme clusters, Unicode UAX #29).
    """
    if len(text) <= room:
        return text
    if room < 1:
        return ""
    end = room - 1
    gap = text.rfind(" ", 0, end + 1)
    end = gap if gap >= room // 2 else _end_of_whole_characters(text, end)
    return text[:end].rstrip(" ,;:.-\u2013\u2014(") + "…"


def _readable(character: str) -> str:
    category = unicodedata.category(character)
    if category in _BLANK_CATEGORIES:
        return " "
    if category == "Cs" or character in _DIRECTION_MARKS or character == "\ufeff":
        return ""
    if ord(character) & _NONCHARACTER == _NONCHARACTER:  # XML forbids it
        return ""
    return character


def _end_of_whole_characters(text: str, room: int) -> int:
    # What a reader sees as one character may be several: a flag, a family, a syllable of Hangul.
    end = 0
    for character in iter_graphemes(text):
        if end + len(character) > room:
            break
        end += len(character)
    return end


# A name that a greeting can use. Anything that a mail program may turn into a link is refused:
# otherwise a link or address typed as a name would be sent to the owner of the mailbox.
_NO_NAME = re.compile(r"[0-9/:@]|\.\w{2}|www\.", re.IGNORECASE)
_LONGEST_NAME = 40
_LONGEST_INITIALS = 3  # characters; "JP" is not shouted
_MARKS = r"\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
_WORD = re.compile(rf"[^\W\d_](?:[^\W\d_]|[{_MARKS}])*")  # letters, with combining marks


def greeting_name(first_name: str | None, full_name: str) -> str | None:
    """Return the first name if it looks like one and is part of the full name; else None.

    One in capitals is written as names are.
    """
    name, whole = one_line(first_name), one_line(full_name)
    if not any(map(str.isalpha, name)) or len(name) > _LONGEST_NAME or _NO_NAME.search(name):
        return None
    if f" {folded(name)} " not in f" {folded(whole)} ":
        return None
    return _as_name(name) if len(name) > _LONGEST_INITIALS and name.isupper() else name


def _as_name(capitals: str) -> str:
    """Return a name in capitals as it is written, such as O'Neil or Jean-Luc, in any script.

    `str.title` begins a new word after each combining mark, and gives the Turkish capital I with
    dot two dots.
    """
    composed = unicodedata.normalize("NFC", capitals)
    return _WORD.sub(lambda word: _capitalized(word[0]), composed)


def _capitalized(word: str) -> str:
    # Lower case depends on the letters around, such as that of the Greek sigma.
    first, lower = word[0].title(), word.lower()
    return first + _DOTTED_I.sub("i", lower[len(word[0].lower()) :])


_LANGUAGE_TAG = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")
_LONGEST_TAG = 35  # characters; RFC 5646, section 4.4.1
_REGION, _SCRIPT = 2, 4  # letters


def language_tag(text: str | None) -> str | None:
    """Return the language tag that a text is, such as pt-BR for `pt_br`; None if it is none.

    Written as RFC 5646 recommends (section 2.1.1). Whether there is such a language is not checked.
    """
    tag = (text or "").strip().replace("_", "-")
    if len(tag) > _LONGEST_TAG or not _LANGUAGE_TAG.fullmatch(tag):
        return None
    language, *others = tag.split("-")
    return "-".join([language.lower(), *map(_subtag, others)])


def _subtag(subtag: str) -> str:
    if not subtag.isalpha():
        return subtag.lower()
    if len(subtag) == _REGION:
        return subtag.upper()
    return subtag.capitalize() if len(subtag) == _SCRIPT else subtag.lower()
