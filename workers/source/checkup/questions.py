"""Asks one question and tells apart why there may be no answer. A person waits, so not for long.

`Asking.ask` answers with an error whose kind says what a worker has to do next. Here a missing
right has to be told from any other refusal.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from http import HTTPStatus

from schemas.errors import CoursebellError, SourceRefused, SourceThrottled
from workers.source.answers import Answer, Missing, read_answer
from workers.source.budget import Budgeting, Patience, Urgency
from workers.source.checkup.values import at_nexudus
from workers.source.client import Source

PATIENCE_S = 30.0  # for the turn of one question
CALM_S = 1.0  # at least, when the source asks for quiet
_NO_RIGHT = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}


class Came(Enum):
    """What came of a question."""

    VALUE = auto()
    MISSING = auto()  # there is no such record, or no such address
    NO_RIGHT = auto()  # after a good sign-in: a role is missing (contract, sections 1 and 7)
    BUSY = auto()  # the source wants quiet, or our requests are used up
    TROUBLE = auto()  # anything else


@dataclass(frozen=True, slots=True)
class Said:
    """The answer to a question; `sentence` says why there is none."""

    came: Came
    value: object = field(default=None, repr=False)
    sentence: str = ""


def patience(seconds: float = PATIENCE_S) -> Patience:
    """Return the patience of a person, from now on."""
    return Patience(Urgency.PERSON, time.monotonic() + seconds, lambda: None)


@dataclass(frozen=True, slots=True)
class Questions:
    """One person's questions."""

    source: Source
    budget: Budgeting

    def ask(self, path: str, query: Mapping[str, str] | None = None) -> Said:
        """Return what came of a question. It never raises what we raise on purpose."""
        said = self._once(path, query or {})
        # Who was asked to wait a moment waits that long for the next turn, and asks once more.
        return self._once(path, query or {}) if said.came is Came.BUSY else said

    def surely(self, read: Callable[[Source], Said], seconds: float = PATIENCE_S) -> Said:
        """Return what came of a read through the source's own client."""
        self.source.asking.patience = patience(seconds)
        try:
            return read(self.source)
        except SourceThrottled as error:
            return Said(Came.BUSY, sentence=at_nexudus(error))
        except CoursebellError as error:
            return Said(Came.TROUBLE, sentence=at_nexudus(error))

    def _once(self, path: str, query: Mapping[str, str]) -> Said:
        return self.surely(lambda source: self._read(source.asking.answer(path, query)))

    def _read(self, answer: Answer) -> Said:
        try:
            found = read_answer(answer)
        except SourceThrottled as error:
            self.budget.calm(max(CALM_S, error.retry_after_s or 0.0))
            raise
        except SourceRefused as error:
            if answer.status in _NO_RIGHT:
                return Said(Came.NO_RIGHT, sentence=f"Nexudus refuses it with {answer.status}")
            return Said(Came.TROUBLE, sentence=at_nexudus(error))
        if not isinstance(found, Missing):
            return Said(Came.VALUE, found)
        came = Came.MISSING if found.certain else Came.TROUBLE
        return Said(came, sentence=f"Nexudus answered {answer.status}")
