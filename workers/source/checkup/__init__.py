"""The check-up of everything that has to be right between us and the source.

It reads and never writes there. What each room looks at is in its first line; `check_up` asks them
all. Who prints what they found is `service.command.doctor`.
"""

from workers.source.checkup.rounds import check_up
from workers.source.checkup.values import Check, Topic, Verdict

__all__ = ["Check", "Topic", "Verdict", "check_up"]
