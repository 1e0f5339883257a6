"""Texts of others, cut to a length: what remains is whole words and whole commands."""

import pytest

from workers.source.answers import short

SENTENCE = "the source does not take our sign-in: fix the password, or run `coursebell login` now"


def test_a_short_text_stays_as_it_is() -> None:
    assert short("Invoice paid") == "Invoice paid"


@pytest.mark.parametrize("longest", range(20, len(SENTENCE) + 1))
def test_no_command_and_no_word_is_cut_in_its_middle(longest: int) -> None:
    said = short(SENTENCE, longest)
    assert len(said) <= longest
    assert said.count("`") in {0, 2}
    if said != SENTENCE:
        kept = said.removesuffix(" …")
        assert said.endswith(" …")
        assert SENTENCE.startswith(kept)
        assert not SENTENCE[len(kept)].isalnum() or SENTENCE[len(kept) - 1] == " "


def test_a_text_without_blanks_is_cut_all_the_same() -> None:
    assert short("a" * 200, 20) == f"{'a' * 18} …"


def test_addresses_and_keys_are_left_out() -> None:
    assert (
        short("see https://a.example/hook?key=1 or me@example.org") == "see https://a.example or …"
    )
