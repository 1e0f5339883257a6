"""Lists, switches on and registers the webhooks at Nexudus that call us.

Webhooks are the only records we write at the source. A PUT replaces the whole record and clears
whatever it leaves out (contract, sections 3 and 6), so a webhook is read by its Id right before a
write, sent back with only `Active` changed, and never sent back if it came incomplete. A write
without an answer is not repeated: the webhook is read again to find out whether it was done.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

from schemas.entity import FOLLOWED, PATHS, Entity, followed_entity
from schemas.errors import RecordStuck, RecordUnreadable, SourceRefused, SourceUnavailable
from schemas.records import WebHook, course_actions
from workers.source.answers import Missing, WriteDenied, origin
from workers.source.client import Source, whole_record
from workers.source.lists import ApiReads, Row

MANY_FAILURES = 5  # at ten in a row the source switches a webhook off (contract, 5.4)

_PATH = PATHS[Entity.WEB_HOOK]
_ACTIONS_PATH, _ACTIONS_QUERY = "utils/enums", {"name": "eWebhookAction"}
# The fields of an edit (contract, 5.6); a record without one of them is incomplete.
_EDITABLE = ("Id", "BusinessId", "Name", "Action", "Description", "URL", "Active")
_ROUTES = "/hooks/"
_ENTITY_OF_ROUTE = {
    "/course-members": Entity.COURSE_MEMBER,
    "/course-completed-lessons": Entity.COMPLETED_LESSON,
}
# Words, in lower case, in the name of an action whose webhook reports such records.
_ENTITY_OF_ACTION = (
    ("completedlesson", Entity.COMPLETED_LESSON),
    ("coursemember", Entity.COURSE_MEMBER),
    ("enrol", Entity.COURSE_MEMBER),
)

RawHook = dict[str, Any]  # a webhook as the source sent it, unknown fields included


class ApiWrites(ApiReads, Protocol):
    """Reads and writes webhooks: the interface of `workers.source.client.ApiSession`."""

    def send(self, method: str, path: str, value: object) -> object:
        """Write one JSON value; see `ApiSession.send`."""


@dataclass(frozen=True, slots=True)
class ListedWebhooks:
    """The webhooks at the source. `unread` are the Ids of those that could not be read."""

    ours: Mapping[int, WebHook]
    others: int
    unread: frozenset[int]


class SwitchOutcome(Enum):
    """The result of switching a webhook on. Only `ON` and `STILL_OFF` wrote anything."""

    ON = auto()  # we did it and verified it
    ALREADY = auto()  # it was on already
    NOT_THERE = auto()  # it is gone
    NOT_OURS = auto()  # its URL is not below our /hooks/
    STILL_OFF = auto()  # the source reported success and still shows it switched off


@dataclass(frozen=True, slots=True)
class Switched:
    """The result of switching a webhook on, and which other fields the source changed."""

    outcome: SwitchOutcome
    lost: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class NewHook:
    """A webhook to register: one action at one location."""

    business_id: int
    name: str
    action: int
    url: str


@dataclass(frozen=True, slots=True)
class Registered:
    """A webhook that calls us. `record_id` is None if the source did not return it."""

    record_id: int | None
    is_new: bool
    active: bool


def calls_us(url: str | None, public_url: str) -> bool:
    """Return whether a webhook's URL has scheme, host and port of our public address."""
    return origin(url) is not None and origin(url) == origin(public_url)


def is_for_us(url: str | None, public_url: str) -> bool:
    """Return whether it also has our path: another service may use the same host."""
    if url is None or not calls_us(url, public_url):
        return False
    return urlsplit(url.strip()).path.startswith(urlsplit(public_url).path + _ROUTES)


def entities_of(url: str | None) -> tuple[Entity, ...]:
    """Return the kinds of record that a webhook's URL names, or all followed kinds if none."""
    with suppress(ValueError):
        parts = urlsplit((url or "").strip())
        for end, entity in _ENTITY_OF_ROUTE.items():
            if parts.path.rstrip("/").endswith(end):
                return (entity,)
        named = followed_entity(parse_qs(parts.query).get("resource", [""])[0])
        if named is not None:
            return (named,)
    return FOLLOWED


def list_webhooks(source: Source, public_url: str) -> ListedWebhooks:
    """Return the webhooks at the source. For a partial row that may be ours, fetches the record.

    Raises as `Lists.whole` and `Source.fetch`; an unreadable webhook does not hide the others.
    """
    ours: dict[int, WebHook] = {}
    unread: set[int] = set()
    others = 0
    for row in source.lists.whole(Entity.WEB_HOOK):
        if isinstance(row.get("URL"), str) and not calls_us(row["URL"], public_url):
            others += 1
            continue
        try:
            hook = _webhook(source, row)
        except (RecordUnreadable, RecordStuck):
            unread.add(row["Id"])
            continue
        if hook is not None and calls_us(hook.url, public_url):
            ours[hook.record_id] = hook
        else:
            others += hook is not None
    return ListedWebhooks(ours, others, frozenset(unread))


def fetch_webhook(source: Source, record_id: int) -> WebHook | None:
    """Return a webhook by its Id; None if it is gone. Raises as `Source.fetch`."""
    found = source.fetch(Entity.WEB_HOOK, record_id)
    return found if isinstance(found, WebHook) else None


