"""What a control request asks for: one JSON object, read with a sentence for every mistake."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from flask import request

from sandbox.refused import Refused


@dataclass(frozen=True, slots=True)
class Wish:
    """The fields of a control request."""

    fields: Mapping[str, object]

    def whole(self, name: str, otherwise: int | None = None) -> int:
        """Return a whole number; without `otherwise` it must be there."""
        found = self.fields.get(name, otherwise)
        if not isinstance(found, int) or isinstance(found, bool):
            raise Refused(f"{name} must be a whole number.", 400)
        return found

    def maybe_whole(self, name: str) -> int | None:
        """Return a whole number or None."""
        return None if self.fields.get(name) is None else self.whole(name)

    def maybe_seconds(self, name: str) -> float | None:
        """Return a number of seconds or None."""
        found = self.fields.get(name)
        if found is None:
            return None
        if not isinstance(found, (int, float)):
            raise Refused(f"{name} must be a number of seconds.", 400)
        return float(found)

    def text(self, name: str) -> str:
        """Return a text that must be there."""
        found = self.fields.get(name)
        if not isinstance(found, str):
            raise Refused(f"{name} must be a text.", 400)
        return found

    def flag(self, name: str, *, otherwise: bool) -> bool:
        """Return true or false."""
        found = self.fields.get(name, otherwise)
        if not isinstance(found, bool):
            raise Refused(f"{name} must be true or false.", 400)
        return found

    def table(self, name: str) -> Mapping[str, object]:
        """Return an object; an empty one when it is not there."""
        found = self.fields.get(name, {})
        if not isinstance(found, dict):
            raise Refused(f"{name} must be an object.", 400)
        return found

    def maybe_moment(self, name: str) -> datetime | None:
        """Return an aware moment or None."""
        found = self.fields.get(name)
        if found is None:
            return None
        try:
            moment = datetime.fromisoformat(str(found))
        except ValueError as error:
            raise Refused(f"{name} must be an ISO 8601 time.", 400) from error
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def read_wish() -> Wish:
    """Return the fields of the current request; no body at all is an empty wish."""
    if not request.get_data():
        return Wish({})
    content = request.get_json(force=True, silent=True)
    if not isinstance(content, dict):
        raise Refused("The body must be one JSON object.", 400)
    return Wish(content)
