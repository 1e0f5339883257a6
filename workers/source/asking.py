"""Asks one question at the source: within the budget, signed in, and read as what it is.

Nothing here tries again but for one case: a token that was ended early is replaced once. A second
401 is a missing right, and for a person.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus

import structlog

from schemas.errors import SourceThrottled
from workers.source.answers import Answer, Missing, read_answer
from workers.source.budget import Budgeting, Patience
from workers.source.sign_in import Tokens
from workers.source.transport import Transport

_CALM_S = 1.0  # at least, when the source asks for quiet

_log = structlog.get_logger("source")


class Asking:
    """One thread's questions. `patience` says who waits, and for how long."""

    def __init__(
        self, transport: Transport, tokens: Tokens, budget: Budgeting, patience: Patience
    ) -> None:
        self._transport = transport
        self._tokens = tokens
        self._budget = budget
        self.patience = patience

    def ask(self, path: str, query: Mapping[str, str]) -> object | Missing:
        """Return the JSON value of the answer, or `Missing`.

        Raises:
            SourceThrottled, SourceUnavailable, SourceRefused: see `read_answer`.
        """
        answer = self.answer(path, query)
        if answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            # The path without an Id: which kind of record our user may not see.
            kind = "/".join(path.split("/")[:2])
            _log.error("source.refused", status=answer.status, path=kind)
        with self._told_to_all():
            return read_answer(answer)

    def answer(self, path: str, query: Mapping[str, str]) -> Answer:
        """Return the answer as it came, after a second try if the token had been ended."""
        self._budget.take(self.patience)
        with self._told_to_all():
            sign_in = self._tokens.current()
        answer = self._transport.get(path, query, sign_in.access_token or "")
        if answer.status != HTTPStatus.UNAUTHORIZED:
            return answer
        with self._told_to_all():
            renewed = self._tokens.current(refused_version=sign_in.version)
        if renewed.version == sign_in.version:
            return answer
        self._budget.take(self.patience)
        return self._transport.get(path, query, renewed.access_token or "")

    @contextmanager
    def _told_to_all(self) -> Iterator[None]:
        """Let what the source tells one of us hold for everybody; our own limits need no telling."""
        try:
            yield
        except SourceThrottled as error:
            self._budget.calm(max(_CALM_S, error.retry_after_s or 0.0))
            raise
