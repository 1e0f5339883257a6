"""The source's enumerations that we use, with their numbers (contract, sections 2.1 to 2.6).

The actions of webhooks are in `schemas.records.web_hook`.
"""

from enum import Enum, IntEnum


class CoworkerKind(Enum):
    """A customer is a person or a company; the source writes it as a word or as a number."""

    INDIVIDUAL = 1
    COMPANY = 2


class CompletionType(IntEnum):
    """What makes the portal count a lesson as done."""

    NONE = 1  # not tracked: never completed
    VISITED = 2  # by opening the page
    BUTTON = 3
    VIDEO = 4


class UnlockType(IntEnum):
    """When a lesson or section opens."""

    IMMEDIATE = 1
    SEQUENTIAL = 2
    TIMED = 3


class Visibility(IntEnum):
    """Who sees a course."""

    PUBLIC = 1
    HIDDEN = 2
    PRIVATE = 3
    PAID = 4
