"""Reports of mail providers that come in another order, or are not about what they seem to be."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from ledger.choices import choice_keys, choices_of, mailbox_hash
from ledger.engine import Engine, reading, writing
from ledger.mail_reports import reports_of
from ledger.suppressions import lift, suppression_of
from ledger.tables import actions, mail_reports
from schemas.choices import ALL
from schemas.entity import Entity
from schemas.mail_reports import ReportKind
from tests.contract.ledger_rig import rows
from tests.contract.study_rig import HASH_KEY, coworker
from tests.contract.test_mail_reports import HOUR, SENDGRID, TO_ANA, Office
from workers.actions.email.message import reference
from workers.mail_reports import MOST_SOFT_BOUNCES

SOFT = {"type": "blocked"}


@pytest.fixture
def office(ledger_engine: Engine, ledger_url: str, tmp_path: Path) -> Iterator[Office]:
    made = Office(ledger_engine, ledger_url, tmp_path)
    yield made
    made.web.close()


def several(office: Office, number: int) -> list[str]:
    """Send Ana so many emails, and return their references."""
    office.send(1)
    for lesson in range(1, number):
        office.space.finish(office.members[1], lesson)
        office.space.later(hours=26)
    return [reference(row.key) for row in rows(office.engine, actions) if row.state == "done"]


def tell(office: Office, event: str, name: str, at: datetime, **others: str) -> None:
    """Report what happened then with the email of this reference."""
    stated: dict[str, Any] = {"smtp-id": f"<{name}@x>", "timestamp": int(at.timestamp())}
    stated |= others | {"sg_event_id": f"{event} {name} {at}"}
    office.report(event, **stated)


@pytest.mark.engines("sqlite")
@pytest.mark.parametrize("year", [1, 1970, 2100])
def test_a_date_far_from_now_counts_as_the_time_of_the_report(office: Office, year: int) -> None:
    office.send(1)
    event = office.event("bounce") | SOFT
    event["timestamp"] = f"{year:04}-01-01T00:00:00Z"
    office.post("sendgrid", SENDGRID.sign([event], office.now))
    [row] = rows(office.engine, mail_reports)
    assert row.happened_at == office.now
    office.apply()
    assert office.states() == ["applied"]


def test_a_report_that_cannot_be_applied_stops_no_other(office: Office) -> None:
    office.send(1, 2)
    nameless = office.event("bounce", 1) | SOFT
    del nameless["smtp-id"]
    events = [nameless, office.event("bounce", 2)]
    office.post("sendgrid", SENDGRID.sign(events, office.now))
    with writing(office.engine) as connection:
        # As it was stored before dates were checked: two weeks before this is no date.
        connection.execute(
            update(mail_reports)
            .where(mail_reports.c.kind == ReportKind.SOFT_BOUNCE)
            .values(happened_at=datetime(1, 1, 2, tzinfo=UTC))
        )
    office.apply()
    assert office.is_suppressed("person2@example.org")
    with reading(office.engine) as connection:
        found = connection.execute(select(mail_reports.c.kind, mail_reports.c.state)).all()
    assert sorted(map(tuple, found)) == [("hard-bounce", "applied"), ("unreadable", "of-no-use")]


@pytest.mark.engines("sqlite")
@pytest.mark.parametrize("event", ["bounce", "spamreport", "delivered"])
def test_a_report_about_another_address_than_the_email_went_to_is_shown_only(
    office: Office, event: str
) -> None:
    office.send(1)
    bounce = office.event("bounce")
    office.space.clock.time += HOUR
    office.report(event, email="someone.else@elsewhere.example")
    assert not office.is_suppressed()
    assert office.choice() is None
    assert set(office.states()) == {"applied"}
    [email] = rows(office.engine, actions)
    with reading(office.engine) as connection:
        shown = reports_of(connection, [email.id])[email.id]
    assert [one.is_of_other for one in shown] == [True]
    # Not even an arrival elsewhere counts against a bounce that happened earlier.
    office.post("sendgrid", SENDGRID.sign([bounce], office.now))
    office.apply()
    assert office.is_suppressed()


@pytest.mark.engines("sqlite")
def test_the_domain_of_an_address_may_be_reported_in_ascii(office: Office) -> None:
    office.space.enrol(1)
    office.space.source.have(Entity.COWORKER, coworker(1, email="ana@straße.de"))
    office.space.work()
    written: dict[str, Any] = {"email": "Ana@xn--strae-oqa.de"}
    office.report("bounce", **written)
    office.report("spamreport", **written)
    assert office.states() == ["applied", "applied"]
    assert office.is_suppressed("ana@straße.de")
    with reading(office.engine) as connection:
        keys = choice_keys(HASH_KEY, 1, None), choice_keys(HASH_KEY, 2, "ana@straße.de")
        assert all(choices_of(connection, one).made[ALL].agreed is False for one in keys)
        assert suppression_of(connection, mailbox_hash(TO_ANA, HASH_KEY)) is None


@pytest.mark.engines("sqlite")
def test_a_complaint_without_any_id_may_be_about_the_email_of_another_program(
    office: Office,
) -> None:
    office.send(1)
    nameless: dict[str, Any] = {"smtp-id": None}
    office.report("spamreport", **nameless)
    assert office.states() == ["pending"]
    assert office.choice() is None


@pytest.mark.engines("sqlite")
def test_a_complaint_from_an_old_address_is_no_choice_of_the_member(office: Office) -> None:
    office.send(1)
    office.space.source.have(Entity.COWORKER, coworker(1, email="right@example.org"))
    office.space.finish(office.members[1], 1)
    office.space.later(hours=26)
    complaint = office.event("spamreport")
    [first, *_] = rows(office.engine, actions)
    complaint["smtp-id"] = f"<{reference(first.key)}@x>"
    office.post("sendgrid", SENDGRID.sign([complaint], office.now))
    office.apply()
    with reading(office.engine) as connection:
        assert choices_of(connection, choice_keys(HASH_KEY, 1, "right@example.org")).made == {}
        of_address = choices_of(connection, [mailbox_hash(TO_ANA, HASH_KEY)])
    assert of_address.made[ALL].agreed is False


@pytest.mark.engines("sqlite")
def test_after_a_lift_soft_bounces_are_counted_anew(office: Office) -> None:
    names = several(office, 4)
    assert len(names) > MOST_SOFT_BOUNCES
    begin = office.now - 10 * HOUR
    for name in names[:MOST_SOFT_BOUNCES]:
        assert not office.is_suppressed()
        tell(office, "bounce", name, begin, **SOFT)
    assert office.is_suppressed()
    with writing(office.engine) as connection:
        lift(connection, mailbox_hash(TO_ANA, HASH_KEY), begin + HOUR)
    tell(office, "bounce", names[MOST_SOFT_BOUNCES], begin + 2 * HOUR, **SOFT)
    assert not office.is_suppressed()
    for name in names[1:MOST_SOFT_BOUNCES]:
        tell(office, "bounce", name, begin + 3 * HOUR, **SOFT)
    assert office.is_suppressed()


@pytest.mark.engines("sqlite")
@pytest.mark.parametrize("is_late", [True, False], ids=["reported last", "reported first"])
def test_an_email_that_arrived_after_a_bounce_shows_that_the_address_works(
    office: Office, *, is_late: bool
) -> None:
    office.send(1)
    [name] = [reference(row.key) for row in rows(office.engine, actions)]
    office.space.clock.time += 5 * HOUR
    happened = [("bounce", 3), ("delivered", 2)]
    for event, hours in happened if is_late else reversed(happened):
        tell(office, event, name, office.now - hours * HOUR)
    assert not office.is_suppressed()
    tell(office, "bounce", name, office.now - HOUR)
    tell(office, "delivered", name, office.now - 4 * HOUR)
    assert office.is_suppressed()


@pytest.mark.engines("sqlite")
@pytest.mark.parametrize("hours", [1, 3, 9], ids=["after", "between", "before"])
def test_soft_bounces_count_only_if_no_email_arrived_between_them(
    office: Office, hours: int
) -> None:
    names = several(office, MOST_SOFT_BOUNCES)
    for number, name in enumerate(names, 2):
        tell(office, "bounce", name, office.now - timedelta(hours=number), **SOFT)
    assert office.is_suppressed()
    arrived = office.now - timedelta(hours=hours) + timedelta(minutes=30)
    tell(office, "delivered", names[0], arrived)
    assert office.is_suppressed() is (hours == 9)


@pytest.mark.engines("sqlite")
def test_soft_bounces_far_apart_do_not_suppress(office: Office) -> None:
    names = several(office, MOST_SOFT_BOUNCES)
    office.space.clock.time += timedelta(days=60)
    now = datetime.fromtimestamp(int(office.now.timestamp()), UTC)
    for name, days in zip(names, (40, 20, 1), strict=True):
        tell(office, "bounce", name, now - timedelta(days=days), **SOFT)
    assert not office.is_suppressed()
