"""Webhooks written over the API: created with POST, edited with PUT (contract, sections 4 to 6).

The trap is kept on purpose: an edit takes the whole record, and what it leaves out is cleared.
What the source keeps for itself (ErrorCount, LastError, LastTrigger) stays as it is, and a hook
that is switched on again after ten failures dies of the next one: whether Nexudus forgives them is
not known. Whatever is left out is as .NET has it, so a hook created without a word is not active.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from flask import Response, request

from sandbox.answers import answered
from sandbox.misbehaviour.rights import refused_right
from sandbox.shapes import EDITOR
from sandbox.stage import Stage
from sandbox.webhooks import written_hook
from sandbox.wire import MOMENTS, Record
from schemas.entity import Entity

PATH = "/sys/webhooks"
_REQUIRED: Mapping[str, type] = {"BusinessId": int, "Name": str, "Action": int, "URL": str}
_READ = MOMENTS["fractions", True]  # as the answer to a live create has it (contract, 2.9)


@dataclass(frozen=True, slots=True)
class Writes:
    """What may be written."""

    stage: Stage

    def create(self) -> Response:
        """Add a webhook; nobody is called by it, since only the two of the start know whom."""
        return self._written("create", self._create)

    def edit(self) -> Response:
        """Put a webhook in the place of the one with its Id."""
        return self._written("edit", self._edit)

    def _written(self, way: str, write: Callable[[Record], Response]) -> Response:
        refused = refused_right(self.stage.board, Entity.WEB_HOOK, way)
        if refused is not None:
            return refused
        said = request.get_json(force=True, silent=True)
        if not isinstance(said, dict):
            return _invalid([("", "The body must be one JSON object.")])
        return write(said)

    def _create(self, said: Record) -> Response:
        mistakes = _mistakes(said)
        if mistakes:
            return _invalid(mistakes)
        if not self._knows_location(said):
            return _not_granted("BusinessId", said["BusinessId"], "There is no such location.")
        moment = self.stage.clock()
        record = written_hook(self.stage.tenant.new_id(), moment, said)
        self.stage.tenant.add(Entity.WEB_HOOK, record)
        shown = {
            name: _READ(value) if name in {"CreatedOn", "UpdatedOn"} else value
            for name, value in record.items()
        }
        return self._done(shown)

    def _edit(self, said: Record) -> Response:
        record_id = said.get("Id")
        if not _is_a(int, record_id):
            return _invalid([("Id", "The Id must be a whole number.")])
        before = self.stage.tenant.find(Entity.WEB_HOOK, int(record_id or 0))
        if before is None:
            return answered("Not found", 404)
        mistakes = _mistakes(said)
        if mistakes:
            return _invalid(mistakes)
        if not self._knows_location(said):
            return _not_granted("BusinessId", said["BusinessId"], "There is no such location.")
        after = written_hook(before["Id"], self.stage.clock(), said, before)
        self.stage.story().change(Entity.WEB_HOOK, before["Id"], after, forgiving=False)
        return self._done({"Id": before["Id"]})

    def _knows_location(self, said: Record) -> bool:
        return self.stage.tenant.find(Entity.BUSINESS, said["BusinessId"]) is not None

    def _done(self, value: Record) -> Response:
        updated_on = _READ(self.stage.clock())
        return answered(
            {
                "Status": 200,
                "Message": "WebHook was successfully saved.",
                "Value": value,
                "OpenInDialog": False,
                "OpenInWindow": False,
                "RedirectURL": None,
                "JavaScript": None,
                "UpdatedOn": updated_on,
                "UpdatedBy": EDITOR,
                "Errors": None,
                "WasSuccessful": True,
            }
        )


def _mistakes(said: Record) -> list[tuple[str, str]]:
    mistakes = []
    for name, kind in _REQUIRED.items():
        value = said.get(name)
        if not _is_a(kind, value) or (kind is str and not str(value).strip()):
            mistakes.append((name, f"{name} is a required field."))
    if not isinstance(said.get("Active", False), bool):
        mistakes.append(("Active", "Active must be true or false."))
    return mistakes


def _is_a(kind: type, value: object) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _invalid(mistakes: list[tuple[str, str]]) -> Response:
    """Refuse what does not fit: HTTP 400, with a body that says 500 (contract, section 4)."""
    errors = [_error(name, None, sentence) for name, sentence in mistakes]
    return answered(_refusal(500, errors), 400)


def _not_granted(name: str, value: object, sentence: str) -> Response:
    """Refuse what fits and is not possible: HTTP 200 that was not successful."""
    return answered(_refusal(200, [_error(name, value, sentence)]), 200)


def _error(name: str, value: object, sentence: str) -> Record:
    return {"AttemptedValue": value, "Message": sentence, "PropertyName": name}


def _refusal(status: int, errors: list[Record]) -> Record:
    return {
        "Status": status,
        "Message": "; ".join(str(error["Message"]) for error in errors),
        "Value": None,
        "OpenInDialog": False,
        "OpenInWindow": False,
        "RedirectURL": None,
        "JavaScript": None,
        "UpdatedOn": None,
        "UpdatedBy": None,
        "Errors": errors,
        "WasSuccessful": False,
    }
