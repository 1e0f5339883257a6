"""The action `email`: its name, and its templates.

A program that only checks rules imports this, without what composes and sends emails.
"""

from collections.abc import Mapping

from schemas.actions import NOTICE
from schemas.events import ABOUT_GONE, EventKind

KIND = "email"

# Emails of the stream `service` that come once for a course: they have the link to the preference
# page, and no one-click unsubscribe.
ONLY_PREFERENCES = frozenset({"welcome", "course-finished"})

# Each template with the events it can be about. A test composes every pair.
TEMPLATES: Mapping[str, frozenset[EventKind]] = {
    "welcome": frozenset({EventKind.ENROLLED, EventKind.ENROLMENT_APPROVED}),
    "lesson-finished": frozenset(
        # Each of these events names a lesson that was finished.
        {EventKind.LESSON_COMPLETED, EventKind.COURSE_STARTED, EventKind.COURSE_COMPLETED}
    ),
    "course-finished": frozenset({EventKind.COURSE_COMPLETED}),
    # The first may also be a later step of a sequence that begins with the enrolment.
    "not-started": frozenset({EventKind.NOT_STARTED, EventKind.ENROLLED}),
    "stalled": frozenset({EventKind.STALLED}),
    "lesson-available": frozenset({EventKind.LESSON_AVAILABLE}),
    # To the host or to an address, about any event.
    NOTICE: frozenset(EventKind) - ABOUT_GONE,
}
