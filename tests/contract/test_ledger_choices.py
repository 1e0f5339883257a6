"""What members chose, as it is stored."""

from datetime import timedelta

from sqlalchemy import delete

from ledger.choices import address_hash, all_choices, choice_keys, choices_of, store_choices
from ledger.engine import Engine, reading, writing
from ledger.people import accept_person
from ledger.tables import choices, people
from schemas.choices import SNOOZE, Choice, ChoiceOrigin, Choices
from schemas.records import Coworker
from tests.contract.ledger_rig import ANA, JOEL, NOW, at, at_once, rows

HASH = address_hash("ana@people.example", "key")
YES, NO = Choice(agreed=True, chosen_at=NOW), Choice(agreed=False, chosen_at=NOW)


def choose(engine: Engine, coworker_id: int, email: str | None, **chosen: Choice) -> None:
    with writing(engine) as connection:
        store_choices(connection, choice_keys("key", coworker_id, email), chosen)


def chosen(engine: Engine, coworker_id: int, email: str | None) -> Choices:
    with reading(engine) as connection:
        return choices_of(connection, choice_keys("key", coworker_id, email))


def test_the_last_choice_for_a_stream_counts_and_is_kept_as_it_was_made(
    ledger_engine: Engine,
) -> None:
    week = Choice(agreed=False, chosen_at=NOW, until=NOW + timedelta(days=7))
    later = Choice(agreed=False, chosen_at=at(5), origin=ChoiceOrigin.ONE_CLICK)
    choose(ledger_engine, ANA, "ana@people.example", service=YES, reminder=YES)
    choose(ledger_engine, ANA, "ana@people.example", service=later, **{SNOOZE: week})
    found = chosen(ledger_engine, ANA, "ana@people.example")
    assert found == Choices({"service": later, "reminder": YES, SNOOZE: week})
    assert chosen(ledger_engine, JOEL, "joel@people.example") == Choices()
    assert chosen(ledger_engine, JOEL, None) == Choices()


def test_a_no_counts_after_the_address_changed_and_for_another_who_gets_the_address(
    ledger_engine: Engine,
) -> None:
    choose(ledger_engine, ANA, "ana@people.example", all=NO)
    for coworker_id, email in (
        (ANA, "ana@new.example"),
        (ANA, None),
        (JOEL, "ANA@people.example"),
    ):
        assert chosen(ledger_engine, coworker_id, email).agreed == {"all": False}


def test_two_people_with_one_address_cannot_undo_each_others_no(ledger_engine: Engine) -> None:
    choose(ledger_engine, ANA, "office@people.example", all=NO)
    choose(ledger_engine, JOEL, "office@people.example", all=YES)
    assert chosen(ledger_engine, ANA, "office@people.example").agreed == {"all": False}
    assert chosen(ledger_engine, JOEL, "office@people.example").agreed == {"all": True}


def test_a_choice_survives_an_erase_without_a_name_or_an_address(ledger_engine: Engine) -> None:
    ana = Coworker(ANA, NOW, None, "Ana López", "Ana", "ana@people.example")
    with writing(ledger_engine) as connection:
        accept_person(connection, ana, NOW)
    choose(ledger_engine, ANA, "ana@people.example", all=NO)
    with writing(ledger_engine) as connection:
        connection.execute(delete(people))
    assert "ana" not in str(rows(ledger_engine, choices)).lower()
    assert str(ANA) not in str(rows(ledger_engine, choices))
    assert chosen(ledger_engine, JOEL, "ana@people.example").agreed == {"all": False}


def test_all_choices_are_found_by_key(ledger_engine: Engine) -> None:
    choose(ledger_engine, ANA, "ana@people.example", service=NO, reminder=YES)
    with reading(ledger_engine) as connection:
        found = all_choices(connection)
    assert found.keys() == choice_keys("key", ANA, "ana@people.example")
    for made in found.values():
        assert sorted(made, key=lambda one: one[0]) == [("reminder", YES), ("service", NO)]


def test_choices_made_at_once_do_not_block_each_other(ledger_engine: Engine) -> None:
    def switch(number: int) -> None:
        name = "all" if number % 2 else "service"
        choose(ledger_engine, ANA, "ana@people.example", **{name: NO, "reminder": YES})

    at_once(8, switch)
    found = chosen(ledger_engine, ANA, "ana@people.example").agreed
    assert found == {"all": False, "service": False, "reminder": True}


def test_an_address_hash_is_the_same_in_any_case_and_form_and_depends_on_the_key() -> None:
    assert address_hash(" ANA@People.example ", "key") == HASH
    composed, decomposed = "José@people.example", "JOSE\u0301@people.example"
    assert address_hash(composed, "key") == address_hash(decomposed, "key")
    assert address_hash("weiß@people.example", "key") != address_hash("weiss@people.example", "key")
    assert address_hash("ana@people.example", "another") != HASH
    assert "ana" not in HASH


def test_no_address_has_the_key_of_an_id() -> None:
    [own] = choice_keys("key", 7, None)
    assert own not in {address_hash(text, "key") for text in ("7", "COWORKER 7", "coworker 7")}
    assert choice_keys("key", 7, "") == choice_keys("key", 7, None) == {own}
    assert choice_keys("key", 8, None) != {own}
