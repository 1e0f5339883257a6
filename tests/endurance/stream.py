"""People enrol and finish lessons, and the service is notified as Nexudus would notify it."""

import random
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import requests

from schemas.entity import Entity
from schemas.events import enrolled_key, lesson_completed_key
from tests.endurance.verdict import Accepted
from tests.sandbox.sandbox_rig import Running

PEOPLE, COURSES, LESSONS = 200, 10, 6
CROWD = f"crowd: {{people: {PEOPLE}, courses: {COURSES}, lessons: {LESSONS}, enrolments: 0}}\n"

_PAUSE_S = (1.0, 4.0)  # between two things that one stream does
_ENROLS = 0.4  # of these, so many are enrolments
_REPEATS = 0.1  # of the deliveries, so many are made twice
_MOST_TRIES = 10  # then Nexudus would switch the webhook off
_ACCEPTED = 202


@dataclass(slots=True)
class _Student:
    """One enrolment, and the lessons that may still be finished without finishing the course."""

    member_id: int
    event_key: str
    left: list[int]


class Stream:
    """Does one thing after the other, and delivers what changed until that is answered 202.

    `accepted` are all deliveries answered 202. For one thread.
    """

    def __init__(self, sandbox: Running, people: Sequence[int], chance: random.Random) -> None:
        self._sandbox = replace(sandbox, web=requests.Session())
        self._sandbox.web.trust_env = False
        self._chance = chance
        courses = self._sandbox.get("/sandbox/courses").json()
        self._lessons = {
            course["id"]: [lesson["id"] for lesson in course["lessons"]]
            for course in courses
            if course["title"].startswith("Course ")
        }
        self._free = [(person, course) for person in people for course in self._lessons]
        self._students: list[_Student] = []
        self.accepted: list[Accepted] = []

    def run(self, stop: threading.Event) -> None:
        """Continue until asked to stop."""
        with self._sandbox.web:
            while not stop.wait(self._chance.uniform(*_PAUSE_S)):
                if self._students and self._chance.random() > _ENROLS:
                    self._finish_lesson(stop)
                else:
                    self._enrol(stop)

    def _enrol(self, stop: threading.Event) -> None:
        person, course = self._free.pop(self._chance.randrange(len(self._free)))
        ids = {"course_id": course, "coworker_id": person}
        made = self._sandbox.post("/sandbox/enrol", **ids, deliver=False)
        student = _Student(
            made["course_member_id"], enrolled_key(course, person), self._lessons[course][:-1]
        )
        self._students.append(student)
        self._deliver(stop, Accepted(Entity.COURSE_MEMBER, student.member_id, student.event_key))

    def _finish_lesson(self, stop: threading.Event) -> None:
        student = self._chance.choice(self._students)
        lesson = student.left.pop(0)
        if not student.left:
            self._students.remove(student)
        lesson_of = {"course_member_id": student.member_id, "lesson_id": lesson}
        made = self._sandbox.post("/sandbox/finish-lesson", **lesson_of, deliver=False)
        key = lesson_completed_key(student.member_id, lesson)
        self._deliver(stop, Accepted(Entity.COMPLETED_LESSON, made["completed_lesson_id"], key))
        self._deliver(stop, Accepted(Entity.COURSE_MEMBER, student.member_id, student.event_key))

    def _deliver(self, stop: threading.Event, about: Accepted) -> None:
        times = 2 if self._chance.random() < _REPEATS else 1
        record: Mapping[str, Any] = {"entity": about.entity.value, "id": about.record_id}
        for _ in range(_MOST_TRIES):
            statuses = self._sandbox.post("/sandbox/deliver", **record, times=times)["statuses"]
            answered = statuses.count(_ACCEPTED)
            self.accepted += [about] * answered
            if answered or stop.wait(self._chance.uniform(0.1, 0.5)):
                return
