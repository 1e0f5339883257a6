"""The rules file: which event leads to which action, when, and for whom.

`rules_text` and `load_rules` are given what is in the file; reading it is the caller's. Deciding is
not done here either: these are the words that the engine decides by.
"""

from schemas.rules.loading import load_rules, rules_text
from schemas.rules.names import Catalogue, names_in, unknown_names
from schemas.rules.shape import Flood, QuietHours, Rule, Rules, Stream, Timing, Where

__all__ = [
    "Catalogue",
    "Flood",
    "QuietHours",
    "Rule",
    "Rules",
    "Stream",
    "Timing",
    "Where",
    "load_rules",
    "names_in",
    "rules_text",
    "unknown_names",
]
