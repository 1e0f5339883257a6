"""The outbox: planned actions, who is at them, and how they ended.

A claim is a lease on a row whose state stays as it is; only the moment before the hand-over does
it become `performing`. So a worker killed while it was still reading or writing costs nothing, and
one killed during the hand-over leaves a row that nobody repeats.
"""

from ledger.actions.claiming import (
    ClaimedAction,
    claim_actions,
    look_at_actions,
    next_action_at,
    open_actions,
    release_action,
    renew_action,
)
from ledger.actions.finishing import finish_announced_at, supersede_lessons
from ledger.actions.planning import plan_action
from ledger.actions.settling import (
    begin_action,
    commit_action,
    expire_hand_overs,
    is_alone_in_trouble,
    note_attempt,
    settle_action,
    tries_of,
)

__all__ = [
    "ClaimedAction",
    "begin_action",
    "claim_actions",
    "commit_action",
    "expire_hand_overs",
    "finish_announced_at",
    "is_alone_in_trouble",
    "look_at_actions",
    "next_action_at",
    "note_attempt",
    "open_actions",
    "plan_action",
    "release_action",
    "renew_action",
    "settle_action",
    "supersede_lessons",
    "tries_of",
]
