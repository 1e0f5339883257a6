"""What is taken out of every text before an operator sees it.

The links with which a member chooses their emails act without a login, so their tokens are shown
to nobody. Addresses are shown whole only to those who may write to members.
"""

import re

from flask import request

_SLASH = r"(?:/|\\/|%2F|&#47;|&#x2F;)"
_MEMBERS_LINK = re.compile(rf"({_SLASH}[pu]{_SLASH})[\w.~-]{{40,}}", re.IGNORECASE)
_ADDRESS = re.compile(
    r"(?<![\w.+#$&~^-])([\w+#$&~^])[\w.+#$&~^-]*(@|%40|&#64;|\\u0040)([\w-]+(?:\.[\w-]+)+)",
    re.IGNORECASE,
)


def shown_text(text: str, *, is_masked: bool) -> str:
    """Return a text or page without members' links, and `is_masked` without whole addresses."""
    text = _MEMBERS_LINK.sub(r"\1…", text)
    if not is_masked:
        return text
    typed = request.args.get("q", "").strip().casefold()
    return _ADDRESS.sub(lambda one: _masked(one, typed), text)


def _masked(found: re.Match[str], typed: str) -> str:
    """Return an address without its name, unless it is what they typed themselves."""
    return found[0] if found[0].casefold() == typed else f"{found[1]}…{found[2]}{found[3]}"
