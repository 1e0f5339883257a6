"""Shows what others wrote, without what may be a key or somebody's address in it. Pure.

Addresses of webhooks may hold keys, and so may what the source notes of a failure: of an address
only scheme, host and port are shown.
"""

import re
from urllib.parse import urlsplit

_LONGEST = 80
_CUT = " …"
_PORTS = {"http": 80, "https": 443}
_URL = re.compile(r"https?://[^\s\"'<>]+", re.IGNORECASE)
_HIDDEN = re.compile(r"\S*[?&=@]\S*|(?<!\S)/\S+")
_LOOKED_AT = 1000  # characters of a foreign text


def origin(address: str | None) -> str | None:
    """Return scheme, host and port of an address; None if it has none."""
    try:
        parts = urlsplit((address or "").strip())
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None
    if not parts.hostname or port is None:
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    shown = "" if port == _PORTS.get(parts.scheme) else f":{port}"
    return f"{parts.scheme}://{host}{shown}"


def short(text: str | None, longest: int = _LONGEST) -> str:
    """Return a foreign text without what may be a key or an address, at most so many characters.

    A longer text is cut after a whole word and ends with an ellipsis. It is never cut inside a
    command in backticks, which would be another command then.
    """
    shown = _URL.sub(lambda found: origin(found[0]) or "…", (text or "")[:_LOOKED_AT])
    shown = _HIDDEN.sub("…", shown)
    shown = "".join(letter for letter in shown if letter.isprintable()).strip()
    if len(shown) <= longest:
        return shown
    room = longest - len(_CUT)
    kept = shown[: room + 1].rpartition(" ")[0] or shown[:room]
    if kept.count("`") % 2:
        kept = kept.rpartition("`")[0]
    return f"{kept.rstrip(' ,;:')}{_CUT}"
