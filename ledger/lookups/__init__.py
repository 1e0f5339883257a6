"""Look-ups: which record has to be read, by whom, and how it went.

A worker claims a batch under a lease. What it learns is committed together with the look-up's
end, and only while the lease's token is still on the row: a worker that was overtaken changes
nothing.
"""

from ledger.lookups.claiming import (
    Claim,
    begin_lookup,
    claim_lookups,
    next_lookup_at,
    renew_batch,
    renew_lookup,
    states_among,
)
from ledger.lookups.ending import fail_lookup, finish_lookup, postpone_lookup, return_lookup

__all__ = [
    "Claim",
    "begin_lookup",
    "claim_lookups",
    "fail_lookup",
    "finish_lookup",
    "next_lookup_at",
    "postpone_lookup",
    "renew_batch",
    "renew_lookup",
    "return_lookup",
    "states_among",
]
