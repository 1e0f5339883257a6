"""A member, with what is needed to email them."""

from dataclasses import dataclass
from datetime import datetime

from schemas.entity import CoworkerKind


@dataclass(frozen=True, slots=True)
class Person:
    """A member. `email` is None when the profile has none.

    `zone` is the IANA name of their time zone, or None if unknown.
    """

    coworker_id: int
    full_name: str
    first_name: str | None
    kind: CoworkerKind | None
    email: str | None
    active: bool
    fetched_at: datetime
    gone_at: datetime | None
    zone: str | None = None
