"""People: how they are stored and found."""

import random
import string
from dataclasses import replace
from typing import Literal
from unicodedata import normalize

import pytest
from sqlalchemy import update

from ledger.engine import Engine, reading, writing
from ledger.people import (
    accept_person,
    mark_person_gone,
    people_by_email,
    people_by_name,
    person_of,
    require_fresh_read,
    store_language,
)
from ledger.tables import people
from schemas.entity import CoworkerKind
from schemas.person import Person
from schemas.records import Coworker
from tests.contract.ledger_rig import ANA, JOEL, NOW, at

Form = Literal["NFC", "NFD"]

COWORKER = Coworker(
    record_id=ANA,
    updated_at=NOW,
    kind=CoworkerKind.INDIVIDUAL,
    full_name="Ana Müller 🔔",
    first_name="Ana",
    email=" Ana.Müller@People.example ",
)


def accept(engine: Engine, coworker: Coworker, seconds: float = 0, zone: str | None = None) -> None:
    with writing(engine) as connection:
        accept_person(connection, coworker, at(seconds), zone)


def person(engine: Engine, coworker_id: int = ANA) -> Person | None:
    with reading(engine) as connection:
        return person_of(connection, coworker_id)


def test_a_person_read_by_a_clock_that_was_ahead_is_replaced_by_a_new_read(
    ledger_engine: Engine,
) -> None:
    accept(ledger_engine, COWORKER, 86_400)
    accept(ledger_engine, replace(COWORKER, first_name="Anita"))
    found = person(ledger_engine)
    assert found is not None
    assert (found.first_name, found.fetched_at) == ("Anita", NOW)


def test_a_person_is_stored_as_in_the_profile(ledger_engine: Engine) -> None:
    assert person(ledger_engine) is None
    accept(ledger_engine, COWORKER)
    assert person(ledger_engine) == Person(
        ANA,
        "Ana Müller 🔔",
        "Ana",
        CoworkerKind.INDIVIDUAL,
        "Ana.Müller@People.example",
        active=True,
        fetched_at=NOW,
        gone_at=None,
    )


@pytest.mark.parametrize("email", [None, "", "  "])
def test_a_profile_without_an_address_has_none(ledger_engine: Engine, email: str | None) -> None:
    accept(ledger_engine, replace(COWORKER, email=email, kind=None, first_name=None))
    found = person(ledger_engine)
    assert found is not None
    assert (found.email, found.kind, found.first_name) == (None, None, None)


@pytest.mark.parametrize(
    ("active", "archived", "expected"),
    [(True, False, True), (False, False, False), (True, True, False), (False, True, False)],
)
def test_an_archived_or_inactive_person_is_not_active(
    ledger_engine: Engine,
    active: bool,  # noqa: FBT001 - a column of the table above
    archived: bool,  # noqa: FBT001 - same
    expected: bool,  # noqa: FBT001 - same
) -> None:
    accept(ledger_engine, replace(COWORKER, active=active, archived=archived))
    found = person(ledger_engine)
    assert found is not None
    assert found.active is expected


def test_a_changed_person_is_stored_again(ledger_engine: Engine) -> None:
    accept(ledger_engine, COWORKER)
    accept(ledger_engine, replace(COWORKER, full_name="Ana Weber", email="weber@x.example"), 5)
    found = person(ledger_engine)
    assert found is not None
    assert (found.full_name, found.email, found.fetched_at) == (
        "Ana Weber",
        "weber@x.example",
        at(5),
    )
    with reading(ledger_engine) as connection:
        assert people_by_email(connection, "ana.müller@people.example") == []


