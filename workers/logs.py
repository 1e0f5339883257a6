"""Logging: one JSON object a line on standard output, with a fixed event name and fields of ids."""

import logging
import sys
from typing import TextIO, cast

import structlog
from structlog.typing import Processor

from ledger.clock import Clock
from schemas.errors import frames_of
from workers.streams import UnfailingStream

_REPEAT_AFTER_S = 60.0  # between two lines about a lasting fault
_MOST_TEXTS = 8  # of one fault, each logged at once; more count as repeats
_SHARED: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
]


class RepeatedFault:
    """Logs a fault that may occur on every turn of a loop: the first time, then once a minute.

    `times` counts the occurrences since the line before. A fault with another text is logged at
    once. When the fault is over, the event `ended` is logged with the total.
    """

    def __init__(
        self,
        log: structlog.typing.FilteringBoundLogger,
        ended: str,
        clock: Clock,
    ) -> None:
        self._log = log
        self._ended = ended
        self._clock = clock
        self._known: set[tuple[str, str]] = set()
        self._times = 0
        self._total = 0
        self._silent_until = 0.0

    def occurred(self, level: int, event: str, error: str) -> None:
        """Count the fault, and log it if it is new or the last line is a minute old."""
        self._times += 1
        self._total += 1
        is_new = (event, error) not in self._known and len(self._known) < _MOST_TEXTS
        if not is_new and self._clock.monotonic() < self._silent_until:
            return
        if is_new:
            self._known.add((event, error))
        self._log.log(level, event, error=error, times=self._times)
        self._times, self._silent_until = 0, self._clock.monotonic() + _REPEAT_AFTER_S

    def is_over(self) -> None:
        """Log that the fault is over, if there was one."""
        if self._total:
            self._log.info(self._ended, times=self._total)
            self._known.clear()
            self._times = self._total = 0


def set_up_logs(process: str, level: int = logging.INFO) -> None:
    """Send all logs of this process and its libraries to standard output as JSON.

    Of an exception only its class and places in the code are logged, since its text may quote what
    we must not log.
    """

    def name_process(
        _: structlog.typing.WrappedLogger, __: str, fields: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        return {**fields, "process": process}

    shared = [name_process, *_SHARED]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
        processors=[
            _leave_out_error_text,
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer(),
        ],
    )
    sys.stdout = cast("TextIO", UnfailingStream(sys.stdout))
    lines = logging.StreamHandler(sys.stdout)
    lines.setFormatter(formatter)
    lines.addFilter(_leave_out_quoted_errors)
    root = logging.getLogger()
    root.handlers[:] = [lines]
    root.setLevel(level)
    for noisy in ("kombu", "amqp", "celery.worker.strategy", "celery.app.trace", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # Alembic logs every revision it checks.
    logging.getLogger("alembic").setLevel(logging.WARNING)


def _leave_out_error_text(
    _: structlog.typing.WrappedLogger, __: str, fields: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    error = fields.pop("exc_info", None)
    if isinstance(error, tuple) and error[1] is not None:
        fields["error"] = frames_of(error[1])
    fields.pop("stack_info", None)
    return fields


def _leave_out_quoted_errors(record: logging.LogRecord) -> bool:
    """Replace exceptions in a library's message about an unexpected error by their class.

    Celery's message about a failed task has the exception and the traceback as text.
    """
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(record.args, dict) and "exc" in record.args:
        name = "an error" if error is None else type(error).__name__
        record.args = {**record.args, "exc": name, "traceback": ""}
    elif isinstance(record.args, tuple) and error is not None:
        record.args = tuple(
            type(one).__name__ if isinstance(one, BaseException) else one for one in record.args
        )
    return True
