"""A member, with what is needed to email them."""

from dataclasses import dataclass
from datetime import datetime

from schemas.entity import CoworkerKind


@dataclass(frozen=True, slots=True)
class Person:
    """A member. `email` is None when the profile has none.

    `zone` is the IANA name of their time zone, or None if unknown. `user_id` is their portal
    account, or None without one. `language` is the tag of the language they chose there, such as
    pt-BR, or None if unknown; it was read at `language_at`, or never if that is None.
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
    user_id: int | None = None
    language: str | None = None
    language_at: datetime | None = None