@pytest.mark.parametrize(
    ("time_zone_id", "zone", "kept"),
    [
        (7, "Asia/Tokyo", "Asia/Tokyo"),
        (None, "Asia/Tokyo", "Asia/Tokyo"),
        (None, None, None),  # the profile names none: that is what is true now
        (7, None, "Europe/Lisbon"),  # it names one, which could not be found out now
    ],
)
def test_the_known_zone_stays_only_while_the_new_one_cannot_be_resolved(
    ledger_engine: Engine, time_zone_id: int | None, zone: str | None, kept: str | None
) -> None:
    accept(ledger_engine, replace(COWORKER, time_zone_id=20), zone="Europe/Lisbon")
    moved = replace(COWORKER, time_zone_id=time_zone_id, full_name="Ana Weber")
    accept(ledger_engine, moved, 5, zone)
    found = person(ledger_engine)
    assert found is not None
    assert (found.zone, found.full_name) == (kept, "Ana Weber")


def test_an_older_read_does_not_bring_the_old_zone_back(ledger_engine: Engine) -> None:
    accept(ledger_engine, replace(COWORKER, time_zone_id=7), 5, "Asia/Tokyo")
    accept(ledger_engine, replace(COWORKER, time_zone_id=20), 0, "Europe/Lisbon")
    found = person(ledger_engine)
    assert found is not None
    assert found.zone == "Asia/Tokyo"


def read_language(engine: Engine, language: str | None, seconds: float = 0) -> None:
    with writing(engine) as connection:
        store_language(connection, ANA, language, at(seconds))


def test_the_language_of_a_person_stays_when_the_person_is_read_again(
    ledger_engine: Engine,
) -> None:
    coworker = replace(COWORKER, user_id=2**40)
    accept(ledger_engine, coworker)
    new = person(ledger_engine)
    assert new is not None
    assert (new.user_id, new.language, new.language_at) == (2**40, None, None)
    read_language(ledger_engine, "pt-BR", 1)
    accept(ledger_engine, replace(coworker, full_name="Ana Weber"), 2)
    found = person(ledger_engine)
    assert found is not None
    assert (found.full_name, found.language, found.language_at) == ("Ana Weber", "pt-BR", at(1))
    read_language(ledger_engine, None, 3)
    found = person(ledger_engine)
    assert found is not None
    assert (found.language, found.language_at) == (None, at(3))


@pytest.mark.parametrize(("first", "second"), [(None, 7), (7, 8), (7, None)])
def test_the_language_of_another_account_is_read_again(
    ledger_engine: Engine, first: int | None, second: int | None
) -> None:
    accept(ledger_engine, replace(COWORKER, user_id=first))
    read_language(ledger_engine, "es")
    accept(ledger_engine, replace(COWORKER, user_id=second), 5)
    found = person(ledger_engine)
    assert found is not None
    assert (found.user_id, found.language, found.language_at) == (second, "es", None)


def test_whoever_must_be_read_anew_has_their_language_read_anew(ledger_engine: Engine) -> None:
    accept(ledger_engine, COWORKER)
    read_language(ledger_engine, "es")
    with writing(ledger_engine) as connection:
        require_fresh_read(connection, ANA)
    found = person(ledger_engine)
    assert found is not None
    assert (found.language, found.language_at) == ("es", None)


def test_a_zone_that_was_never_resolved_is_unknown(ledger_engine: Engine) -> None:
    accept(ledger_engine, replace(COWORKER, time_zone_id=20))
    found = person(ledger_engine)
    assert found is not None
    assert found.zone is None


def test_a_person_who_is_gone_is_known_and_can_come_back(ledger_engine: Engine) -> None:
    with writing(ledger_engine) as connection:
        mark_person_gone(connection, ANA, at(1))
    assert person(ledger_engine) is None
    accept(ledger_engine, COWORKER)
    with writing(ledger_engine) as connection:
        mark_person_gone(connection, ANA, at(1))
    found = person(ledger_engine)
    assert found is not None
    assert (found.full_name, found.gone_at) == ("Ana Müller 🔔", at(1))
    accept(ledger_engine, COWORKER, 2)
    found = person(ledger_engine)
    assert found is not None
    assert found.gone_at is None


