"""Keeps a connection to the mail server open between emails that are sent in a row.

It is a matter of speed only. Outside of `KeptConnection.in_a_row` nothing is kept, so no idle
process has an open connection, and none inherits one. A kept connection is not trusted: the server
must accept RSET before it is used again, and `Mailer` then tries whatever fails on it before the
text of an email again, on a new one.
"""

import contextlib
import smtplib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from workers.actions.base import no_op
from workers.actions.email.connection import SmtpConnection

_FINE = 250
_GOODBYE_S = 5.0


@dataclass(frozen=True, slots=True)
class ReuseLimits:
    """How many emails one connection carries, and seconds: to the next one, and after the first.

    Many servers close a connection after 100 emails, or after some minutes without one.
    """

    emails: int = 50
    idle_s: float = 15.0
    age_s: float = 120.0


class KeptConnection:
    """At most one open connection, with no email on it. Safe to share between threads."""

    def __init__(self, limits: ReuseLimits | None = None) -> None:
        self._limits = limits or ReuseLimits()
        self._mutex = threading.Lock()
        self._rows = 0
        self._kept: SmtpConnection | None = None

    @contextlib.contextmanager
    def in_a_row(self) -> Iterator[None]:
        """Keep a connection between the emails sent while inside, and close it at the end."""
        with self._mutex:
            self._rows += 1
        try:
            yield
        finally:
            with self._mutex:
                self._rows -= 1
                is_last = self._rows == 0
            kept = self._take() if is_last else None
            if kept is not None:
                say_goodbye(kept)

    def take(self, before_step: Callable[[], None]) -> SmtpConnection | None:
        """Return the kept connection, ready for MAIL; None if there is none that still works.

        Lets through what `before_step` raises.
        """
        kept = self._take()
        if kept is None:
            return None
        if self._is_worn(kept):
            say_goodbye(kept)
            return None
        try:
            kept.begin(before_step)
            code, _ = kept.rset()
        except (OSError, smtplib.SMTPException):
            code = -1
        except BaseException:
            kept.close()
            raise
        if code != _FINE:
            kept.close()
            return None
        return kept

    def put(self, connection: SmtpConnection) -> None:
        """Keep a connection on which an email ended well, or close it."""
        if not connection.emails:
            connection.age.start(self._limits.age_s)
        connection.idle.start(self._limits.idle_s)
        connection.emails += 1
        with self._mutex:
            is_kept = self._rows > 0 and self._kept is None
            if is_kept:
                self._kept = connection
        if not is_kept:
            say_goodbye(connection)

    def _take(self) -> SmtpConnection | None:
        with self._mutex:
            kept, self._kept = self._kept, None
        return kept

    def _is_worn(self, kept: SmtpConnection) -> bool:
        is_used_up = kept.emails >= self._limits.emails
        return is_used_up or kept.idle.rest_s <= 0 or kept.age.rest_s <= 0


def say_goodbye(connection: SmtpConnection) -> None:
    """Close a connection politely. Whatever fails now, an acknowledged email stays so."""
    connection.begin(no_op, _GOODBYE_S)
    with contextlib.suppress(OSError, smtplib.SMTPException):
        connection.quit()
    connection.close()
