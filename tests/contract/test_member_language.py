"""In which language a member is written to, and how few requests that takes."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from ledger.engine import Engine, reading, writing
from ledger.people import person_of, require_fresh_read, store_language
from schemas.actions import PersonNeeds
from schemas.entity import Entity
from schemas.errors import CoursebellError, SourceThrottled, SourceUnavailable
from schemas.records import Business, CourseMember, SourceLanguage, User
from tests.builders.records import NOON
from tests.contract.ledger_rig import BOTH
from tests.contract.study_rig import SHIPPED, Space, coworker, rules_of
from tests.doubles.noting_action import NotingAction
from workers.actions.base import ActionContext, no_op
from workers.actions.email.action import EmailAction
from workers.deliver.context import DeliveryTools
from workers.source.answers import AccessDenied

pytestmark = pytest.mark.engines("sqlite")  # see conftest.py

LOCATION = 500  # of the course
KINDS = (Entity.USER, Entity.LANGUAGE, Entity.BUSINESS)
NOTHING: Counter[str] = Counter()
SPANISH = SourceLanguage(31, NOON, "Español", "es_es")
DUTCH = SourceLanguage(32, NOON, "Nederlands", "nl-NL")
# Each test writes more emails to a person than a week allows.
UNCAPPED = SHIPPED.replace("cap_per_day: 2", "cap_per_day: none").replace(
    "cap_per_week: 4", "cap_per_week: none"
)
REFUSED = AccessDenied("the source answered 403: sign-in or rights are missing")


@dataclass
class Multilingual(Space):
    """A space in Brazil whose service writes Swedish if it knows no better."""

    needs: PersonNeeds = EmailAction.needs
    noted: list[ActionContext] = field(default_factory=list)
    when_prepared: Callable[[], None] = no_op

    @property
    def delivery(self) -> DeliveryTools:
        tools = super().delivery
        action = NotingAction(self.noted, self.needs, lambda: self.when_prepared())  # noqa: PLW0108 - it may change meanwhile
        setup = replace(tools.setup, actions={action.kind: action}, language="sv")
        return replace(tools, setup=setup)

    def live(self, culture: str | None) -> None:
        """Let the location have this language."""
        place = Business(LOCATION, NOON, "Cais", None, None, None, None, culture, suspended=False)
        self.source.have(Entity.BUSINESS, place)

    def reader(self, number: int, language: SourceLanguage | None) -> CourseMember:
        """Enrol a person who has chosen a language in the portal, or has an account without one."""
        member = self.enrol(number)
        self.source.have(Entity.COWORKER, coworker(number, user_id=900 + number))
        self.choose_language(number, language)
        return member

    def choose_language(self, number: int, language: SourceLanguage | None) -> None:
        chosen = None if language is None else language.record_id
        self.source.have(
            Entity.USER,
            User(900 + number, self.clock.now(), active=True, preferred_language_id=chosen),
        )
        if language is not None:
            self.source.have(Entity.LANGUAGE, language)

    def languages(self) -> list[tuple[str, ...]]:
        """Return what the emails since the last call could be written in."""
        found = [context.languages for context in self.noted]
        self.noted.clear()
        return found

    def asked(self) -> Counter[str]:
        """Return the requests for languages since the last call."""
        found = Counter(kind for kind, _ in self.source.asked if kind in KINDS)
        self.source.asked.clear()
        return found

    def write_to(self, member: CourseMember, lesson: int, **later: float) -> None:
        """Let time pass, and then have an email sent about a lesson."""
        self.clock.time += timedelta(**later)
        self.finish(member, lesson)
        self.later(minutes=31)

    def fail(self, kind: Entity, error: CoursebellError) -> None:
        """Fail every request for this kind, until `recover_kind`."""

        def happens() -> None:
            raise error

        self.source.when_asked(kind.value, happens)

    def recover_kind(self, kind: Entity) -> None:
        self.source.when_asked(kind.value, no_op)


@pytest.fixture
def space(ledger_engine: Engine) -> Multilingual:
    found = Multilingual(ledger_engine, rules_of(UNCAPPED))
    found.live("pt_br")
    return found


@pytest.mark.engines(*BOTH)
def test_a_persons_language_comes_before_the_locations_and_that_before_the_settings(
    space: Multilingual,
) -> None:
    space.reader(1, SPANISH)
    space.work()
    space.reader(2, None)
    space.work()
    space.enrol(3)  # without an account
    space.work()
    assert space.languages() == [("es-ES", "pt-BR", "sv"), ("pt-BR", "sv"), ("pt-BR", "sv")]
    with reading(space.engine) as connection:
        people = [person_of(connection, number) for number in (1, 2, 3)]
    assert [one.language for one in people if one] == ["es-ES", None, None]


@pytest.mark.parametrize("culture", [None, "", "Klingon (Warrior's)", "x" * 300, "sv"])
def test_without_a_usable_language_of_the_location_the_setting_remains(
    space: Multilingual, culture: str | None
) -> None:
    space.live(culture)
    space.reader(1, replace(SPANISH, culture=culture))
    space.work()
    assert space.languages() == [("sv",)]


def test_a_location_that_is_gone_has_no_language(space: Multilingual) -> None:
    space.source.lose(Entity.BUSINESS, LOCATION)
    space.enrol(1)
    space.work()
    assert (space.languages(), space.asked()) == ([("sv",)], Counter({"Business": 1}))


def test_a_language_is_requested_for_the_first_email_and_not_for_the_next_ones(
    space: Multilingual,
) -> None:
    first = space.reader(1, SPANISH)
    space.work()
    assert space.asked() == {"User": 1, "Language": 1, "Business": 1}
    space.write_to(first, 1)
    assert space.asked() == NOTHING
    space.reader(2, SPANISH)
    space.work()
    assert space.asked() == {"User": 1}, "the language and the location are known"
    space.write_to(first, 2, days=2)
    assert space.asked() == {"Business": 1}
    space.write_to(first, 3, days=6)
    assert space.asked() == {"User": 1, "Business": 1}
    assert len(space.languages()) == 5


def test_a_language_that_nobody_was_seen_with_for_a_month_is_requested_again(
    space: Multilingual,
) -> None:
    space.reader(1, SPANISH)
    space.work()
    space.asked()
    space.clock.time += timedelta(days=31)
    space.reader(2, SPANISH)
    space.work()
    assert space.asked() == {"User": 1, "Language": 1, "Business": 1}


def test_a_lookup_requests_no_language(space: Multilingual) -> None:
    member = space.reader(1, SPANISH)
    space.finish(member, 1)
    space.look_up()
    assert space.lookups() == [("done", None), ("done", None)]
    assert space.asked() == NOTHING


def test_an_email_that_waits_for_the_morning_requests_no_language_yet(
    space: Multilingual,
) -> None:
    space.at(NOON.replace(hour=23))
    space.reader(1, SPANISH)
    space.work()
    assert space.outcomes() == [("waiting", "quiet-hours")]
    assert space.asked() == NOTHING
    space.at(NOON.replace(hour=9) + timedelta(days=1))
    assert space.outcomes() == [("done", None)]
    assert space.asked() == {"User": 1, "Language": 1, "Business": 1}


def test_nobody_is_asked_for_the_language_of_a_person_who_gets_no_email(
    space: Multilingual,
) -> None:
    space.reader(1, SPANISH)
    space.source.have(Entity.COWORKER, coworker(1, user_id=901, email=None))
    space.work()
    assert (space.outcomes(), space.asked()) == ([("skipped", "no-email")], NOTHING)


def test_a_kind_of_action_that_is_not_written_requests_no_language(space: Multilingual) -> None:
    space.needs = PersonNeeds(address=True, stream=True)
    space.reader(1, SPANISH)
    space.work()
    assert (space.outcomes(), space.asked()) == ([("done", None)], NOTHING)


def test_a_person_who_chooses_another_language_gets_it_within_a_week(space: Multilingual) -> None:
    member = space.reader(1, SPANISH)
    space.work()
    space.choose_language(1, DUTCH)
    space.write_to(member, 1, days=6)
    space.write_to(member, 2, days=2)
    space.choose_language(1, None)
    space.write_to(member, 3, days=8)
    first = [one[0] for one in space.languages()]
    assert first == ["es-ES", "es-ES", "nl-NL", "pt-BR"]


def test_what_is_sent_again_on_request_is_in_the_language_of_now(space: Multilingual) -> None:
    member = space.reader(1, SPANISH)
    space.work()
    space.choose_language(1, DUTCH)
    with writing(space.engine) as connection:
        require_fresh_read(connection, 1)
    space.write_to(member, 1)
    assert [one[0] for one in space.languages()] == ["es-ES", "nl-NL"]


def test_a_person_who_gets_an_account_gets_its_language_at_once(space: Multilingual) -> None:
    member = space.enrol(1)
    space.work()
    space.source.have(Entity.COWORKER, coworker(1, user_id=901))
    space.choose_language(1, DUTCH)
    space.write_to(member, 1)
    assert [one[0] for one in space.languages()] == ["pt-BR", "nl-NL"]


@pytest.mark.engines(*BOTH)
@pytest.mark.parametrize("kind", [Entity.USER, Entity.LANGUAGE])
def test_without_the_role_emails_are_in_the_locations_language_and_it_is_tried_once_an_hour(
    space: Multilingual, kind: Entity
) -> None:
    space.fail(kind, REFUSED)
    members = [space.reader(number, SPANISH) for number in (1, 2, 3)]
    space.work()
    assert space.outcomes() == [("done", None)] * 3
    assert space.languages() == [("pt-BR", "sv")] * 3
    assert space.asked()[kind] == 1
    space.clock.time += timedelta(minutes=58)
    space.reader(4, SPANISH)
    space.work()
    assert space.asked() == NOTHING
    space.recover_kind(kind)
    space.write_to(members[0], 1)
    assert [one[0] for one in space.languages()] == ["pt-BR", "es-ES"]


@pytest.mark.parametrize("kind", [Entity.USER, Entity.LANGUAGE])
def test_a_language_that_cannot_be_read_stays_what_it_was_and_is_tried_again_in_an_hour(
    space: Multilingual, kind: Entity
) -> None:
    member = space.reader(1, SPANISH)
    space.work()
    space.asked()
    space.clock.time += timedelta(days=31)
    space.fail(kind, SourceUnavailable("the source answered 502"))
    space.write_to(member, 1)
    assert space.asked()[kind] == 1
    space.recover_kind(kind)
    space.choose_language(1, DUTCH)
    space.write_to(member, 2)
    assert space.asked() == NOTHING
    space.write_to(member, 3)
    assert [one[0] for one in space.languages()] == ["es-ES", "es-ES", "es-ES", "nl-NL"]
    assert [state for state, _ in space.outcomes()] == ["done"] * 4


def test_one_account_that_cannot_be_read_concerns_nobody_else(space: Multilingual) -> None:
    space.source.break_record(Entity.USER, 901)
    space.reader(1, SPANISH)
    space.reader(2, SPANISH)
    space.work()
    assert sorted(space.languages()) == [("es-ES", "pt-BR", "sv"), ("pt-BR", "sv")]


@pytest.mark.parametrize("error", [REFUSED, SourceUnavailable("the source answered 502")])
def test_a_location_that_cannot_be_read_delays_no_email_and_is_tried_once_an_hour(
    space: Multilingual, error: CoursebellError
) -> None:
    space.fail(Entity.BUSINESS, error)
    space.enrol(1)
    space.work()
    space.enrol(2)
    space.later(minutes=59)
    assert space.languages() == [("sv",), ("sv",)]
    assert space.asked() == {"Business": 1}
    space.recover_kind(Entity.BUSINESS)
    space.enrol(3)
    space.later(minutes=2)
    assert space.languages() == [("pt-BR", "sv")]


@pytest.mark.parametrize("kind", KINDS)
def test_an_email_waits_while_nexudus_asks_to_slow_down(space: Multilingual, kind: Entity) -> None:
    space.fail(kind, SourceThrottled("the source answered 409", retry_after_s=20))
    space.reader(1, SPANISH)
    space.work()
    assert space.outcomes() == [("waiting", "nexudus-busy")]
    space.recover_kind(kind)
    space.later(minutes=1)
    assert space.languages() == [("es-ES", "pt-BR", "sv")]


@pytest.mark.engines(*BOTH)
def test_a_draft_in_another_language_is_written_again(space: Multilingual) -> None:
    space.reader(1, SPANISH)

    def choose_french() -> None:
        space.when_prepared = no_op
        with writing(space.engine) as connection:
            store_language(connection, 1, "fr", space.clock.now())

    space.when_prepared = choose_french
    space.work()
    assert [one[0] for one in space.languages()] == ["es-ES", "fr"]
    assert space.outcomes() == [("done", None)]


def test_no_log_says_which_language_a_person_reads(space: Multilingual) -> None:
    with capture_logs() as logs:
        space.reader(1, SPANISH)
        space.work()
        space.fail(Entity.USER, REFUSED)
        space.reader(2, SPANISH)
        space.work()
        space.fail(Entity.BUSINESS, SourceUnavailable("the source answered 502"))
        space.clock.time += timedelta(days=8)
        space.source.break_record(Entity.USER, 903)
        space.recover_kind(Entity.USER)
        space.reader(3, SPANISH)
        space.work()
    events = {one["event"] for one in logs}
    assert {"language.refused", "language.unread", "location.unread"} <= events
    assert not [word for word in ("es-ES", "es_es", "pt-BR", "Person") if word in repr(logs)]
