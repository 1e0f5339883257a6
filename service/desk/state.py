"""What the pages know of the service now: whether emails are sent, and by which rules."""

import threading
from contextlib import suppress
from dataclasses import dataclass

from ledger.clock import Clock
from ledger.controls import Sending
from ledger.pauses import Pause, PauseScope
from schemas.actions import Mode
from schemas.errors import ConfigurationError
from schemas.settings import Settings
from workers.deliver.context import SendSetup
from workers.deliver.forecast import make_send_setup

_RULES_KEPT_S = 30.0


@dataclass(frozen=True, slots=True)
class SendingState:
    """The mode, and the pauses that hold emails now."""

    sending: Sending
    pauses: tuple[Pause, ...]

    @property
    def is_observing(self) -> bool:
        """Whether emails are written and kept here."""
        return self.sending.mode is not Mode.SENDING

    @property
    def all_paused(self) -> Pause | None:
        """The pause of all emails, if there is one."""
        return next((one for one in self.pauses if one.scope is PauseScope.ALL), None)


class RulesNow:
    """What forecasts and previews use: the rules in force, read again after half a minute.

    If the file can no longer be read, the rules that were read last are kept, as workers keep them.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._made: SendSetup | None = None
        self._made_at = 0.0

    def setup(self) -> SendSetup:
        """Return the set-up for forecasts. Raises `ConfigurationError` if there never was one."""
        with self._lock:
            now = self._clock.monotonic()
            if self._made is None:
                self._made, self._made_at = make_send_setup(self._settings), now
            elif now - self._made_at >= _RULES_KEPT_S:
                with suppress(ConfigurationError):
                    self._made = make_send_setup(self._settings)
                self._made_at = now
            return self._made
