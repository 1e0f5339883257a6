"""Sends test emails for pages: one at a time, a few a minute, and no page waits long for it."""

import queue
import threading
from enum import StrEnum

from ledger.clock import Clock
from schemas.errors import CoursebellError, DeliveryUnknown
from service.limits import AddressLimit
from workers.actions.base import Checkpoints, Prepared
from workers.actions.email.connection import SmtpTimeouts

# Shorter than those of workers. Beside them is the time to find the server and to get a token.
PAGE_TIMEOUTS = SmtpTimeouts(connect_s=6.0, answer_s=8.0, session_s=9.0, end_s=9.0)
_LONGEST_WAIT_S = 20.0  # of a page
_MOST_PER_MINUTE = 5  # of one operator


class NoTrial(StrEnum):
    """Why no test is sent now."""

    TOO_MANY = "too-many"
    UNDER_WAY = "under-way"


class TrialSender:
    """Sends test emails. Safe to share between threads."""

    def __init__(self, clock: Clock, longest_wait_s: float = _LONGEST_WAIT_S) -> None:
        self._limit = AddressLimit(clock, _MOST_PER_MINUTE)
        self._turn = threading.Lock()
        self._longest_wait_s = longest_wait_s

    def send(self, prepared: Prepared, operator_id: int) -> str | NoTrial:
        """Send a test email once and return the mail server's receipt, or why none is sent now.

        Raises what `Prepared.send` raises, and `DeliveryUnknown` if the mail server takes longer
        than a page may wait; the email may then still be sent.
        """
        if self._limit.count(f"operator {operator_id}"):
            return NoTrial.TOO_MANY
        if not self._turn.acquire(blocking=False):
            return NoTrial.UNDER_WAY
        answers: queue.SimpleQueue[str | CoursebellError] = queue.SimpleQueue()
        # A daemon: the service need not wait for it to stop.
        threading.Thread(target=self._send, args=(prepared, answers), daemon=True).start()
        try:
            answer = answers.get(timeout=self._longest_wait_s)
        except queue.Empty:
            raise DeliveryUnknown("the mail server did not answer in time") from None
        if isinstance(answer, CoursebellError):
            raise answer
        return answer

    def _send(
        self, prepared: Prepared, answers: "queue.SimpleQueue[str | CoursebellError]"
    ) -> None:
        try:
            answers.put(prepared.send(Checkpoints()))
        except CoursebellError as error:
            answers.put(error)
        finally:
            self._turn.release()
