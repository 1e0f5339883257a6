"""One webhook of the stand-in: its address, its failures in a row, and one POST.

The state is that of the real WebHook record: Active, ErrorCount, LastError (contract, section 5.6).
"""

import http.client
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import SplitResult

from sandbox.signing import SIGNATURE_HEADER
from schemas.entity import Entity

GIVE_UP_AFTER = 10  # failures in a row, then the source switches the hook off (contract, 5.4)
PATIENCE_S = 10.0
ROUTES = {
    Entity.COURSE_MEMBER: "/hooks/nexudus/course-members",
    Entity.COMPLETED_LESSON: "/hooks/nexudus/course-completed-lessons",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """How one POST ended: a status, or the reason why there was none."""

    status: int | None
    error: str = ""

    @property
    def is_success(self) -> bool:
        """Any 2xx; a redirect is a failure."""
        return self.status is not None and 200 <= self.status < 300  # noqa: PLR2004 - the 2xx range


@dataclass(slots=True)
class Hook:
    """Whether the hook still calls, and how often it failed in a row."""

    entity: Entity
    active: bool = True
    error_count: int = 0
    last_error: str = ""
    last_trigger: datetime | None = None

    def note(self, answer: Answer, now: datetime) -> bool:
        """Count a failure, or forget them all; return whether the delivery is tried again."""
        self.last_trigger = now
        if answer.is_success:
            self.error_count = 0
            return False
        self.error_count += 1
        self.last_error = answer.error or f"HTTP {answer.status}"
        if self.error_count >= GIVE_UP_AFTER:
            self.active = False
        return self.active

    def switch_on(self) -> None:
        """Let it call again, with a clean count."""
        self.active, self.error_count, self.last_error = True, 0, ""


@dataclass(frozen=True, slots=True)
class Letter:
    """One delivery as it leaves. Without a signature the header is left out."""

    entity: Entity
    body: str
    signature: str | None


def post(target: SplitResult, letter: Letter) -> Answer:
    """Send one delivery and return how it was answered. Redirects are not followed."""
    connection = http.client.HTTPConnection(
        target.hostname or "127.0.0.1", target.port or 80, timeout=PATIENCE_S
    )
    headers = {"Content-Type": "application/json; charset=utf-8"}
    if letter.signature is not None:
        headers[SIGNATURE_HEADER] = letter.signature
    try:
        path = target.path.rstrip("/") + ROUTES[letter.entity]
        connection.request("POST", path, letter.body.encode("utf-8", "surrogatepass"), headers)
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException) as error:
        return Answer(None, type(error).__name__)
    else:
        return Answer(answer.status)
    finally:
        connection.close()
