"""Shows what others wrote, without what may be a key or somebody's address in it. Pure.

Addresses of webhooks may hold keys, and so may what the source notes of a failure: of an address
only scheme, host and port are shown.
"""

import re
from urllib.parse import urlsplit

_LONGEST = 80
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


def short(text: str | None) -> str:
    """Return the beginning of a foreign text, without what may be a key or somebody's address."""
    shown = _URL.sub(lambda found: origin(found[0]) or "…", (text or "")[:_LOOKED_AT])
    shown = _HIDDEN.sub("…", shown)
    return "".join(letter for letter in shown if letter.isprintable())[:_LONGEST].strip()
