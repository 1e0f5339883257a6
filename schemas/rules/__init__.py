"""The rules file: which event leads to which action, when, and for whom.

`rules_text` and `load_rules` take the file's content; the caller reads the file. `workers.decide`
applies the rules.
"""

from schemas.rules.loading import load_rules, rules_text
from schemas.rules.model import (
    Catalogue,
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
    names_in,
    unknown_names,
)

__all__ = [
    "Catalogue",
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
    "load_rules",
    "names_in",
    "rules_text",
    "unknown_names",
]
