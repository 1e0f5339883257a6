"""The rules file: which event leads to which action, when, and for whom.

`load_rules` takes the text of the file; the caller reads it. `workers.decide`
applies the rules.
"""

from schemas.rules.loading import load_rules
from schemas.rules.model import (
    Catalogue,
    CourseRules,
    Digest,
    Every,
    Flood,
    QuietHours,
    Rule,
    Rules,
    SendWindow,
    SequenceStep,
    Stream,
    Timing,
    Until,
    Where,
    is_named,
    names_in,
    unknown_names,
)
from schemas.rules.review import doubtful_brakes, doubtful_rules
from schemas.rules.values import OWN_REPORTS

__all__ = [
    "OWN_REPORTS",
    "Catalogue",
    "CourseRules",
    "Digest",
    "Every",
    "Flood",
    "QuietHours",
    "Rule",
    "Rules",
    "SendWindow",
    "SequenceStep",
    "Stream",
    "Timing",
    "Until",
    "Where",
    "doubtful_brakes",
    "doubtful_rules",
    "is_named",
    "load_rules",
    "names_in",
    "unknown_names",
]
