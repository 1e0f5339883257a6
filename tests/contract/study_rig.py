"""A space whose members study, in one process: the real ledger, a source and a mailer in memory.

The clock stands still until it is moved, so hours of a sitting take no time.
"""

import contextlib
import functools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from ledger.clock import SYSTEM_CLOCK
from ledger.controls import begin_with, change_mode
from ledger.engine import Engine, reading, writing
from ledger.intake import Origin, store_notifications
from ledger.tables import actions, events, lookups
from schemas.actions import Mode
from schemas.entity import CoworkerKind, Entity
from schemas.notification import Notification
from schemas.records import CompletedLesson, CourseMember, Coworker
from schemas.rules import Rules, load_rules
from schemas.settings import MailAddress, SendingRate
from tests.builders.records import COURSE_ID, NOON, course, course_member, lesson
from tests.contract.source_rig import HandClock
from tests.doubles.catching_mailer import CatchingMailer
from tests.doubles.fake_source import FakeSource
from workers.actions.email.action import EmailAction
from workers.actions.email.letter import Letters
from workers.actions.email.letterhead import Letterhead
from workers.actions.registry import kinds_for_rules
from workers.completion_certificate.code import CertificateLook
from workers.completion_certificate.issue import CertificateIssuer
from workers.deliver.claim import perform_batch
from workers.deliver.context import DeliveryTools, SendSetup
from workers.lookup.batch import LookupContext
from workers.lookup.claim import drain_batch
from workers.lookup.commit import DecisionSetup
from workers.source.limits import Patience

LISBON = ZoneInfo("Europe/Lisbon")
SHIPPED = (Path(__file__).parent.parent.parent / "rules.yaml").read_text(encoding="utf-8")
LESSONS = (1, 2, 3)
LOOK = CertificateLook("https://courses.example.org", "#0E6655")
HASH_KEY = "a-key-for-hashes"  # of addresses


@functools.cache
def _letters() -> Letters:
    """Compile the templates once; every email is written with them."""
    return Letters()


@functools.cache
def rules_of(text: str) -> Rules:
    """Load rules as the service would; they cannot be changed."""
    return load_rules(text, "rules.yaml", actions=kinds_for_rules())


