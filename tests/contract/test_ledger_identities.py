"""Connecting accounts with people at a sign-in provider, on both engines."""

from datetime import timedelta

import pytest

from ledger.engine import Connection, Engine, reading, writing
from ledger.identities import connect_by_link, connect_invited, invite, operator_at_provider
from ledger.operators import (
    Operator,
    add_operator,
    begin_session,
    close_operator,
    has_operators,
    make_link,
    operator_named,
    sessions_of,
    set_password,
    signed_in,
    use_link,
)
from schemas.errors import LedgerUnavailable
from schemas.identity import Identity
from schemas.roles import Role
from tests.contract.ledger_rig import NOW

RITA = Identity("https://id.example", "r-1")
OTHER = Identity("https://id.example", "R-1")
ADDRESS = "rita@example.org"


def account(engine: Engine, name: str) -> Operator:
    with writing(engine) as connection:
        made = add_operator(connection, name, Role.LOOK, "test", NOW)
    assert made
    return made


def connected(connection: Connection, operator: Operator) -> Operator:
    """Connect an account by its address, and sign it in."""
    assert invite(connection, operator, ADDRESS, "test", NOW)
    made = connect_invited(connection, ADDRESS, RITA, NOW)
    assert made
    assert begin_session(connection, made, "session", "test", NOW, identity=RITA)
    return made


def test_an_address_connects_one_account_once(ledger_engine: Engine) -> None:
    rita, otto = account(ledger_engine, "Rita"), account(ledger_engine, "Otto")
    with writing(ledger_engine) as connection:
        assert invite(connection, rita, "Rita@example.org", "test", NOW)
        assert not invite(connection, otto, ADDRESS, "test", NOW)
        made = connect_invited(connection, "RITA@Example.org", RITA, NOW)
        assert made
        assert (made.operator_id, made.identity, made.email) == (rita.operator_id, RITA, None)
        assert connect_invited(connection, ADDRESS, OTHER, NOW) is None
        assert operator_at_provider(connection, OTHER) is None
        assert operator_at_provider(connection, Identity("https://other.example", "r-1")) is None
        assert begin_session(connection, made, "a", "test", NOW, identity=RITA)
        assert not begin_session(connection, made, "b", "test", NOW, identity=OTHER)
        assert not begin_session(connection, made, "c", "test", NOW)


def test_a_new_address_or_link_takes_the_place_of_who_was_connected(ledger_engine: Engine) -> None:
    rita = account(ledger_engine, "Rita")
    with writing(ledger_engine) as connection:
        make_link(connection, rita, "link", "test", NOW)
        made = connect_by_link(connection, "link", RITA, NOW)
        assert made
        assert connect_by_link(connection, "link", OTHER, NOW) is None
        begin_session(connection, made, "session", "test", NOW, identity=RITA)
        assert invite(connection, rita, ADDRESS, "test", NOW)
        assert sessions_of(connection, rita.operator_id, NOW) == []
        assert operator_at_provider(connection, RITA) is None
        make_link(connection, rita, "late", "test", NOW)
        assert connect_by_link(connection, "late", OTHER, NOW + timedelta(hours=24)) is None
        assert connect_by_link(connection, "late", OTHER, NOW)
        assert connect_invited(connection, ADDRESS, RITA, NOW) is None


def with_password(engine: Engine) -> Operator:
    """Return Rita's account with a password, a session and a link that was not used."""
    rita = account(engine, "Rita")
    with writing(engine) as connection:
        set_password(connection, rita.operator_id, "hash", NOW)
        make_link(connection, rita, "link", "test", NOW)
        found = operator_named(connection, "Rita")
        assert found
        assert begin_session(connection, found, "session", "test", NOW)
    return found


def test_a_new_address_ends_the_password_the_links_and_the_sessions(ledger_engine: Engine) -> None:
    rita = with_password(ledger_engine)
    with writing(ledger_engine) as connection:
        assert invite(connection, rita, ADDRESS, "test", NOW)
        found = operator_named(connection, "Rita")
        assert found
        assert (found.has_password, found.has_signed_in) == (False, False)
        assert not has_operators(connection)
        assert not begin_session(connection, rita, "again", "test", NOW)
        assert signed_in(connection, "session", NOW) is None
        assert use_link(connection, "link", "other", NOW, "Rita") is None


@pytest.mark.parametrize("way", ["link", "address"])
def test_who_is_connected_takes_the_place_of_who_had_the_password(
    ledger_engine: Engine, way: str
) -> None:
    rita = with_password(ledger_engine)
    with writing(ledger_engine) as connection:
        if way == "address":
            invite(connection, rita, ADDRESS, "test", NOW)
            made = connect_invited(connection, ADDRESS, RITA, NOW)
        else:
            made = connect_by_link(connection, "link", RITA, NOW)
        assert made
        assert (made.identity, made.has_password, made.has_signed_in) == (RITA, False, True)
        assert not begin_session(connection, rita, "again", "test", NOW)
        assert signed_in(connection, "session", NOW) is None


def test_a_password_by_link_takes_the_place_of_who_was_connected_or_invited(
    ledger_engine: Engine,
) -> None:
    rita, otto = account(ledger_engine, "Rita"), account(ledger_engine, "Otto")
    with writing(ledger_engine) as connection:
        made = connected(connection, rita)
        make_link(connection, rita, "link", "test", NOW)
        assert operator_at_provider(connection, RITA) == made
        assert use_link(connection, "link", "hash", NOW, "Rita")
        assert operator_at_provider(connection, RITA) is None
        assert not begin_session(connection, made, "again", "test", NOW, identity=RITA)
        assert signed_in(connection, "session", NOW) is None
        assert invite(connection, otto, ADDRESS, "test", NOW)
        make_link(connection, otto, "other", "test", NOW)
        assert use_link(connection, "other", "hash", NOW, "Otto")
        assert connect_invited(connection, ADDRESS, RITA, NOW) is None


def test_a_closed_account_forgets_who_was_connected(ledger_engine: Engine) -> None:
    rita, otto = account(ledger_engine, "Rita"), account(ledger_engine, "Otto")
    with writing(ledger_engine) as connection:
        made = connected(connection, rita)
        close_operator(connection, rita, "test", NOW)
        assert signed_in(connection, "session", NOW) is None
        assert not begin_session(connection, made, "again", "test", NOW, identity=RITA)
        assert not invite(connection, rita, ADDRESS, "test", NOW)
        make_link(connection, rita, "link", "test", NOW)
        assert operator_at_provider(connection, RITA) is None
        assert invite(connection, otto, ADDRESS, "test", NOW)
        close_operator(connection, otto, "test", NOW)
    with reading(ledger_engine) as connection:
        closed = operator_named(connection, "Otto")
    assert closed
    assert (closed.email, closed.identity, closed.has_signed_in) == (None, None, False)


def test_two_accounts_never_have_the_same_person(ledger_engine: Engine) -> None:
    rita, otto = account(ledger_engine, "Rita"), account(ledger_engine, "Otto")
    with writing(ledger_engine) as connection:
        make_link(connection, rita, "one", "test", NOW)
        make_link(connection, otto, "two", "test", NOW)
        assert connect_by_link(connection, "one", RITA, NOW)
    with pytest.raises(LedgerUnavailable, match="unexpected"), writing(ledger_engine) as connection:
        connect_by_link(connection, "two", RITA, NOW)
    with reading(ledger_engine) as connection:
        assert operator_at_provider(connection, RITA) == operator_named(connection, "Rita")
