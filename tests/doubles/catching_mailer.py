"""A mailer that keeps what it is given. tests/contract/test_mailer.py holds it to the real one."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from email.message import EmailMessage

from workers.actions.base import Checkpoints
from workers.actions.email.answers import EnvelopeAddress, Step, quotable, refusal
from workers.actions.email.smtp import NO_CHECKPOINTS, wire_form


@dataclass(frozen=True, slots=True)
class CaughtMail:
    """One email as a server would have received it; `sender` and `recipient` are the envelope's."""

    sender: str
    recipient: str
    content: bytes
    message: EmailMessage


class CatchingMailer:
    """The interface of `Mailer`. `caught` is what was taken, in order; `asked` counts."""

    def __init__(self) -> None:
        self.caught: list[CaughtMail] = []
        self.asked = 0
        self.receipt: str | None = None  # if not one with a number
        self.at_end: Callable[[], None] | None = None  # done each time between last step and answer
        self._meanwhile: list[Callable[[], None]] = []
        self._answers: dict[str, str] = {}
        self._errors: list[Exception] = []
        self._failing: dict[str, Exception] = {}

    def answer(self, recipient: str, line: str) -> None:
        """From now on, answer this recipient with a server's line, such as `550 no such person`."""
        self._answers[recipient] = line

    def accept(self, recipient: str) -> None:
        """From now on, take emails to this recipient again."""
        self._answers.pop(recipient, None)

    def fail_next(self, *errors: Exception) -> None:
        """Raise these, one for each delivery to come, before anything is caught."""
        self._errors.extend(errors)

    def fail_on(self, recipient: str, error: Exception) -> None:
        """From now on, raise this for every email to this recipient."""
        self._failing[recipient] = error

    def pass_on(self, recipient: str) -> None:
        """From now on, raise nothing for emails to this recipient."""
        self._failing.pop(recipient, None)

    def meanwhile(self, *deeds: Callable[[], None]) -> None:
        """Do these, one during each delivery to come, just before its last step."""
        self._meanwhile.extend(deeds)

    def in_a_row(self) -> AbstractContextManager[None]:
        """Do nothing: there is no connection to keep."""
        return nullcontext()

    def deliver(
        self,
        message: EmailMessage,
        *,
        sender: str,
        recipient: str,
        checkpoints: Checkpoints = NO_CHECKPOINTS,
    ) -> str:
        """Catch one email and return a receipt; see `Mailer.deliver`."""
        from_address = EnvelopeAddress.parse(sender)
        to_address = EnvelopeAddress.parse(recipient)
        self.asked += 1
        if self._errors:
            raise self._errors.pop(0)
        if recipient in self._failing:
            raise self._failing[recipient]
        if recipient in self._answers:
            code, _, text = self._answers[recipient].partition(" ")
            raise refusal(int(code), text.encode(), step=Step.RECIPIENT)
        checkpoints.before_step()
        if self._meanwhile:
            self._meanwhile.pop(0)()
        checkpoints.before_commit()
        if self.at_end is not None:
            self.at_end()
        utf8 = not (from_address.is_ascii and to_address.is_ascii)
        content = wire_form(message, utf8=utf8)
        self.caught.append(CaughtMail(str(from_address), str(to_address), content, message))
        return quotable(250, self.receipt or f"2.0.0 caught as {len(self.caught)}")
