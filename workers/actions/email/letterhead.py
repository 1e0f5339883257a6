"""What all our emails share: the sender, the portal, and the links to email preferences."""

from dataclasses import dataclass, field
from typing import Self
from zoneinfo import ZoneInfo

from schemas.mail_providers import ECHOED_HEADERS
from schemas.mail_reports import Provider
from schemas.records import Course, Lesson
from schemas.settings import MailAddress, Settings
from workers.preference_links import PreferenceLinks, links_of


@dataclass(frozen=True, slots=True)
class Letterhead:
    """What all our emails share.

    With `sender` None no email can be sent. The URLs are patterns of the members' portal with
    `{course_id}` and the like; None means no button. `zone` decides dates for people whose own zone
    is unknown. Without `links`, members cannot choose their emails on a page. Without the secret
    key, which hashes addresses, reports of the mail provider find no email. `echoed` are headers by
    which they name it.
    """

    sender: MailAddress | None
    reply_to: MailAddress | None
    course_url: str | None
    lesson_url: str | None
    zone: ZoneInfo
    links: PreferenceLinks | None = None
    secret_key: str | None = field(default=None, repr=False)
    echoed: tuple[str, ...] = ()

    def course_address(self, course: Course | None) -> str | None:
        """Return where the members' portal has a course."""
        if self.course_url is None or course is None:
            return None
        return self.course_url.format(course_id=course.record_id)

    def lesson_address(self, course: Course, lesson: Lesson | None) -> str | None:
        """Return where the members' portal has a lesson of a course."""
        if self.lesson_url is None or lesson is None:
            return None
        return self.lesson_url.format(
            course_id=course.record_id,
            lesson_id=lesson.record_id,
            lesson_unique_id=lesson.unique_id or "",
        )

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return what the settings say. `settings` has the secret key, if there is one."""
        return cls(
            settings.mail_from,
            settings.mail_reply_to,
            settings.course_url,
            settings.lesson_url,
            ZoneInfo(settings.zone),
            links_of(settings),
            settings.secret_key,
            _echoed(settings),
        )


def _echoed(settings: Settings) -> tuple[str, ...]:
    """Return the headers that the providers whose reports are expected repeat in them."""
    expected = {
        Provider.POSTMARK: settings.postmark_secret,
        Provider.BREVO: settings.brevo_secret,
    }
    return tuple(header for one, header in ECHOED_HEADERS.items() if expected[one])
