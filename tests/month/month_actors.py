"""Plays the deeds of a month on the stand-in, and says which records changed by them."""

from dataclasses import dataclass, field

from schemas.entity import Entity
from tests.month.month_delivery import Change
from tests.month.month_study import Deed, DeedKind
from tests.month.month_world import course_id, lesson_id, person_id
from tests.sandbox.sandbox_rig import Running

_Who = tuple[int, int]  # a person's and a course's place


@dataclass(slots=True)
class Actors:
    """Performs the deeds. Delivers nothing."""

    sandbox: Running
    _members: dict[_Who, int] = field(default_factory=dict)
    _completions: dict[tuple[int, int], int] = field(default_factory=dict)

    def play(self, deed: Deed) -> list[Change]:
        """Do it now, by the clock of the stand-in."""
        kind, who = deed.kind, (deed.person, deed.course)
        if kind in {DeedKind.ENROL, DeedKind.REQUEST, DeedKind.ENROL_AGAIN}:
            self._members[who] = self._enrol(who, approved=kind is not DeedKind.REQUEST)
            return self._changed(deed)
        member_id = self._members[who]
        if kind is DeedKind.APPROVE:
            self.sandbox.post("/sandbox/approve", course_member_id=member_id, deliver=False)
            return self._changed(deed)
        if kind in {DeedKind.BLOCK, DeedKind.UNBLOCK}:
            self.sandbox.post(
                "/sandbox/change",
                entity=Entity.COURSE_MEMBER,
                id=member_id,
                fields={"Blocked": kind is DeedKind.BLOCK},
                deliver=False,
            )
            return self._changed(deed)
        if kind is DeedKind.DELETE_ENROLMENT:
            self._delete(Entity.COURSE_MEMBER, self._members.pop(who))
            return []
        if kind is DeedKind.DELETE_COMPLETION:
            self._delete(Entity.COMPLETED_LESSON, self._completions.pop(self._place(deed)))
            return []
        return [
            *(Change(Entity.COMPLETED_LESSON, done, deed.at) for done in self._finish(deed)),
            *self._changed(deed),
        ]

    def _enrol(self, who: _Who, *, approved: bool) -> int:
        person, course = who
        found = self.sandbox.post(
            "/sandbox/enrol",
            course_id=course_id(course),
            coworker_id=person_id(person),
            approved=approved,
            deliver=False,
        )
        return int(found["course_member_id"])

    def _finish(self, deed: Deed) -> list[int]:
        member_id = self._members[deed.person, deed.course]
        if deed.kind is DeedKind.FINISH_COURSE:
            found = self.sandbox.post(
                "/sandbox/finish-course", course_member_id=member_id, deliver=False
            )
            return list(found["completed_lesson_ids"])
        found = self.sandbox.post(
            "/sandbox/finish-lesson",
            course_member_id=member_id,
            lesson_id=self._place(deed)[1],
            deliver=False,
        )
        self._completions[self._place(deed)] = found["completed_lesson_id"]
        return [found["completed_lesson_id"]]

    def _delete(self, entity: Entity, record_id: int) -> None:
        self.sandbox.post("/sandbox/delete", entity=entity, id=record_id)

    def _changed(self, deed: Deed) -> list[Change]:
        member_id = self._members[deed.person, deed.course]
        return [Change(Entity.COURSE_MEMBER, member_id, deed.at)]

    def _place(self, deed: Deed) -> tuple[int, int]:
        assert deed.lesson is not None
        return self._members[deed.person, deed.course], lesson_id(deed.course, deed.lesson)
