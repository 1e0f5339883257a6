"""The emails that arrived, and what will happen to those that come next.

No SMTP here: that is `mailserver`.
"""

import threading
from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from itertools import count

from sandbox.clock import WorldClock
from sandbox.mail import Mail, read_mail

KEPT = 500


class MailAnswer(StrEnum):
    """What happens to the next emails."""

    ACCEPT = "accept"
    LATER = "later"  # 451 after the body: try again
    REFUSE = "refuse"  # 550 for the recipient: never
    DROP_AFTER_BODY = "drop-after-body"  # the connection ends where the answer should come
    DROP_AT_DATA = "drop-at-data"  # the connection ends before the body


@dataclass(slots=True)
class _Turn:
    answer: MailAnswer
    left: int
    keep: bool


WELL_BEHAVED = (MailAnswer.ACCEPT, False)


class Mailbox:
    """What arrived, and what will happen to what comes next. Safe to use from several threads."""

    def __init__(self, clock: WorldClock | None = None) -> None:
        self._clock = clock or WorldClock()
        self._lock = threading.Lock()
        self._mails: deque[Mail] = deque(maxlen=KEPT)
        self._numbers = count(1)
        self._turn = _Turn(MailAnswer.ACCEPT, 0, keep=False)

    def mails(self) -> list[Mail]:
        """Return the kept emails, newest last."""
        with self._lock:
            return list(self._mails)

    def mail(self, number: int) -> Mail | None:
        """Return one email, unless it was never here or is gone."""
        return next((mail for mail in self.mails() if mail.number == number), None)

    def clear(self) -> None:
        """Throw all emails away; numbers go on."""
        with self._lock:
            self._mails.clear()

    def begin_again(self) -> None:
        """Be as at the beginning: empty, numbers from 1, every email accepted."""
        with self._lock:
            self._mails.clear()
            self._numbers = count(1)
            self._turn = _Turn(MailAnswer.ACCEPT, 0, keep=False)

    def behave(self, answer: MailAnswer, times: int, *, keep: bool) -> None:
        """Treat the next emails like this; `keep` is for one that is dropped after its body."""
        with self._lock:
            self._turn = _Turn(answer, times, keep)

    def next_turn(self) -> tuple[MailAnswer, bool]:
        """Return how the email that begins now is treated, and use that turn up."""
        with self._lock:
            if self._turn.left <= 0:
                return WELL_BEHAVED
            self._turn.left -= 1
            return self._turn.answer, self._turn.keep

    def keep(self, raw: bytes, sender: str, recipients: tuple[str, ...]) -> None:
        """Take an email in, with the addresses of its envelope."""
        received_at = self._clock().isoformat(timespec="milliseconds")
        with self._lock:
            mail = read_mail(
                raw,
                number=next(self._numbers),
                received_at=received_at,
                envelope=(sender, recipients),
            )
            self._mails.append(mail)
