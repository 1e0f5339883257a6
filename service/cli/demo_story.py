"""The story of `coursebell demo`: members enrol and study, and each email they get is printed."""

import json
import threading
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from schemas.errors import CoursebellError
from service.cli.common import command_clock

_PATIENCE_S = 60.0
_LESSONS_FIRST = 3
_RULE = "-" * 72
# Who in the stand-in reads Spanish and Arabic, and which course each enrols in.
_READ_OTHER_LANGUAGES = {"Lucía": 1, "ليلى": 2}
_HOST = "Noor"  # of every course
_TO_OTHERS = _POSTS, _NOTES = "posts", "staff-records"

Say = Callable[[str], None]


class StoryError(CoursebellError):
    """Raised when an email of the story did not arrive."""


@dataclass(frozen=True, slots=True)
class DemoStage:
    """The stand-in's addresses: its page, its mailbox page, and the root of its API."""

    page: str
    mailbox: str
    api: str


def play(
    stage: DemoStage, say: Say, stop: threading.Event, plan_reports_now: Callable[[], int]
) -> None:
    """Play the story and print each email that it causes, until `stop` is set.

    Raises:
        StoryError: an email did not arrive in time.
    """
    if stop.is_set():
        return
    before = len(ask(stage, "/sandbox/mails"))
    for number, _ in enumerate(_steps(stage, say, plan_reports_now), start=before + 1):
        _show_next_mail(stage, number, say, stop)
        if stop.is_set():
            return


def first_address(stage: DemoStage) -> str:
    """Return the email address of the story's person."""
    address: str = ask(stage, "/sandbox/people")[0]["email"]
    return address


def _steps(stage: DemoStage, say: Say, plan_reports_now: Callable[[], int]) -> Iterator[None]:
    """Do one step of the story per iteration."""
    person = ask(stage, "/sandbox/people")[0]
    course = ask(stage, "/sandbox/courses")[0]
    say(f"\n{person['name']} enrols in {course['title']}.")
    enrolment = ask(
        stage, "/sandbox/enrol", {"course_id": course["id"], "coworker_id": person["id"]}
    )
    member = {"course_member_id": enrolment["course_member_id"]}
    yield
    say(f"\nThey finish {_LESSONS_FIRST} lessons in one sitting; one email covers them.")
    for _ in range(_LESSONS_FIRST):
        ask(stage, "/sandbox/finish-lesson", member)
    yield
    posts_before, notes_before = (len(ask(stage, f"/sandbox/{one}")) for one in _TO_OTHERS)
    say(
        "\nThey finish the course; one email covers the last lesson too. A certificate comes with"
        " it:\nopen the email in the mailbox."
    )
    ask(stage, "/sandbox/finish-course", member)
    yield
    for line in _told_others(stage, posts_before, notes_before):
        say(line)
    for name, number in _READ_OTHER_LANGUAGES.items():
        yield from _enrol_in_own_language(stage, name, number, say)
    _let_the_host_have_our_zone(stage)
    number = plan_reports_now()
    when = "at once" if number else "to the mailbox within a minute"
    say("\nOn Mondays the host of the courses gets a digest, and the operator a summary.")
    say(f"Here both come {when}.")
    for _ in range(number):
        yield
        say("")


def _let_the_host_have_our_zone(stage: DemoStage) -> None:
    """Remove the host's own time zone, in which it may be night."""
    host = next(one for one in ask(stage, "/sandbox/people") if one["name"].startswith(_HOST))
    change = {"entity": "Coworker", "id": host["id"], "fields": {"SimpleTimeZoneId": None}}
    ask(stage, "/sandbox/change", change)


def _told_others(stage: DemoStage, posts_before: int, notes_before: int) -> Iterator[str]:
    """Wait until the stand-ins of a program, a chat and Nexudus got what the rules write there.

    As many posts and notes are of the week before.
    """
    clock = command_clock()
    deadline = clock.monotonic() + _PATIENCE_S
    while clock.monotonic() < deadline:
        posts = ask(stage, f"/sandbox/{_POSTS}")[posts_before:]
        records = ask(stage, f"/sandbox/{_NOTES}")[notes_before:]
        arrived = {one["endpoint"]: one for one in posts if one["accepted"]}
        if {"standard", "slack"} <= arrived.keys() and records:
            kind = arrived["standard"]["message"]["type"]
            yield f"\nPosted to a program: {kind}, and its signature was right."
            yield f"Posted to a chat:    {arrived['slack']['message']['text']}."
            yield f"Noted at Nexudus:    {records[0]['Notes'].partition(chr(10))[0]}"
            return
        clock.sleep(0.2)
    raise StoryError("what the rules post and note did not arrive")


def _enrol_in_own_language(stage: DemoStage, name: str, number: int, say: Say) -> Iterator[None]:
    """Enrol a person whose portal account has another language in one of the courses."""
    people = ask(stage, "/sandbox/people")
    person = next((one for one in people if one["name"].startswith(name)), None)
    course = ask(stage, "/sandbox/courses")[number]
    if person is not None:
        say(f"\n{person['name']} enrols in {course['title']} and gets the email in their language.")
        ask(stage, "/sandbox/enrol", {"course_id": course["id"], "coworker_id": person["id"]})
        yield


def _show_next_mail(stage: DemoStage, number: int, say: Say, stop: threading.Event) -> None:
    clock = command_clock()
    deadline = clock.monotonic() + _PATIENCE_S
    while clock.monotonic() < deadline:
        mails = ask(stage, "/sandbox/mails")
        if stop.is_set():
            return
        if len(mails) >= number:
            mail = mails[number - 1]
            say(f"{_RULE}\nTo:      {mail['to']}\nSubject: {mail['subject']}\n")
            say(f"{mail['text'].rstrip()}\n{_RULE}")
            return
        stop.wait(0.2)
    raise StoryError(f"email {number} of the story did not arrive")


def ask(stage: DemoStage, path: str, sent: dict[str, Any] | None = None) -> Any:  # noqa: ANN401 - JSON
    """Return the answer of the stand-in to a request for its controls."""
    request = urllib.request.Request(  # noqa: S310 - the stand-in on our own loopback
        f"{stage.api}{path}",
        data=None if sent is None else json.dumps(sent).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - same
        return json.load(answer)
