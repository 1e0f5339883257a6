"""The records of the webhooks (contract, section 5.6): ours, and one that is somebody else's. Pure.

Nexudus has no action for courses, so ours have the action None and call all the same.
"""

from datetime import datetime

from sandbox.hook import Hook
from sandbox.places import WERKHOF
from sandbox.shapes import common
from sandbox.webhook_actions import HELP_DESK_MESSAGE_CREATED, NONE
from sandbox.wire import Record
from schemas.entity import Entity

HOOK_IDS = {Entity.COURSE_MEMBER: 1_416_050_000, Entity.COMPLETED_LESSON: 1_416_050_001}
FOREIGN_HOOK_ID = 1_416_050_002


def hook_record(moment: datetime, entity: Entity, url: str) -> Record:
    """Return the record of the hook that tells of one kind of record."""
    return _hook(HOOK_IDS[entity], moment, f"Coursebell: {entity}", NONE, url)


def foreign_hook(moment: datetime) -> Record:
    """Return the record of a hook that calls somebody else about something else."""
    return _hook(
        FOREIGN_HOOK_ID,
        moment,
        "Help desk",
        HELP_DESK_MESSAGE_CREATED,
        "https://desk.example.org/hooks?action_name=HelDeskMessageCreated",
    )


def written_hook(
    record_id: int, moment: datetime, said: Record, before: Record | None = None
) -> Record:
    """Return the record of a hook that was written over the API: what was left out is cleared.

    `before` is the record it takes the place of: what cannot be written stays as it was.
    """
    record = _hook(record_id, moment, said["Name"], said["Action"], said["URL"])
    kept = ("CreatedOn", "LastError", "ErrorCount", "LastTrigger")
    return {
        **record,
        "BusinessId": said["BusinessId"],
        "Description": said.get("Description"),
        "Active": said.get("Active", False),
        "SystemId": said.get("SystemId"),
        **({} if before is None else {name: before[name] for name in kept}),
    }


def state_of(hook: Hook) -> Record:
    """Return the fields of a hook's record that follow what it does."""
    return {
        "Active": hook.active,
        "ErrorCount": hook.error_count,
        "LastError": hook.last_error or None,
        "LastTrigger": hook.last_trigger,
    }


def _hook(record_id: int, moment: datetime, name: str, action: int, url: str) -> Record:
    return {
        "BusinessId": WERKHOF.id,
        "Name": name,
        "Action": action,
        "Description": None,
        "URL": url,
        "Active": True,
        "LastError": None,
        "ErrorCount": 0,
        "LastTrigger": None,
        **common(Entity.WEB_HOOK, record_id, moment, name),
    }
