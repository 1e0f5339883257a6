"""The story that `demo` plays: one person enrols, finishes three lessons, finishes the course."""

import json
import threading
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from schemas.errors import CoursebellError
from service.command.common import command_clock

_PATIENCE_S = 60.0
_LESSONS_FIRST = 3
_RULE = "-" * 72

Say = Callable[[str], None]


class StoryError(CoursebellError):
    """An email of the story did not arrive."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the stand-in is: its page, its mailbox page, and the root of its API."""

    page: str
    mailbox: str
    api: str


def play(stage: Stage, say: Say, stop: threading.Event) -> None:
    """Play the story and print each email that it causes; once `stop` is set, nothing more.

    Raises:
        StoryError: an email did not arrive in time.
    """
    if stop.is_set():
        return
    for number, _ in enumerate(_steps(stage, say), start=1):
        _show_next_mail(stage, number, say, stop)
        if stop.is_set():
            return


def first_address(stage: Stage) -> str:
    """Return the email address of the person of the story."""
    address: str = _ask(stage, "/sandbox/people")[0]["email"]
    return address


def _steps(stage: Stage, say: Say) -> Iterator[None]:
    """Make one thing happen at each turn; the next waits until it is asked for."""
    person = _ask(stage, "/sandbox/people")[0]
    course = _ask(stage, "/sandbox/courses")[0]
    say(f"\n{person['name']} enrols in {course['title']}.")
    enrolment = _ask(
        stage, "/sandbox/enrol", {"course_id": course["id"], "coworker_id": person["id"]}
    )
    member = {"course_member_id": enrolment["course_member_id"]}
    yield
    say(f"\nThey finish {_LESSONS_FIRST} lessons in one sitting; one email covers them.")
    for _ in range(_LESSONS_FIRST):
        _ask(stage, "/sandbox/finish-lesson", member)
    yield
    say("\nThey finish the course; that is said instead of one more lesson.")
    _ask(stage, "/sandbox/finish-course", member)
    yield


def _show_next_mail(stage: Stage, number: int, say: Say, stop: threading.Event) -> None:
    clock = command_clock()
    deadline = clock.monotonic() + _PATIENCE_S
    while clock.monotonic() < deadline:
        mails = _ask(stage, "/sandbox/mails")
        if stop.is_set():
            return
        if len(mails) >= number:
            mail = mails[number - 1]
            say(f"{_RULE}\nTo:      {mail['to']}\nSubject: {mail['subject']}\n")
            say(f"{mail['text'].rstrip()}\n{_RULE}")
            return
        stop.wait(0.2)
    raise StoryError(f"email {number} of the story did not arrive")


def _ask(stage: Stage, path: str, sent: dict[str, Any] | None = None) -> Any:  # noqa: ANN401 - JSON
    request = urllib.request.Request(  # noqa: S310 - the stand-in on our own loopback
        f"{stage.api}{path}",
        data=None if sent is None else json.dumps(sent).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - same
        return json.load(answer)
