"""Keeps the programs of one machine running: starts them, watches them, ends them together.

Not a service manager: it knows nothing of boot, users or limits. `coursebell up` and
`coursebell demo` use it; a real installation runs the Procfile under its own supervisor.
"""

from workers.supervisor.failing import Failing, FailingFile, failing_programs
from workers.supervisor.programs import last_lines, python_program
from workers.supervisor.restarts import Pace
from workers.supervisor.watch import ChildCommand, ChildRefused, CrashLoop, Supervisor

__all__ = [
    "ChildCommand",
    "ChildRefused",
    "CrashLoop",
    "Failing",
    "FailingFile",
    "Pace",
    "Supervisor",
    "failing_programs",
    "last_lines",
    "python_program",
]
