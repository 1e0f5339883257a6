"""Writes webhooks at the source, the only records of it that we ever write.

A PUT takes the whole record, and what it leaves out is cleared (contract, sections 3 and 6). So a
webhook is read by its Id right before, as it came, only `Active` is changed in it, and what came
back incomplete is never sent. Nothing is written twice after no answer: whoever asked looks first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from schemas.entity import PATHS, Entity
from schemas.errors import SourceRefused, SourceUnavailable
from workers.source.answers import Missing
from workers.source.lists import Asks
from workers.source.written import WriteDenied

_PATH = PATHS[Entity.WEB_HOOK]
# What an edit may carry (contract, 5.6); a record that came without one of them is incomplete.
_WRITTEN = ("Id", "BusinessId", "Name", "Action", "Description", "URL", "Active")
# What a write changes by itself.
_ITS_OWN = frozenset({
    "Active", "ErrorCount", "LastError", "LastTrigger", "UpdatedOn", "UpdatedBy", "IsNew",
})  # fmt: skip

RawHook = dict[str, Any]


class Sends(Asks, Protocol):
    """What is written through: `workers.source.asking.Asking`."""

    def send(self, method: str, path: str, value: object) -> object:
        """Write one JSON value; see `Asking.send`."""


@dataclass(frozen=True, slots=True)
class NewHook:
    """A webhook to be made: one action, one location."""

    business_id: int
    name: str
    action: int
    url: str


class Writing:
    """Reads and writes webhooks as they are, field by field."""

    def __init__(self, sends: Sends) -> None:
        self._sends = sends

    def read(self, record_id: int) -> RawHook | None:
        """Return a webhook as it came; None if the source has none of that Id.

        Raises:
            SourceUnavailable: no answer; also a 500, which may mean either. Otherwise as `ask`.
        """
        found = self._sends.ask(f"{_PATH}/{record_id}", {})
        if isinstance(found, Missing):
            if found.certain:
                return None
            raise SourceUnavailable("the source did not show a webhook")
        if not isinstance(found, dict) or found.get("Id") != record_id:
            raise SourceRefused("the source showed something else than that webhook")
        return found

    def switch_on(self, whole: Mapping[str, Any]) -> None:
        """Write a webhook back as `read` gave it, but for `Active`.

        Raises:
            WriteDenied: the role WebHook-Edit is missing.
            SourceRefused: it was not whole, so nothing was sent; or the source refused it.
            SourceThrottled, SourceUnavailable: as `Asking.send`.
        """
        missing = [name for name in _WRITTEN if name not in whole]
        if missing:
            raise SourceRefused(f"the webhook came without {', '.join(missing)}; nothing was sent")
        self._send("PUT", {**whole, "Active": True}, "Edit")

    def create(self, wish: NewHook) -> int | None:
        """Make a webhook that is switched on; return its Id, if the source says it.

        Raises:
            WriteDenied: the role WebHook-Create is missing. Otherwise as `Asking.send`.
        """
        made = self._send(
            "POST",
            {
                "BusinessId": wish.business_id,
                "Name": wish.name,
                "Action": wish.action,
                "Description": None,
                "URL": wish.url,
                "Active": True,
            },
            "Create",
        )
        record_id = made.get("Id") if isinstance(made, dict) else None
        return record_id if isinstance(record_id, int) else None

    def _send(self, method: str, value: RawHook, way: str) -> object:
        try:
            return self._sends.send(method, _PATH, value)
        except WriteDenied as error:
            role = f"{Entity.WEB_HOOK}-{way}"
            raise WriteDenied(f"{error}; our Nexudus user needs the role {role}") from None


def lost_by_writing(before: Mapping[str, Any], after: Mapping[str, Any]) -> Sequence[str]:
    """Return the names of fields that a write changed though it was not to."""
    return sorted(
        name
        for name in before.keys() - _ITS_OWN
        if name in _WRITTEN and before[name] != after.get(name)
    )
