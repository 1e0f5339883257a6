"""Everything one run of the sandbox has, and the changes that a visitor or a test can make.

The one place where a change and its deliveries come together.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sandbox.mailbox import Mailbox
from sandbox.misbehaviour.answers import Faults
from sandbox.misbehaviour.board import Board
from sandbox.misbehaviour.switch import Refused
from sandbox.quota import WINDOWS_S, Limits, Quota, RequestCounts
from sandbox.receivers import Receivers
from sandbox.records import HOOK_IDS, NO_ACTION, Record, web_hook
from sandbox.sender import ROUTES, Hook, Sender
from sandbox.staff_records import StaffRecords
from sandbox.tenant import Tenant, WorldClock
from sandbox.tokens import Tokens
from schemas.entity import Entity


@dataclass(frozen=True, slots=True)
class Stage:
    """The tenant and everything around it. `coursebell_url` is linked on the pages."""

    sender: Sender
    tokens: Tokens
    board: Board
    tenant: Tenant
    clock: WorldClock
    mailbox: Mailbox
    receivers: Receivers
    staff_records: StaffRecords
    coursebell_url: str | None = None
    faults: Faults = field(default_factory=Faults)
    counts: RequestCounts = field(default_factory=RequestCounts)
    quota: Quota = field(default_factory=Quota)

    def set_up_hooks(self) -> None:
        """Add records of our webhooks, which follow their state from now on."""
        self._add_hooks()
        if self.sender.target.deliver_to is not None:
            self.sender.on_change(self._update_record)

    def enrol(
        self,
        course_id: int,
        coworker_id: int,
        *,
        approved: bool = True,
        at: datetime | None = None,
        deliver: bool = True,
    ) -> Record:
        """Enrol a person and return the CourseMember."""
        member = self.tenant.enrol(course_id, coworker_id, approved=approved, at=at)
        self._deliver(Entity.COURSE_MEMBER, member, deliver=deliver)
        return member

    def finish_lesson(
        self,
        member_id: int,
        lesson_id: int | None = None,
        *,
        at: datetime | None = None,
        deliver: bool = True,
    ) -> Record:
        """Finish the next required lesson, or the named one, and return the completion.

        Two records change, so there are two deliveries.
        """
        completed, member = self.tenant.finish_lesson(member_id, lesson_id, at)
        self._deliver(Entity.COMPLETED_LESSON, completed, deliver=deliver)
        self._deliver(Entity.COURSE_MEMBER, member, deliver=deliver)
        return completed

    def finish_course(
        self, member_id: int, *, at: datetime | None = None, deliver: bool = True
    ) -> list[Record]:
        """Finish all lessons that are left, in order, and return the completions."""
        return [
            self.finish_lesson(member_id, lesson["Id"], at=at, deliver=deliver)
            for lesson in self.tenant.lessons_left(member_id)
        ]

    def change(
        self,
        entity: Entity,
        record_id: int,
        fields: Mapping[str, object],
        *,
        deliver: bool = True,
        resets_errors: bool = True,
    ) -> Record:
        """Set fields of a record; changes of kinds that have a webhook are delivered.

        A webhook that is switched on has no failures counted, unless `resets_errors` is off.
        """
        record = self.tenant.change(entity, record_id, fields)
        if entity is Entity.WEB_HOOK and "Active" in fields:
            self._switch(record, resets_errors=resets_errors)
        self._deliver(entity, record, deliver=deliver)
        return record

    def deliver_again(self, entity: Entity, record_id: int, times: int) -> list[int | None]:
        """Deliver the record or its last version, wait, and return the statuses."""
        record = self.tenant.last_known(entity, record_id)
        return self.sender.deliver_now(entity, record, times)

    def limits(self) -> Limits | None:
        """Return the request limits by window; None if none are enforced."""
        found = self.board.now("quota")
        return None if found is None else {name: found.maybe_whole(name) for name in WINDOWS_S}

    def is_dead(self, entity: Entity, record_id: int) -> bool:
        """Whether this missing Id answers 500."""
        found = self.board.about("dead-id-500", entity)
        return found is not None and found.maybe_whole("id") in {None, record_id}

    def clear(self) -> None:
        """Switch all misbehaviour off, and send held answers."""
        self.board.clear()
        self.faults.clear()

    def reset(self) -> None:
        """Go back to the start. A delivery that still waits is made all the same."""
        self.board.reset()
        self.faults.clear()
        self.clock.fix(None)
        self.tokens.forget()
        self.sender.reset()
        self.tenant.reset()
        self.counts.reset()
        self.quota.reset()
        self.mailbox.reset()
        self.receivers.reset()
        self.staff_records.reset()
        self._add_hooks()

    def _deliver(self, entity: Entity, record: Record, *, deliver: bool) -> None:
        if deliver:
            self.sender.deliver(entity, record, self.tenant.location_of(entity, record))

    def _switch(self, record: Record, *, resets_errors: bool) -> None:
        for entity, known_id in HOOK_IDS.items():
            if known_id != record["Id"]:
                continue
            if record["Active"] is True and resets_errors:
                self.sender.switch_on(entity)
            else:
                active, failures = record["Active"] is True, int(record["ErrorCount"] or 0)
                self.sender.adopt(entity, active=active, error_count=failures)

    def _add_hooks(self) -> None:
        if self.sender.target.deliver_to is None:
            return
        for entity in ROUTES:
            url = self.sender.target.url_of(entity)
            name, opened_at = f"Coursebell: {entity}", self.tenant.opened_at
            record = web_hook(HOOK_IDS[entity], opened_at, name, NO_ACTION, url)
            self.tenant.add(Entity.WEB_HOOK, record)

    def _update_record(self, hook: Hook) -> None:
        state = {
            "Active": hook.active,
            "ErrorCount": hook.error_count,
            "LastError": hook.last_error or None,
            "LastTrigger": hook.last_trigger,
        }
        try:
            self.tenant.change(Entity.WEB_HOOK, HOOK_IDS[hook.entity], state)
        except Refused:
            return  # a test deleted the record; the webhook continues


def entity_named(name: object) -> Entity:
    """Return the entity of that name.

    Raises:
        Refused: there is none.
    """
    try:
        return Entity(str(name))
    except ValueError as error:
        raise Refused("There is no such kind of record here.", 400) from error
