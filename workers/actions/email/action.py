"""The action `email`: composes a letter from what is true now, and sends it as a message."""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Self
from zoneinfo import ZoneInfo

from ledger.actions import Copy
from ledger.choices import mailbox_hash
from ledger.engine import Connection
from ledger.sent_emails import note_sent
from schemas.actions import HOST, PersonNeeds
from schemas.choices import notices_of
from schemas.entity import CoworkerKind
from schemas.errors import ChannelUnavailable
from schemas.reasons import Reason
from schemas.records import Lesson
from schemas.rules import Stream
from schemas.settings import MailAddress, SendingRate, Settings
from workers.actions.base import (
    Action,
    ActionContext,
    Checkpoints,
    DeliveryReasons,
    Labelled,
    Prepared,
    Printable,
    Recipient,
)
from workers.actions.email import KIND, ONLY_PREFERENCES
from workers.actions.email.branding import Branding
from workers.actions.email.connection import SmtpTimeouts
from workers.actions.email.content import LessonLine, LetterFacts
from workers.actions.email.letter import Letter, Letters, ReportFrame, TemplateGap
from workers.actions.email.letterhead import Letterhead
from workers.actions.email.message import (
    MESSAGE,
    Addressee,
    Attachment,
    StreamHead,
    make_message,
    read_message,
    reference,
)
from workers.actions.email.notice import Notice
from workers.actions.email.own_words import read_wording
from workers.actions.email.parts import Content
from workers.actions.email.smtp import Mailer, MailTransport
from workers.completion_certificate.issue import CertificateIssuer, IssuedCertificate
from workers.decide.completion import in_order
from workers.languages import language_for
from workers.preference_links import PreferenceLinks
from workers.zones import own_zone

_DEAD_LINK = "https://link-of-a-test.invalid/"  # RFC 2606: such a name never exists
# Without a sender, emails are only written, never sent.
_NO_SENDER = MailAddress("Coursebell", "coursebell@localhost.localdomain")


@dataclass(frozen=True, slots=True)
class ReportKey:
    """The key and Id of an alert, summary or digest; Id 0: it is not stored, as a preview."""

    key: str
    report_id: int


