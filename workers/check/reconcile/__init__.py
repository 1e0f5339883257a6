"""Reconcile: everything that the source lists against everything that is known here.

What is found is only ever asked about. The look-up by Id finds out what is true, so that no list,
however short, can wipe anything.
"""

from workers.check.reconcile.bringing import MOST_GONE, bring_in
from workers.check.reconcile.compare import compare
from workers.check.reconcile.nightly import is_nightly_due, nightly
from workers.check.reconcile.values import Compared, Comparison, Difference, How, Scope, Way

__all__ = [
    "MOST_GONE",
    "Compared",
    "Comparison",
    "Difference",
    "How",
    "Scope",
    "Way",
    "bring_in",
    "compare",
    "is_nightly_due",
    "nightly",
]
