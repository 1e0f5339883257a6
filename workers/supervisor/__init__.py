"""Keeps the programs of one machine running: starts them, watches them, ends them together.

Not a service manager: it knows nothing of boot, users or limits. `coursebell up` and
`coursebell demo` use it; a real installation runs the Procfile under its own supervisor.
"""

from workers.supervisor.programs import last_lines, python_program
from workers.supervisor.restarts import Pace
from workers.supervisor.watch import ChildCommand, CrashLoop, Supervisor

__all__ = [
    "ChildCommand",
    "CrashLoop",
    "Pace",
    "Supervisor",
    "last_lines",
    "python_program",
]