def test_an_address_finds_all_people_who_have_it_in_any_case(ledger_engine: Engine) -> None:
    accept(ledger_engine, replace(COWORKER, record_id=JOEL, email="ANA.MÜLLER@people.example"))
    accept(ledger_engine, COWORKER)
    with reading(ledger_engine) as connection:
        found = people_by_email(connection, " ana.müller@PEOPLE.example ")
        assert [one.coworker_id for one in found] == [ANA, JOEL]
        assert people_by_email(connection, "nobody@people.example") == []


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("kept_as", ["NFC", "NFD"])
def test_people_are_found_however_their_name_or_address_was_typed(
    ledger_engine: Engine, kept_as: Form, form: Form
) -> None:
    kept = replace(COWORKER, full_name="JOSÉ  Weiß", email="José.Weiß@PEOPLE.example")
    name, email = (normalize(kept_as, text) for text in (kept.full_name, str(kept.email)))
    accept(ledger_engine, replace(kept, full_name=name, email=email))
    # An earlier version kept this key; it stays until the person is read again.
    accept(ledger_engine, replace(kept, record_id=JOEL, full_name=name, email=email))
    with writing(ledger_engine) as connection:
        old = {"email_key": email.lower()}
        connection.execute(update(people).where(people.c.coworker_id == JOEL).values(old))
    with reading(ledger_engine) as connection:
        for part in ("josé weiß", "JOSÉ WEISS", "osÉ  w", "SÉ.WEISS"):
            found = people_by_name(connection, normalize(form, part))
            assert [one.coworker_id for one in found] == [ANA, JOEL], part
        for whole in ("josé.weiß@people.example", "JOSÉ.WEISS@people.example"):
            found = people_by_email(connection, normalize(form, whole))
            assert [one.coworker_id for one in found] == [ANA, JOEL], whole
        for bare in ("jose", "WEISS"):
            assert [one.coworker_id for one in people_by_name(connection, bare)] == [ANA, JOEL]
        assert people_by_email(connection, "jose.weiss@people.example") == []


def test_a_lone_surrogate_and_an_empty_text_find_no_one(ledger_engine: Engine) -> None:
    accept(ledger_engine, COWORKER)
    with reading(ledger_engine) as connection:
        for typed in ("Jos\udce9", "", " ", "\u200b"):
            assert people_by_name(connection, typed) == []
        assert people_by_email(connection, "jos\udce9@people.example") == []


@pytest.mark.parametrize(
    ("part", "found"),
    [
        ("müller", [ANA]),
        (" ANA.MÜL ", [ANA]),
        ("a_m", [JOEL]),
        ("%", []),
        ("/", []),
        ("people.example", []),
        ("example", []),
        ("weber", [JOEL]),
    ],
)
def test_part_of_a_name_or_of_an_address_before_the_at_finds_people(
    ledger_engine: Engine, part: str, found: list[int]
) -> None:
    accept(ledger_engine, replace(COWORKER, full_name="Learner"))
    joel = replace(COWORKER, record_id=JOEL, full_name="Joel Weber", email="A_M@people.example")
    accept(ledger_engine, joel)
    accept(ledger_engine, replace(COWORKER, record_id=JOEL + 1, full_name="Nobody", email=None))
    with reading(ledger_engine) as connection:
        assert [one.coworker_id for one in people_by_name(connection, part)] == found


def test_an_address_longer_than_an_index_entry_is_stored_and_found(ledger_engine: Engine) -> None:
    long = "".join(random.Random(7).choices(string.ascii_lowercase, k=6_000))  # noqa: S311 - no secret
    with writing(ledger_engine) as connection:
        accept_person(connection, replace(COWORKER, email=f"{long}@example.com"), NOW)
    with reading(ledger_engine) as connection:
        assert len(people_by_email(connection, f"{long.upper()}@example.com")) == 1
        assert people_by_email(connection, f"{long}@example.org") == []
