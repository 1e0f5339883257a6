"""The signed links of members: what is in them, and that none can be made up or turned around."""

import base64
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.choices import choice_keys
from schemas.fields import MAX_ID
from schemas.rules import Stream
from workers.preference_links import LinkOwner, PreferenceLinks

LINKS = PreferenceLinks("https://courses.harbour.example", "a-secret-key-for-this-test-only")
ANA = LINKS.owner(1_414_999_007, "Ana@People.example")
PAGE = LINKS.page_token(ANA)
ONE_CLICK = {stream: LINKS.one_click(ANA, stream).rpartition("/")[2] for stream in Stream}
URL_SAFE = set(string.ascii_letters + string.digits + "-_.")


def test_a_link_leads_back_to_its_owner() -> None:
    assert LINKS.page(ANA) == f"https://courses.harbour.example/p/{PAGE}"
    assert LINKS.read_page(PAGE) == ANA
    assert LINKS.page(ANA, "ar") == f"https://courses.harbour.example/p/{PAGE}?lang=ar"
    for stream, token in ONE_CLICK.items():
        assert LINKS.one_click(ANA, stream) == f"https://courses.harbour.example/u/{token}"
        assert LINKS.read_one_click(token) == (ANA, stream)


@given(st.integers(1, MAX_ID))
def test_every_coworker_has_a_link(coworker_id: int) -> None:
    owner = LINKS.owner(coworker_id, "ana@people.example")
    assert LINKS.read_page(LINKS.page_token(owner)) == owner


def test_a_link_is_short_and_holds_no_address_and_no_name() -> None:
    for token in (PAGE, *ONE_CLICK.values()):
        assert set(token) <= URL_SAFE
        assert len(token) <= 100
        value = token.partition(".")[0]
        assert b"ana" not in base64.urlsafe_b64decode(value + "==").lower()


def test_links_in_all_emails_to_a_member_are_the_same_and_never_expire() -> None:
    again = PreferenceLinks("https://elsewhere.example", "a-secret-key-for-this-test-only")
    assert again.page_token(again.owner(ANA.coworker_id, " ana@people.EXAMPLE")) == PAGE
    assert LINKS.page_token(LINKS.owner(ANA.coworker_id, "ana@other.example")) != PAGE
    assert LINKS.page_token(LINKS.owner(ANA.coworker_id + 1, "ana@people.example")) != PAGE


# A change of the last character of a signature may change only bits that are not part of it.
@given(st.integers(0, len(PAGE) - 2), st.sampled_from(sorted(URL_SAFE)))
def test_a_changed_link_is_not_genuine(place: int, character: str) -> None:
    changed = PAGE[:place] + character + PAGE[place + 1 :]
    assert changed == PAGE or LINKS.read_page(changed) is None


def test_a_truncated_or_lengthened_link_is_not_genuine() -> None:
    for token, read in (
        (PAGE, LINKS.read_page),
        *((one, LINKS.read_one_click) for one in ONE_CLICK.values()),
    ):
        assert all(read(token[:length]) is None for length in range(len(token)))
        assert read(f"{token}A") is None
        assert read(f"{token} ") is None
        assert read(f"{token}{'A' * 10_000}") is None


def test_no_link_serves_another_purpose() -> None:
    assert LINKS.read_one_click(PAGE) is None
    assert all(LINKS.read_page(token) is None for token in ONE_CLICK.values())
    service, reminder = (token.partition(".") for token in ONE_CLICK.values())
    assert LINKS.read_one_click(f"{service[0]}.{reminder[2]}") is None
    other = PreferenceLinks("https://courses.harbour.example", "another-secret-key-for-tests")
    assert other.read_page(PAGE) is None
    assert other.read_one_click(ONE_CLICK[Stream.SERVICE]) is None


@given(st.text())
@pytest.mark.parametrize("read", [LINKS.read_page, LINKS.read_one_click])
def test_whatever_is_sent_is_not_genuine_and_raises_nothing(read: object, token: str) -> None:
    assert callable(read)
    assert read(token) is None


def test_a_choice_counts_for_the_address_the_link_went_to_and_for_that_of_today() -> None:
    key = "a-secret-key-for-this-test-only"
    keys = ANA.keys(key, "ana@new.example")
    assert keys == choice_keys(key, ANA.coworker_id, "ana@new.example") | {ANA.address_hash}
    assert len(keys) == 3
    assert ANA.keys(key, "ana@people.example") == ANA.keys(key, None)
    assert ANA.has_address("ANA@people.example", key)
    assert not ANA.has_address("ana@new.example", key)
    assert LinkOwner(8, ANA.address_hash).keys(key, None) & keys == {ANA.address_hash}