@dataclass
class Space:
    """One course of three lessons, and its members."""

    engine: Engine
    rules: Rules
    clock: HandClock = field(default_factory=lambda: HandClock(NOON))
    source: FakeSource = field(default_factory=FakeSource)
    mailer: CatchingMailer = field(default_factory=CatchingMailer)
    completions: int = 50_000
    rate: SendingRate | None = None  # of emails
    begins: timedelta = timedelta(days=-30)  # when sending begins, from the first moment on

    def __post_init__(self) -> None:
        with writing(self.engine) as connection:
            begin_with(connection, Mode.SENDING, NOON + self.begins, SYSTEM_CLOCK.new_id())
        self.source.have(Entity.COURSE, course())
        self.source.have(Entity.LESSON, *(lesson(number) for number in LESSONS))

    @contextlib.contextmanager
    def lend(self, _: Patience) -> Iterator[FakeSource]:
        """Lend the source, as `workers.source.client` does."""
        yield self.source

    @property
    def lookup_context(self) -> LookupContext:
        return LookupContext(
            self.engine, self.lend, DecisionSetup(self.rules, LISBON), self.clock, 60
        )

    @property
    def delivery(self) -> DeliveryTools:
        rita = MailAddress("Rita", "rita@example.org")
        head = Letterhead(rita, None, None, None, LISBON, secret_key=HASH_KEY)
        issuer = CertificateIssuer("a-key-for-certificates", LOOK)
        email = EmailAction(_letters(), self.mailer, head, issuer, self.rate)
        setup = SendSetup(self.rules, LISBON, HASH_KEY, {email.kind: email})
        return DeliveryTools(self.engine, setup, self.clock, 60)

    def enrol(
        self,
        number: int,
        *,
        reported: bool = True,
        **different: Any,  # noqa: ANN401 - any field
    ) -> CourseMember:
        """Enrol person `number` now; with `reported`, a notification follows."""
        member = course_member(
            **{
                "record_id": 9000 + number,
                "coworker_id": number,
                "created_at": self.clock.now(),
                "updated_at": self.clock.now(),
                **different,
            }
        )
        self.source.have(Entity.COURSE_MEMBER, member)
        self.source.have(Entity.COWORKER, coworker(number))
        if reported:
            self.notify(Entity.COURSE_MEMBER, member.record_id)
        return member

    def change(self, member: CourseMember, **different: Any) -> None:  # noqa: ANN401 - any field
        """Change an enrolment at the source, and notify the ledger."""
        changed = replace(member, updated_at=self.clock.now(), **different)
        self.source.have(Entity.COURSE_MEMBER, changed)
        self.notify(Entity.COURSE_MEMBER, member.record_id)

    def finish(self, member: CourseMember, *lessons: int, reported: bool = True) -> list[int]:
        """Finish lessons now; return the Ids of the completions."""
        made = []
        for number in lessons:
            self.completions += 1
            done = CompletedLesson(
                self.completions,
                self.clock.now(),
                self.clock.now(),
                number,
                None,
                member.record_id,
                None,
            )
            self.source.have(Entity.COMPLETED_LESSON, done)
            if reported:
                self.notify(Entity.COMPLETED_LESSON, done.record_id)
            made.append(done.record_id)
        return made

    def notify(self, entity: Entity, record_id: int) -> None:
        """Notify the ledger that a record changed."""
        with writing(self.engine) as connection:
            said = [Notification(entity, record_id)]
            store_notifications(connection, said, Origin.RELAY, self.clock.now())

    def choose(self, mode: Mode) -> None:
        """Set the mode."""
        with writing(self.engine) as connection:
            change_mode(connection, mode, "a test", self.clock.now())

    def look_up(self) -> None:
        """Perform all lookups that are due now, and no actions."""
        while drain_batch(self.lookup_context)[0]:
            pass

    def work(self) -> None:
        """Do all that is due now."""
        while drain_batch(self.lookup_context)[0] or perform_batch(self.delivery, self.lend):
            pass

    def later(self, **duration: float) -> None:
        """Let time pass, and do all that is due then."""
        self.clock.time += timedelta(**duration)
        self.work()

    def at(self, moment: datetime) -> None:
        """Go to a moment, and do all that is due then."""
        self.clock.time = moment
        self.work()

    @property
    def subjects(self) -> list[str]:
        return [str(mail.message["Subject"]) for mail in self.mailer.caught]

    def outcomes(self) -> list[tuple[str, str | None]]:
        """Return state and reason of every action, in the order they were planned."""
        with reading(self.engine) as connection:
            rows = connection.execute(actions.select().order_by(actions.c.id))
            return [(row.state, row.reason) for row in rows]

    def outcomes_by_person(self, rule: str) -> dict[int, tuple[str, str | None]]:
        """Return state and reason of the last action of this rule for each person."""
        with reading(self.engine) as connection:
            rows = connection.execute(
                actions.select().where(actions.c.rule == rule).order_by(actions.c.id)
            )
            return {row.coworker_id: (row.state, row.reason) for row in rows}

    def reasons(self, kind: str) -> list[str | None]:
        """Return why events of this kind led to no action; None for those that did."""
        with reading(self.engine) as connection:
            rows = connection.execute(
                events.select().where(events.c.kind == kind).order_by(events.c.id)
            )
            return [row.reason for row in rows]

    def lookups(self) -> list[tuple[str, str | None]]:
        """Return state and reason of every lookup."""
        with reading(self.engine) as connection:
            rows = connection.execute(lookups.select().order_by(lookups.c.id))
            return [(row.state, row.reason) for row in rows]


def coworker(number: int, **different: Any) -> Coworker:  # noqa: ANN401 - any field
    """Build person `number`."""
    fields: dict[str, Any] = {
        "record_id": number,
        "updated_at": NOON,
        "kind": CoworkerKind.INDIVIDUAL,
        "full_name": f"Person {number}",
        "first_name": "Person",
        "email": f"person{number}@example.org",
    }
    return Coworker(**(fields | different))


__all__ = ["COURSE_ID", "LESSONS", "LISBON", "NOON", "SHIPPED", "Space", "coworker", "rules_of"]
