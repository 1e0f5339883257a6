"""The tables of the ledger. What a row is stands above each; how rows change, in the rooms beside.

The migrations in `ledger/migrations` make them; a test holds both together.
"""

from ledger.tables.base import Id, Instant, metadata
from ledger.tables.checks import checks
from ledger.tables.news import (
    FAILED_LOOKUPS,
    UNFINISHED_LOOKUPS,
    deliveries,
    listings,
    lookups,
    notifications,
    records,
)
from ledger.tables.outcomes import (
    UNDECIDED_ACTIONS,
    UNFINISHED_ACTIONS,
    action_events,
    actions,
    attempts,
    copies,
    events,
)
from ledger.tables.people import choices, people
from ledger.tables.service import (
    control_log,
    controls,
    gaps,
    heartbeats,
    leases,
    outages,
    refusals,
    revisions,
    sign_ins,
)

__all__ = [
    "FAILED_LOOKUPS",
    "UNDECIDED_ACTIONS",
    "UNFINISHED_ACTIONS",
    "UNFINISHED_LOOKUPS",
    "Id",
    "Instant",
    "action_events",
    "actions",
    "attempts",
    "checks",
    "choices",
    "control_log",
    "controls",
    "copies",
    "deliveries",
    "events",
    "gaps",
    "heartbeats",
    "leases",
    "listings",
    "lookups",
    "metadata",
    "notifications",
    "outages",
    "people",
    "records",
    "refusals",
    "revisions",
    "sign_ins",
]
