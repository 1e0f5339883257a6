"""What the ledger holds about a window of time, in full, to be held against the source.

Nothing is judged here.
"""

from ledger.stories.certificate.outcomes import (
    Effect,
    Happened,
    Link,
    Outcomes,
    first_lessons,
    happened_between,
    happened_by_key,
    ids_there,
    outcomes_of,
)
from ledger.stories.certificate.records import (
    Asked,
    Kept,
    Seen,
    asked_among,
    kept_among,
    kept_below,
    kept_created,
    seen_among,
)
from ledger.stories.certificate.stock import Stock, stock_of

__all__ = [
    "Asked",
    "Effect",
    "Happened",
    "Kept",
    "Link",
    "Outcomes",
    "Seen",
    "Stock",
    "asked_among",
    "first_lessons",
    "happened_between",
    "happened_by_key",
    "ids_there",
    "kept_among",
    "kept_below",
    "kept_created",
    "outcomes_of",
    "seen_among",
    "stock_of",
]
