"""What an operator may do on the pages: look, operate, or everything an engineer does.

Each role includes the one before it.
"""

from enum import StrEnum


class Role(StrEnum):
    """A role, from the least to the most that it allows."""

    LOOK = "look"  # read the pages; addresses are shortened
    OPERATE = "operate"  # also pause, release, skip, send again
    ENGINEER = "engineer"  # also how an event was decided, and the accounts of others

    def includes(self, other: "Role") -> bool:
        """Return whether this role allows what the other allows."""
        return _ORDER.index(self) >= _ORDER.index(other)


_ORDER = tuple(Role)
