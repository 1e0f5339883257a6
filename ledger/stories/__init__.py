"""Reads the ledger for people: one person's story, the whole in numbers, what is going on.

Changes nothing. Addresses leave here whole; whoever shows them shortens them.
"""

from ledger.stories.happenings import Bookmark, Happening, happenings, newest
from ledger.stories.hearing import Told, last_happened_at, sittings_by_hour, told_by_location
from ledger.stories.person import ActionStory, EventStory, Try, story_of
from ledger.stories.tally import Tally, Undecided, tally, undecided

__all__ = [
    "ActionStory",
    "Bookmark",
    "EventStory",
    "Happening",
    "Tally",
    "Told",
    "Try",
    "Undecided",
    "happenings",
    "last_happened_at",
    "newest",
    "sittings_by_hour",
    "story_of",
    "tally",
    "told_by_location",
    "undecided",
]
