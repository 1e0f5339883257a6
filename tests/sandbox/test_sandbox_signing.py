"""The signature, against values computed by other means."""

import hashlib
import hmac

from sandbox.sender import ascii_folded, signature


def test_an_accent_is_one_question_mark_and_an_emoji_two() -> None:
    assert ascii_folded("Zoë 🎓 ليلى") == b"Zo? ?? ????"


def test_pure_ascii_is_signed_as_it_stands() -> None:
    # RFC 4231 has no ASCII pair of this length; this one is the widely printed example.
    expected = "F7BC83F430538424B13298E6AA6FB143EF4D59A14946175997479DBC2D1A3CD8"
    assert signature("key", "The quick brown fox jumps over the lazy dog") == expected


def test_a_key_with_an_accent_is_folded_like_the_text() -> None:
    expected = hmac.new(b"p?ss ??", b'[{"N":"Zo? ??"}]', hashlib.sha256).hexdigest().upper()
    assert signature("päss 🔑", '[{"N":"Zoë 🎓"}]') == expected
