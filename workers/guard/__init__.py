"""The guardian: looks after the webhooks at the source that call us. Nobody there tells who fails.

The run is `guard`. What it remembers is in `ledger.hooks`.
"""

from workers.guard.guard import ROUND_S, Guarding, Report, guard, is_guard_due

__all__ = ["ROUND_S", "Guarding", "Report", "guard", "is_guard_due"]
