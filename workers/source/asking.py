"""Asks one question at the source: within the budget, signed in, and read as what it is.

Nothing here tries again but for one case: a token that was ended early is replaced once. A second
401 is a missing right, and for a person.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus

import structlog

from ledger.clock import Clock
from ledger.sign_ins import SignIn
from schemas.errors import SourceThrottled, SourceUnavailable
from workers.source.answers import Answer, Missing, read_answer, read_written
from workers.source.budget import Budgeting, Patience
from workers.source.http import Transport
from workers.source.sign_in import Tokens

_DENIED_FOR_S = 3600.0
_CALM_S = 1.0  # at least, when the source asks for quiet

_log = structlog.get_logger("source")


class Denials:
    """Which kinds of record a fresh token did not open: another sign-in would not either.

    Shared by the threads of a process.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until: dict[str, float] = {}

    def note(self, kind: str) -> None:
        """Remember that the right is missing, for a while."""
        self._until[kind] = self._clock.monotonic() + _DENIED_FOR_S

    def forget(self, kind: str) -> None:
        """Remember that the right is there."""
        self._until.pop(kind, None)

    def holds(self, kind: str) -> bool:
        """Say whether it was missing a while ago."""
        return self._clock.monotonic() < self._until.get(kind, 0.0)


class Asking:
    """One thread's questions. `patience` says who waits, and for how long."""

    def __init__(  # noqa: PLR0913, PLR0917 - what one question is asked with
        self,
        transport: Transport,
        tokens: Tokens,
        budget: Budgeting,
        patience: Patience,
        denials: Denials,
        clock: Clock,
    ) -> None:
        self._clock = clock
        self._denials = denials
        self._transport = transport
        self._tokens = tokens
        self._budget = budget
        self.patience = patience

    def ask(self, path: str, query: Mapping[str, str]) -> object | Missing:
        """Return the JSON value of the answer, or `Missing`.

        Raises:
            SourceError: see `read_answer`.
        """
        answer = self.answer(path, query)
        if answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            _log.error("source.refused", status=answer.status, path=_kind(path))
        with self._told_to_all():
            return read_answer(answer)

    def answer(self, path: str, query: Mapping[str, str]) -> Answer:
        """Return the answer as it came, after a second try if the token had been ended."""
        return self._signed_in(_kind(path), lambda token: self._transport.get(path, query, token))

    def send(self, method: str, path: str, value: object) -> object:
        """Write one JSON value with POST or PUT, and return what the answer holds as `Value`.

        It is sent a second time only where the token had been ended, since then it was not even
        looked at. After `SourceUnavailable` it may have been done or not.

        Raises:
            SourceError: see `read_written`.
        """
        # The right to write is another than that to read.
        kind = f"{method} {_kind(path)}"
        answer = self._signed_in(
            kind, lambda token: self._transport.send_json(method, path, value, token)
        )
        if answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            _log.error("source.refused", status=answer.status, path=kind)
        with self._told_to_all():
            return read_written(answer)

    def _signed_in(self, kind: str, exchange: Callable[[str], Answer]) -> Answer:
        """Return what came of an exchange with a token, or of a second one with a newer token."""
        if self._clock.monotonic() > self.patience.until:
            raise SourceUnavailable("the source answers too slowly for what is needed of it")
        self._budget.take(self.patience)
        sign_in = self._sign_in()
        answer = exchange(sign_in.access_token or "")
        if answer.status == HTTPStatus.UNAUTHORIZED:
            answer = self._once_more(answer, sign_in.version, kind, exchange)
        if answer.status != HTTPStatus.UNAUTHORIZED:
            self._denials.forget(kind)
        return answer

    def _once_more(
        self, refused: Answer, version: int, kind: str, exchange: Callable[[str], Answer]
    ) -> Answer:
        """Ask again with a newer token, if there is one or it makes sense to get one."""
        renewed: SignIn | None
        if self._denials.holds(kind):
            # Not worth a sign-in of our own; but somebody else may have made one.
            renewed = self._tokens.newer_than(version)
        else:
            renewed = self._sign_in(refused_version=version)
        if renewed is None or renewed.version == version:
            return refused
        self._budget.take(self.patience)
        answer = exchange(renewed.access_token or "")
        if answer.status == HTTPStatus.UNAUTHORIZED:
            self._denials.note(kind)
        return answer

    def _sign_in(self, refused_version: int | None = None) -> SignIn:
        with self._told_to_all():
            return self._tokens.current(refused_version=refused_version, keep=self.patience.keep)

    @contextmanager
    def _told_to_all(self) -> Iterator[None]:
        """Let what the source tells one of us hold for all; our own limits need no telling."""
        try:
            yield
        except SourceThrottled as error:
            self._budget.calm(max(_CALM_S, error.retry_after_s or 0.0))
            raise


def _kind(path: str) -> str:
    """Return the path without an Id: which kind of record is asked for."""
    return "/".join(path.split("/")[:2])
