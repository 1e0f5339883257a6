"""The whole service with a misbehaving stand-in, and what its tests share.

The people and courses are the stand-in's own; each test uses a pair of them that no other does.
"""

import contextlib
import hashlib
import hmac
import json
import re
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.e2e.house import HOOK_SECRET, House, open_house
from tests.servers.programs import wait_until
from workers.languages import language_codes, language_for

FINANCE = "Freelance Finance"
CERAMICS = "Ceramics: Feuer & Glasur <Grundkurs>"
CALLIGRAPHY = "الخط العربي للمبتدئين"
MEMBERS = "/hooks/nexudus/course-members"
COMPLETED = "/hooks/nexudus/course-completed-lessons"
# Limits are tested elsewhere, so no test waits for the next minute.
PLENTY = "1000/second;100000/minute"
WELCOME, FINISHED = "You're in: {course}", "You finished “{course}”"  # subjects
_LONG_AGO = "2020-01-01 00:00:00.000000"


@contextlib.contextmanager
def pitfall_house(folder: Path, **settings: str) -> Iterator[House]:
    """Give a house in which everything runs, and which may ask as often as it likes."""
    with open_house(folder, COURSEBELL_NEXUDUS_LIMITS=PLENTY, **settings) as house:
        yield house


def switch_on(house: House, name: str, **parameters: object) -> None:
    """Let the stand-in misbehave until the test ends, or until all is cleared."""
    house.sandbox.post("/sandbox/misbehaviours", name=name, on=True, **parameters)


def behave(house: House) -> None:
    """Let the stand-in do nothing wrong any more."""
    house.sandbox.web.delete(house.sandbox.addresses["api"] + "/sandbox/misbehaviours", timeout=20)


def finish(house: House, member: int, lesson_id: int | None = None, **circumstances: object) -> int:
    """Let an enrolment finish its next lesson, or the one named; return the completion's Id."""
    named = {} if lesson_id is None else {"lesson_id": lesson_id}
    done = house.sandbox.post(
        "/sandbox/finish-lesson", course_member_id=member, **named, **circumstances
    )
    return int(done["completed_lesson_id"])


def letters(house: House, address: str, title: str) -> list[dict[str, Any]]:
    """Return the emails to a person about a course; a long title is cut in a subject."""
    start = " ".join(title.split())[:30]
    return [mail for mail in house.mails(address) if start in " ".join(mail["text"].split())]


def is_titled(mail: Mapping[str, str], text: str, title: str) -> bool:
    """Return whether an email about this course has this subject, in whichever language it is."""
    about = f"{re.escape(title[:20])}.*"  # a long title is cut
    texts = (re.escape(language_for(code).gettext(text)) for code in language_codes())
    return any(re.fullmatch(one.replace(r"\{course\}", about), mail["subject"]) for one in texts)


def wait_letters(house: House, address: str, title: str, number: int) -> list[dict[str, Any]]:
    """Wait for so many emails to a person about a course, and until nothing more is on its way."""
    wait_until(
        lambda: len(letters(house, address, title)) >= number,
        f"{number} emails to {address} about {title}; {house.tail()}",
    )
    house.wait_idle()
    found = letters(house, address, title)
    assert len(found) == number, [mail["subject"] for mail in found]
    return found


def signed(body: bytes) -> dict[str, str]:
    """Return the header that makes these bytes authentic."""
    digest = hmac.new(HOOK_SECRET.encode(), body, hashlib.sha256).hexdigest().upper()
    return {"X-Nexudus-Hook-Signature": digest}


def hook(house: House, route: str, content: object) -> dict[str, Any]:
    """Post an authentic delivery and return what it was answered; anything but 202 is a fault."""
    body = json.dumps(content, ensure_ascii=False).encode()
    answer = house.post(route, body, signed(body))
    assert answer.status_code == 202, answer.text
    accepted: dict[str, Any] = answer.json()
    return accepted


def tries(house: House, record_id: int) -> list[dict[str, Any]]:
    """Return the deliveries the stand-in made of this record, with how each was answered."""
    made = house.sandbox.get("/sandbox/deliveries").json()["deliveries"]
    return [one for one in made if one["id"] == record_id]


def hooks_of(house: House) -> list[tuple[bool, int]]:
    """Return of each of our webhooks whether it is on, and its failures in a row."""
    found = house.sandbox.get("/sandbox/deliveries").json()["hooks"]
    return [(one["active"], one["error_count"]) for one in found]


def after_a_while(house: House) -> None:
    """Make all that was read of people and courses old, as when an hour has passed."""
    path = house.environment["COURSEBELL_DATABASE_URL"].removeprefix("sqlite:///")
    with contextlib.closing(sqlite3.connect(path, timeout=20)) as ledger, ledger:
        for table, column, but in (
            ("people", "fetched_at", ""),
            ("listings", "listed_at", " WHERE entity <> 'SimpleTimeZone'"),
            ("records", "fetched_at", " WHERE entity <> 'SimpleTimeZone' AND fetched_at NOT NULL"),
        ):
            ledger.execute(f"UPDATE {table} SET {column} = ?{but}", (_LONG_AGO,))