class EmailAction(Action):
    """Prepares and sends emails. Not repeatable: members would notice a second email."""

    kind = KIND
    repeatable = False
    needs = PersonNeeds(address=True, stream=True, language=True)
    reasons = DeliveryReasons(
        later=Reason.MAIL_TEMPORARY,
        refused=Reason.MAIL_REJECTED,
        maybe_own=frozenset(
            {
                Reason.MAIL_INTERRUPTED,
                Reason.MAIL_REFUSES_US,
                Reason.MAIL_RELAY,
                Reason.MAIL_SENDER,
            }
        ),
    )

    def __init__(
        self,
        letters: Letters,
        mailer: MailTransport | None,
        head: Letterhead,
        issuer: CertificateIssuer | None = None,
        rate: SendingRate | None = None,
    ) -> None:
        """Without an `issuer`, no rule may ask for certificates of completion."""
        self._letters = letters
        self._issuer = issuer
        self._mailer = mailer
        self._head = head
        self._sender = head.sender or _NO_SENDER
        self.rate = rate

    @classmethod
    def from_settings(cls, settings: Settings, timeouts: SmtpTimeouts | None = None) -> Self:
        """Return the action as workers use it. `settings` has the secret key, if there is one.

        `timeouts` are others than those of workers.
        """
        return cls(
            Letters(Branding.from_settings(settings), read_wording(settings)),
            Mailer.from_settings(settings, timeouts=timeouts),
            Letterhead.from_settings(settings),
            CertificateIssuer.from_settings(settings),
            settings.mail_rate,
        )

    def prepare(self, context: ActionContext) -> Prepared:
        """Return the email for this context. See `Action.prepare`."""
        facts = self._facts(context)
        issued = self._certificate(context)
        if issued is not None:
            facts = replace(facts, certificate_url=issued.address)
        to, links = _recipient(context), self._head.links
        if to.address is None:
            raise TemplateGap("there is no address")
        stream = StreamHead(context.stream, facts.template)
        if links is not None:
            page, one_click = _links_for(links, context, to, language_for(*facts.languages).code)
            facts = replace(facts, preferences_url=page)
            stream = replace(stream, unsubscribe_url=one_click)
        addressee = Addressee(to.name, to.address, stream)
        key, now = context.action_key, context.now
        return self._addressed(self._letters.compose(facts), key, now, addressee, issued)

    def prepare_preview(self, context: ActionContext) -> Prepared:
        """Return the email for this context, to look at: with no link that acts for the member.

        Its files, passed on, can neither change what the member chose nor show a genuine code.
        """
        facts, issued = self._harmless(context)
        to = _recipient(context)
        if to.address is None:
            raise TemplateGap("there is no address")
        addressee = Addressee(to.name, to.address, StreamHead(context.stream, facts.template))
        key, now = context.action_key, context.now
        return self._addressed(self._letters.compose(facts), key, now, addressee, issued)

    def prepare_test(self, context: ActionContext, address: str) -> Prepared:
        """Return the email for this context, marked as a test and sent to another address.

        Its links lead nowhere, so a test never opens or changes anything of the member's; nor does
        the code of its certificate.
        """
        facts, issued = self._harmless(context)
        dead = replace(
            facts,
            course_url=facts.course_url and _DEAD_LINK,
            lesson_url=facts.lesson_url and _DEAD_LINK,
            next_course_url=facts.next_course_url and _DEAD_LINK,
        )
        letter = self._letters.compose(dead)
        subject = f"[Test] {letter.subject}"
        addressee = Addressee("", address, StreamHead(context.stream, facts.template))
        letter, key = replace(letter, subject=subject), context.action_key
        return self._addressed(letter, key, context.now, addressee, issued)

    def prepare_report(
        self, said: Content, frame: ReportFrame, to: Addressee, report: ReportKey, made_at: datetime
    ) -> Prepared:
        """Return an email to someone who is not the member it is about; see `Action.prepare`."""
        letter = self._letters.compose_report(said, frame)
        prepared = self._addressed(letter, report.key, made_at, to, None)

        def keep(connection: Connection, now: datetime) -> None:
            self._note(connection, report.key, to, now, report_id=report.report_id)

        return replace(prepared, keep=keep)

    @property
    def is_set_up(self) -> bool:
        """Whether there is a mail server and a sender, so that emails can be sent."""
        return self._mailer is not None and self._head.sender is not None

    @property
    def links(self) -> PreferenceLinks | None:
        """What makes links that the readers of emails can open; None if they cannot."""
        return self._head.links

    def _harmless(self, context: ActionContext) -> tuple[LetterFacts, IssuedCertificate | None]:
        """Return the facts with dead links to choices and certificate, and a draft of the latter.

        A draft has a code that is never confirmed.
        """
        issued = self._certificate(context, is_draft=True)
        facts = replace(
            self._facts(context),
            preferences_url=_DEAD_LINK if self._head.links is not None else None,
            certificate_url=None if issued is None else _DEAD_LINK,
        )
        return facts, issued

    def _addressed(
        self,
        letter: Letter,
        key: str,
        made_at: datetime,
        to: Addressee,
        issued: IssuedCertificate | None,
    ) -> Prepared:
        message = make_message(
            letter,
            sender=self._sender,
            reply_to=self._head.reply_to,
            to_name=to.name,
            to_address=to.address,
            action_key=key,
            made_at=made_at,
            attachment=None if issued is None else Attachment(issued.file_name, issued.pdf),
            stream=to.stream,
            echoed=self._head.echoed,
        )

        def keep(connection: Connection, now: datetime) -> None:
            if issued is not None:
                issued.keep(connection, now)
            self._note(connection, key, to, now)

        def send(checkpoints: Checkpoints) -> str:
            if self._mailer is None or self._head.sender is None:
                raise ChannelUnavailable(
                    Reason.MAIL_NOT_SET,
                    "set COURSEBELL_SMTP_URL and COURSEBELL_MAIL_FROM, so that emails can be sent",
                )
            return self._mailer.deliver(
                message, sender=self._sender.address, recipient=to.address, checkpoints=checkpoints
            )

        return Prepared(
            to.address,
            letter.subject,
            message.as_bytes(),
            MESSAGE,
            send,
            version=letter.wording,
            keep=keep,
        )

    def _note(
        self,
        connection: Connection,
        key: str,
        to: Addressee,
        now: datetime,
        *,
        report_id: int | None = None,
    ) -> None:
        """Note that this email is about to be sent, so that reports of the provider find it."""
        if self._head.secret_key is not None:
            hashed = mailbox_hash(to.address, self._head.secret_key)
            about = key if report_id is None else None
            note_sent(
                connection, reference(key), hashed, now, action_key=about, report_id=report_id
            )

    def in_a_row(self) -> AbstractContextManager[None]:
        """Return a context in which emails share a connection to the mail server."""
        return nullcontext() if self._mailer is None else self._mailer.in_a_row()

    def printable(self, copy: Copy, *, to: str | None, written_at: datetime | None) -> Printable:
        """Return the copy of an email in printable form."""
        kept = read_message(copy.body)
        lines = (
            Labelled("From", _written(self._head.sender), "(not set: COURSEBELL_MAIL_FROM)"),
            Labelled("To", to),
            Labelled("Subject", copy.title),
            Labelled("Date", written_at),
            Labelled("Message-ID", kept.message_id),
            Labelled("Attached", _listed(kept.attachments)),
        )
        return Printable(lines, kept.text, kept.html)

    def _certificate(
        self, context: ActionContext, *, is_draft: bool = False
    ) -> IssuedCertificate | None:
        if context.rule is None or not context.rule.certificate:
            return None
        if self._issuer is None:
            raise TemplateGap("a certificate cannot be issued")
        issuer = self._issuer.for_drafts() if is_draft else self._issuer
        return issuer.issue(context, self._finished_on(context), language_for(*context.languages))

    def _finished_on(self, context: ActionContext) -> date:
        """Return the day of the last event where the recipient is."""
        zone = own_zone(_recipient(context).zone, self._head.zone)
        return context.events[-1].happened_at.astimezone(zone).date()

    def _facts(self, context: ActionContext) -> LetterFacts:
        to = _recipient(context)
        about = {event.lesson_id for event in context.events}
        lessons = [one for one in in_order(context.lessons) if one.record_id in about]
        zone = own_zone(to.zone, self._head.zone)
        return LetterFacts(
            template=context.template or "",
            full_name=to.name,
            first_name=to.first_name,
            is_individual=to.kind is not CoworkerKind.COMPANY,
            course_id=context.course.record_id,
            course=context.course.title,
            course_summary=context.course.summary,
            host=context.course.host_name,
            space=context.course.business_name,
            lessons=tuple(LessonLine(one.title, one.completion_type) for one in lessons),
            done=context.progress.done,
            total=context.progress.total,
            first_lesson=context.first_lesson.title if context.first_lesson else None,
            next_lesson=context.progress.next_lesson.title
            if context.progress.next_lesson
            else None,
            last_lesson=_last_lesson(context),
            started_on=_day(context.started_at, zone),
            finished_on=self._finished_on(context),
            course_url=self._head.course_address(context.course),
            lesson_url=self._head.lesson_address(context.course, _suggested(context, lessons)),
            next_course=context.next_course.title if context.next_course else None,
            next_course_url=self._head.course_address(context.next_course),
            languages=context.languages,
            is_weekly=context.is_weekly,
            is_reminder=context.stream is Stream.REMINDER,
            notice=None if to.audience is None else _notice(context, to),
        )


