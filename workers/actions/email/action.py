"""The action `email`: fills a letter from what is true now, and gives it to the mail server."""

from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from ledger.copies import Copy
from schemas.errors import MailStopped
from schemas.events import EventKind
from schemas.reasons import Reason
from schemas.records import Lesson
from schemas.settings import MailAddress
from schemas.vocabulary import CoworkerKind
from workers.actions.base import Order, Written
from workers.actions.email.compose import Letters
from workers.actions.email.letter import LessonLine, LetterFacts, TemplateGap
from workers.actions.email.message import make_message, message_id
from workers.decide.completion import in_order
from workers.mailer.mailer import MailLine, Steps
from workers.zones import own_zone

# Before there is a sender, emails are only written, never handed over.
_NO_SENDER = MailAddress("Coursebell", "coursebell@localhost.localdomain")


@dataclass(frozen=True, slots=True)
class Letterhead:
    """What all our emails share.

    `sender` None: there is none yet, and nothing can leave. The links are patterns of the members'
    portal with `{course_id}` and the like; None: no button. `zone` is where days are counted for
    whoever has none of their own that we know.
    """

    sender: MailAddress | None
    reply_to: MailAddress | None
    course_url: str | None
    lesson_url: str | None
    zone: ZoneInfo


class EmailAction:
    """Writes and hands over emails. A second email would be seen, so it is not repeatable."""

    kind = "email"
    repeatable = False

    def __init__(self, letters: Letters, mailer: MailLine | None, head: Letterhead) -> None:
        self._letters = letters
        self._mailer = mailer
        self._head = head
        self._sender = head.sender or _NO_SENDER

    def write(self, order: Order) -> Written:
        """Return the email for this order.

        Raises:
            TemplateGap: it cannot be written.
            AddressUnusable: the person's address cannot be written to.
            ActionRefused: it would not arrive as it was meant.
        """
        letter = self._letters.compose(self._facts(order))
        address = order.person.email
        if address is None:
            raise TemplateGap("there is no address")
        message = make_message(
            letter,
            sender=self._sender,
            reply_to=self._head.reply_to,
            to_name=order.person.full_name,
            to_address=address,
            action_key=order.action_key,
            made_at=order.now,
        )
        copy = Copy(
            letter.wording,
            message_id(order.action_key, self._sender.address.rpartition("@")[2]),
            address,
            letter.subject,
            letter.text,
            letter.html,
        )

        def hand_over(steps: Steps) -> str:
            if self._mailer is None or self._head.sender is None:
                raise MailStopped(
                    Reason.MAIL_NOT_SET,
                    "set COURSEBELL_SMTP_URL and COURSEBELL_MAIL_FROM, so that emails can leave",
                )
            return self._mailer.deliver(
                message, sender=self._sender.address, recipient=address, steps=steps
            )

        return Written(copy, hand_over)

    def _facts(self, order: Order) -> LetterFacts:
        about = {event.lesson_id for event in order.events}
        lessons = [one for one in in_order(order.lessons) if one.record_id in about]
        welcome = order.events[0].kind is EventKind.ENROLLED
        zone = own_zone(order.person.zone, self._head.zone)
        link_to = order.first_lesson if welcome else order.progress.next_lesson
        return LetterFacts(
            template=order.template or "",
            full_name=order.person.full_name,
            first_name=order.person.first_name,
            is_individual=order.person.kind is not CoworkerKind.COMPANY,
            course=order.course.title,
            course_summary=order.course.summary,
            host=order.course.host_name,
            space=order.course.business_name,
            lessons=tuple(LessonLine(one.title, one.completion_type) for one in lessons),
            done=order.progress.done,
            total=order.progress.total,
            first_lesson=order.first_lesson.title if order.first_lesson else None,
            next_lesson=order.progress.next_lesson.title if order.progress.next_lesson else None,
            started_on=_day(order.started_at, zone),
            finished_on=_day(order.events[-1].happened_at, zone),
            course_url=self._course_url(order),
            lesson_url=self._lesson_url(order, link_to),
        )

    def _course_url(self, order: Order) -> str | None:
        if self._head.course_url is None:
            return None
        return self._head.course_url.format(course_id=order.course.record_id)

    def _lesson_url(self, order: Order, lesson: Lesson | None) -> str | None:
        if self._head.lesson_url is None or lesson is None:
            return None
        return self._head.lesson_url.format(
            course_id=order.course.record_id,
            lesson_id=lesson.record_id,
            lesson_unique_id=lesson.unique_id or "",
        )


def _day(moment: datetime | None, zone: ZoneInfo) -> date | None:
    return None if moment is None else moment.astimezone(zone).date()
