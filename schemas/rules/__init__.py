"""The rules file: which event leads to which action, when, and for whom.

`rules_text` and `load_rules` take the file's content; the caller reads the file. `workers.decide`
applies the rules.
"""

from schemas.rules.loading import load_rules, rules_text
from schemas.rules.model import (
    Catalogue,
    CourseRules,
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

__all__ = [
    "Catalogue",
    "CourseRules",
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
    "rules_text",
    "unknown_names",
]
