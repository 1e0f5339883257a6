"""What a person of the sandbox does, and that the world is told of it.

The one place where a change and its deliveries come together; pages and control routes both use it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sandbox.refused import Refused
from sandbox.sender import Sender
from sandbox.tenant import Tenant
from sandbox.webhooks import HOOK_IDS
from sandbox.wire import Record
from schemas.entity import Entity


@dataclass(frozen=True, slots=True)
class Story:
    """The changes a visitor or a test can make; with `deliver` off nobody is told."""

    tenant: Tenant
    sender: Sender

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
        self._tell(Entity.COURSE_MEMBER, member, deliver=deliver)
        return member

    def finish_lesson(
        self,
        member_id: int,
        lesson_id: int | None = None,
        *,
        at: datetime | None = None,
        deliver: bool = True,
    ) -> Record:
        """Finish the next counting lesson, or the one named, and return the completion.

        Two records change by it, so two deliveries leave.
        """
        completed, member = self.tenant.finish_lesson(member_id, lesson_id, at)
        self._tell(Entity.COMPLETED_LESSON, completed, deliver=deliver)
        self._tell(Entity.COURSE_MEMBER, member, deliver=deliver)
        return completed

    def finish_course(
        self, member_id: int, *, at: datetime | None = None, deliver: bool = True
    ) -> list[Record]:
        """Finish all lessons that are left, in their order, and return the completions."""
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
        forgiving: bool = True,
    ) -> Record:
        """Set fields of a record; only kinds that have a hook are told about.

        A hook that is switched on is forgiven its failures, unless told otherwise.
        """
        record = self.tenant.change(entity, record_id, fields)
        if entity is Entity.WEB_HOOK and "Active" in fields:
            self._switch(record, forgiving=forgiving)
        self._tell(entity, record, deliver=deliver)
        return record

    def deliver_again(self, entity: Entity, record_id: int, times: int) -> list[int | None]:
        """Deliver the record as it stands, or as it last stood, and wait for the answers."""
        record = self.tenant.last_known(entity, record_id)
        return self.sender.deliver_now(entity, record, times)

    def _tell(self, entity: Entity, record: Record, *, deliver: bool) -> None:
        if deliver:
            self.sender.tell(entity, record, self.tenant.business_of(entity, record))

    def _switch(self, record: Record, *, forgiving: bool) -> None:
        for entity, known_id in HOOK_IDS.items():
            if known_id != record["Id"]:
                continue
            if record["Active"] is True and forgiving:
                self.sender.switch_on(entity)
            else:
                active, failures = record["Active"] is True, int(record["ErrorCount"] or 0)
                self.sender.follow(entity, active=active, error_count=failures)


def entity_named(name: object) -> Entity:
    """Return the entity of that name."""
    try:
        return Entity(str(name))
    except ValueError as error:
        raise Refused("There is no such kind of record here.", 400) from error
