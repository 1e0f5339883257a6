"""Finds the webhooks that call us, and the actions that webhooks may be about. Reads only."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from schemas.entity import FOLLOWED, Entity, followed_entity
from schemas.errors import RecordStuck, RecordUnreadable, SourceUnavailable
from schemas.records import WebHook
from workers.source.answers import Missing
from workers.source.checkup.hooks import ENUM_PATH, ENUM_QUERY
from workers.source.client import Source, whole_record
from workers.source.foreign import origin
from workers.source.lists import Asks, Row

_HOOKS_BELOW = "/hooks/"
_ENTITY_AT = {
    "/course-members": Entity.COURSE_MEMBER,
    "/course-completed-lessons": Entity.COMPLETED_LESSON,
}


@dataclass(frozen=True, slots=True)
class Seen:
    """Which webhooks there are: ours by their Ids, the number of others, and what is unreadable."""

    ours: Mapping[int, WebHook]
    others: int
    unread: frozenset[int]


def calls_us(url: str | None, public_url: str) -> bool:
    """Say whether a webhook has scheme, host and port of our public address, as `doctor` does."""
    return origin(url) is not None and origin(url) == origin(public_url)


def is_for_us(url: str | None, public_url: str) -> bool:
    """Say whether it also has our path: another service may stand behind the same host."""
    if url is None or not calls_us(url, public_url):
        return False
    return urlsplit(url.strip()).path.startswith(urlsplit(public_url).path + _HOOKS_BELOW)


def entities_of(url: str | None) -> tuple[Entity, ...]:
    """Return what a webhook's address says it tells of; all that we follow, if it does not say."""
    with suppress(ValueError):
        parts = urlsplit((url or "").strip())
        for end, entity in _ENTITY_AT.items():
            if parts.path.rstrip("/").endswith(end):
                return (entity,)
        named = followed_entity(parse_qs(parts.query).get("resource", [""])[0])
        if named is not None:
            return (named,)
    return FOLLOWED


def look(source: Source, public_url: str) -> Seen:
    """Return the webhooks there are. Rows may be partial; what calls us is then read by its Id.

    Raises as `Lists.whole` and `Source.fetch`; one that is unreadable hides none of the others.
    """
    ours: dict[int, WebHook] = {}
    unread: set[int] = set()
    others = 0
    for row in source.lists.whole(Entity.WEB_HOOK):
        if isinstance(row.get("URL"), str) and not calls_us(row["URL"], public_url):
            others += 1
            continue
        try:
            hook = _hook(source, row)
        except (RecordUnreadable, RecordStuck):
            unread.add(row["Id"])
            continue
        if hook is not None and calls_us(hook.url, public_url):
            ours[hook.record_id] = hook
        else:
            others += hook is not None
    return Seen(ours, others, frozenset(unread))


def fetch_hook(source: Source, record_id: int) -> WebHook | None:
    """Return a webhook by its Id; None if it is gone. Raises as `Source.fetch`."""
    found = source.fetch(Entity.WEB_HOOK, record_id)
    return found if isinstance(found, WebHook) else None


def source_actions(asks: Asks) -> dict[str, int]:
    """Return the actions that webhooks may be about, by their names (contract, section 5.3).

    Raises:
        RecordUnreadable: the source did not answer with a list of them. Otherwise as `ask`.
    """
    found = asks.ask(ENUM_PATH, ENUM_QUERY)
    if isinstance(found, Missing) and not found.certain:
        raise SourceUnavailable("the source did not show its list of actions")
    items = found if isinstance(found, list) else []
    actions = {
        str(item["Name"]): item["Id"]
        for item in items
        if isinstance(item, dict) and item.get("Name") and isinstance(item.get("Id"), int)
    }
    if not actions:
        raise RecordUnreadable("the list of actions is not one")
    return actions


def _hook(source: Source, row: Row) -> WebHook | None:
    found = whole_record(Entity.WEB_HOOK, row)
    return found if isinstance(found, WebHook) else fetch_hook(source, row["Id"])
