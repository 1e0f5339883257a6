"""Makes a webhook that calls us, unless there is an equal one. One action, one location each."""

from dataclasses import dataclass

from schemas.entity import Entity
from schemas.errors import SourceUnavailable
from schemas.hook_actions import about_courses
from schemas.records import WebHook
from workers.guard.looking import look
from workers.source.client import Source
from workers.source.writing import NewHook, Writing

# What the name of an action would say, in small letters, if its webhook brought such records.
_RECORDS_OF = (
    ("completedlesson", Entity.COMPLETED_LESSON),
    ("coursemember", Entity.COURSE_MEMBER),
    ("enrol", Entity.COURSE_MEMBER),
)


@dataclass(frozen=True, slots=True)
class Registered:
    """A webhook that calls us. `record_id` None: it was made, and its Id was not told."""

    record_id: int | None
    is_new: bool
    active: bool


def entity_of_action(name: str) -> Entity | None:
    """Return which records an action about courses would bring; None if its name does not say.

    An Id of something else must never be taken for an enrolment's, so this is no guess: without a
    name that says it, each delivery is recognised by its own fields.
    """
    if not about_courses([name]):
        return None
    said = name.lower()
    return next((entity for word, entity in _RECORDS_OF if word in said), None)


def address_for(public_url: str, action: str) -> str:
    """Return the address that a webhook of this action should call."""
    entity = entity_of_action(action)
    return f"{public_url}/hooks/nexudus" + (f"?resource={entity}" if entity else "")


def register(source: Source, public_url: str, wish: NewHook) -> Registered:
    """Make a webhook, if there is none of the same location, action and address.

    Raises:
        WriteDenied: the role WebHook-Create is missing.
        SourceRefused, SourceThrottled: it was not made.
        SourceUnavailable: it was not seen afterwards, and may appear later.
    """
    there = _equal(source, public_url, wish)
    if there is not None:
        return Registered(there.record_id, is_new=False, active=there.active)
    try:
        record_id = Writing(source.asking).create(wish)
    except SourceUnavailable:
        # It may have been made all the same, and a second one would tell everything twice.
        there = _equal(source, public_url, wish)
        if there is None:
            raise
        return Registered(there.record_id, is_new=True, active=there.active)
    return Registered(record_id, is_new=True, active=True)


def _equal(source: Source, public_url: str, wish: NewHook) -> WebHook | None:
    wanted = (wish.business_id, wish.action, wish.url)
    for hook in look(source, public_url).ours.values():
        if (hook.business_id, hook.action, hook.url) == wanted:
            return hook
    return None