def _suggested(context: ActionContext, about: Sequence[Lesson]) -> Lesson | None:
    """Return the lesson that an email leads to."""
    if context.template == "welcome":
        return context.first_lesson
    if context.template == "lesson-available":
        return about[0] if about else None
    return context.progress.next_lesson


def _last_lesson(context: ActionContext) -> str | None:
    """Return the title of the lesson that the member finished last, if it is known."""
    last = context.enrolment.last_completed_lesson_id
    return next((one.title for one in context.lessons if one.record_id == last), None)


def _recipient(context: ActionContext) -> Recipient:
    return context.recipient or Recipient.of(None, context.person)


def _notice(context: ActionContext, to: Recipient) -> Notice:
    return Notice(context.person.full_name, context.events[-1].kind, to.audience == HOST)


def _links_for(
    links: PreferenceLinks, context: ActionContext, to: Recipient, code: str
) -> tuple[str | None, str | None]:
    """Return the addresses of the page and of the one click with which the recipient stops emails.

    Others than the member get none that change what the member chose: theirs stop what this rule
    sends to their address.
    """
    address = to.address or ""
    if to.audience is None:
        owner = links.owner(context.person.coworker_id, address)
        once = _comes_once(context)
        return links.page(owner, code), None if once else links.one_click(
            owner, context.stream, code
        )
    if context.rule is None:
        return None, None
    name = notices_of(context.rule.name)
    return links.report_page(name, address, code), links.report_one_click(name, address, code)


def _comes_once(context: ActionContext) -> bool:
    """Return whether there is no email like this one to stop by one click."""
    return context.stream is Stream.SERVICE and context.template in ONLY_PREFERENCES


def _written(sender: MailAddress | None) -> str | None:
    return None if sender is None else f"{sender.name} <{sender.address}>".lstrip()


def _listed(files: Sequence[Attachment]) -> str | None:
    sized = (f"{one.name} ({math.ceil(len(one.content) / 1024)} KB)" for one in files)
    return ", ".join(sized) or None


def _day(moment: datetime | None, zone: ZoneInfo) -> date | None:
    return None if moment is None else moment.astimezone(zone).date()