def webhook_actions(session: ApiReads) -> dict[str, int]:
    """Return the actions that the source has webhooks for, by name (contract, section 5.3).

    Raises:
        RecordUnreadable: the answer is not a list of actions. Otherwise as `ApiSession.get_json`.
    """
    found = session.get_json(_ACTIONS_PATH, _ACTIONS_QUERY)
    if isinstance(found, Missing) and not found.certain:
        raise SourceUnavailable("the source did not show its list of actions")
    items = found if isinstance(found, list) else []
    actions = {
        str(item["Name"]): item["Id"]
        for item in items
        if isinstance(item, dict) and item.get("Name") and isinstance(item.get("Id"), int)
    }
    if not actions:
        raise RecordUnreadable("the answer is not a list of actions")
    return actions


def read_webhook(session: ApiReads, record_id: int) -> RawHook | None:
    """Return a webhook as received, with every field; None if there is none with this Id.

    Raises:
        SourceUnavailable: no answer, or a 500, which may be an outage or a missing record.
        Otherwise as `ApiSession.get_json`.
    """
    found = session.get_json(f"{_PATH}/{record_id}", {})
    if isinstance(found, Missing):
        if found.certain:
            return None
        raise SourceUnavailable("the source did not show a webhook")
    if not isinstance(found, dict) or found.get("Id") != record_id:
        raise SourceRefused("the source answered with something other than this webhook")
    return found


def switch_on(
    session: ApiWrites, record_id: int, public_url: str, before_write: Callable[[], None]
) -> Switched:
    """Switch a webhook of ours on. `before_write` is called right before anything is written.

    It may have been switched on or moved since it was listed, so it is read before and after the
    write.

    Raises:
        WriteDenied: the role WebHook-Edit is missing.
        SourceRefused: the webhook came incomplete and was not sent back, or the source refused.
        SourceThrottled, SourceUnavailable: as `ApiSession.send`, and it does not show as on
            afterwards.
    """
    before = read_webhook(session, record_id)
    if before is None:
        return Switched(SwitchOutcome.NOT_THERE)
    url = before.get("URL")
    if not is_for_us(url if isinstance(url, str) else None, public_url):
        return Switched(SwitchOutcome.NOT_OURS)
    if before.get("Active") is True:
        return Switched(SwitchOutcome.ALREADY)
    missing = [name for name in _EDITABLE if name not in before]
    if missing:
        raise SourceRefused(f"the webhook came without {', '.join(missing)}; nothing was sent")
    before_write()
    unanswered: SourceUnavailable | None = None
    try:
        _send(session, "PUT", {**before, "Active": True}, "Edit")
    except SourceUnavailable as error:
        unanswered = error  # the write may have been done
    after = read_webhook(session, record_id)
    if after is not None and after.get("Active") is True:
        kept = [name for name in _EDITABLE if name != "Active"]
        return Switched(
            SwitchOutcome.ON, sorted(name for name in kept if before[name] != after.get(name))
        )
    if unanswered is not None:
        raise unanswered
    return Switched(SwitchOutcome.STILL_OFF)


def address_for(public_url: str, action: str) -> str:
    """Return the URL that a webhook of this action should call.

    It names a kind of record only if the action's name does: the Id of something else must never be
    mistaken for an enrolment's. Otherwise each delivery is recognised by its fields.
    """
    name = action.lower()
    about = _ENTITY_OF_ACTION if course_actions([action]) else ()
    entity = next((entity for word, entity in about if word in name), None)
    return f"{public_url}/hooks/nexudus" + (f"?resource={entity}" if entity else "")


def register(source: Source, public_url: str, new_hook: NewHook) -> Registered:
    """Register a webhook, unless there is one of the same location, action and URL.

    Raises:
        WriteDenied: the role WebHook-Create is missing.
        SourceRefused, SourceThrottled: nothing was registered.
        SourceUnavailable: it does not show afterwards, and may appear later.
    """
    existing = _equal(source, public_url, new_hook)
    if existing is not None:
        return Registered(existing.record_id, is_new=False, active=existing.active)
    try:
        record_id = create_webhook(source.session, new_hook)
    except SourceUnavailable:
        # It may have been created anyway, and a second one would report everything twice.
        existing = _equal(source, public_url, new_hook)
        if existing is None:
            raise
        return Registered(existing.record_id, is_new=True, active=existing.active)
    return Registered(record_id, is_new=True, active=True)


def create_webhook(session: ApiWrites, new_hook: NewHook) -> int | None:
    """Create a webhook that is switched on; return its Id if the source returns it.

    Raises:
        WriteDenied: the role WebHook-Create is missing. Otherwise as `ApiSession.send`.
    """
    value = {
        "BusinessId": new_hook.business_id,
        "Name": new_hook.name,
        "Action": new_hook.action,
        "Description": None,
        "URL": new_hook.url,
        "Active": True,
    }
    created = _send(session, "POST", value, "Create")
    record_id = created.get("Id") if isinstance(created, dict) else None
    return record_id if isinstance(record_id, int) else None


def _send(session: ApiWrites, method: str, value: RawHook, way: str) -> object:
    try:
        return session.send(method, _PATH, value)
    except WriteDenied as error:
        role = f"{Entity.WEB_HOOK}-{way}"
        raise WriteDenied(f"{error}; our Nexudus user needs the role {role}") from None


def _equal(source: Source, public_url: str, new_hook: NewHook) -> WebHook | None:
    wanted = (new_hook.business_id, new_hook.action, new_hook.url)
    for hook in list_webhooks(source, public_url).ours.values():
        if (hook.business_id, hook.action, hook.url) == wanted:
            return hook
    return None


def _webhook(source: Source, row: Row) -> WebHook | None:
    found = whole_record(Entity.WEB_HOOK, row)
    return found if isinstance(found, WebHook) else fetch_webhook(source, row["Id"])
