"""Whether a delivery is from Nexudus: every signed form, and nothing but `BadSignature` else."""

import hashlib
import hmac
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.errors import BadSignature
from schemas.reasons import Refusal
from service.signature import signed_forms, verify

SECRET = "a shared secret"
# The same delivery as it is sent, and by hand as .NET's ASCII encoding leaves it to be signed.
SENT = '{"Id":7,"FullName":"Zoë Ångström 🐝","Price":0.09000}'
PER_UNIT = '{"Id":7,"FullName":"Zo? ?ngstr?m ??","Price":0.09000}'
PER_CODE_POINT = '{"Id":7,"FullName":"Zo? ?ngstr?m ?","Price":0.09000}'
ANY_TEXT = st.text(st.characters(exclude_categories=()))  # half surrogates too


def signed(text: str | bytes, secret: str = SECRET) -> str:
    content = text.encode() if isinstance(text, str) else text
    return hmac.new(secret.encode(), content, hashlib.sha256).hexdigest().upper()


@pytest.mark.parametrize(
    ("signed_text", "form"),
    [
        (SENT, "raw"),
        (f"[{SENT}]", "raw-in-array"),
        (PER_UNIT, "utf16-units"),
        (f"[{PER_UNIT}]", "utf16-units-in-array"),
        (PER_CODE_POINT, "code-points"),
        (f"[{PER_CODE_POINT}]", "code-points-in-array"),
    ],
)
def test_an_object_verifies_in_each_form_also_inside_an_array(signed_text: str, form: str) -> None:
    assert verify(SENT.encode(), signed(signed_text), (SECRET,)) == form


@pytest.mark.parametrize(
    ("signed_text", "form"),
    [(SENT, "raw"), (PER_UNIT, "utf16-units"), (PER_CODE_POINT, "code-points")],
)
def test_an_array_verifies_as_it_was_sent(signed_text: str, form: str) -> None:
    assert verify(f"[{SENT}]".encode(), signed(f"[{signed_text}]"), (SECRET,)) == form


def test_an_array_is_not_put_into_another() -> None:
    with pytest.raises(BadSignature, match="does not match"):
        verify(b'[{"Id":7}]', signed('[[{"Id":7}]]'), (SECRET,))


def test_an_object_after_blanks_is_still_an_object() -> None:
    body = b' \r\n{"Id":7}'
    assert verify(body, signed(b"[" + body + b"]"), (SECRET,)) == "raw-in-array"


def test_a_plain_delivery_has_only_the_raw_forms() -> None:
    assert [form for form, _ in signed_forms(b'{"Id":7}')] == ["raw", "raw-in-array"]


def test_a_body_that_is_no_utf8_has_only_the_raw_form() -> None:
    body = b"\xff\xfe\x00"
    assert [form for form, _ in signed_forms(body)] == ["raw"]
    assert verify(body, signed(body), (SECRET,)) == "raw"


def test_a_known_digest_verifies() -> None:
    # RFC 4231, test case 2: key and text are ASCII, so it stands for every form.
    digest = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert verify(b"what do ya want for nothing?", digest, ("Jefe",)) == "raw"


def test_the_digits_may_be_in_lower_case_and_have_blanks_around() -> None:
    assert verify(SENT.encode(), f" {signed(SENT).lower()}\t", (SECRET,)) == "raw"


@pytest.mark.parametrize("used", ["newest", "older", "oldest"])
def test_every_configured_secret_counts(used: str) -> None:
    secrets = ("newest", "older", "oldest")
    assert verify(SENT.encode(), signed(PER_UNIT, used), secrets) == "utf16-units"


def test_a_secret_beyond_ascii_is_used_as_utf8() -> None:
    assert verify(b"{}", signed("{}", "schlüssel"), ("schlüssel",)) == "raw"


def test_nothing_is_verified_without_secrets() -> None:
    with pytest.raises(BadSignature, match="no webhook secret"):
        verify(b"{}", signed("{}", ""), ())


@pytest.mark.parametrize(
    "claimed",
    [
        "sha256=" + signed("{}"),
        signed("{}")[:-1],
        signed("{}") + "0",
        "G" * 64,
        "\u0661" * 64,  # digits, but not ours
        "\uff11" * 64,
        "\ud800" * 64,
    ],
)
def test_only_64_hex_digits_are_a_signature(claimed: str) -> None:
    with pytest.raises(BadSignature, match="not 64 hex digits") as caught:
        verify(b"{}", claimed, (SECRET,))
    assert caught.value.refusal is Refusal.MALFORMED_SIGNATURE


@pytest.mark.parametrize("place", [0, 8, 32, 63])
def test_one_wrong_digit_anywhere_is_a_wrong_signature(place: int) -> None:
    right = signed(SENT)
    wrong = "0" if right[place] != "0" else "1"
    with pytest.raises(BadSignature, match="does not match"):
        verify(SENT.encode(), right[:place] + wrong + right[place + 1 :], (SECRET,))


@pytest.mark.parametrize("claimed", [None, "", " \t"])
def test_a_missing_signature_is_distinguished_from_a_wrong_one(claimed: str | None) -> None:
    with pytest.raises(BadSignature, match="missing") as missing:
        verify(b"{}", claimed, (SECRET,))
    with pytest.raises(BadSignature, match="does not match") as wrong:
        verify(b"{}", "0" * 64, (SECRET,))
    assert missing.value.refusal is Refusal.UNSIGNED
    assert wrong.value.refusal is Refusal.WRONG_SIGNATURE


@pytest.mark.parametrize(
    "body",
    [
        b'{"Id":8}',  # another Id
        b'{"Id": 7}',  # other spacing
        b'{"Id":7.0}',  # another form of the number
        b'{"Id":7}\n',
        b"",
    ],
)
def test_a_changed_body_does_not_verify(body: bytes) -> None:
    with pytest.raises(BadSignature, match="does not match"):
        verify(body, signed('{"Id":7}'), (SECRET,))


def test_another_secret_does_not_verify() -> None:
    with pytest.raises(BadSignature, match="does not match"):
        verify(SENT.encode(), signed(SENT, "another"), (SECRET,))


def test_json_is_never_reserialised() -> None:
    sent = b'{"Price":0.09000}'
    with pytest.raises(BadSignature):
        verify(sent, signed(json.dumps(json.loads(sent))), (SECRET,))


@given(st.binary(), st.none() | ANY_TEXT, st.lists(ANY_TEXT))
@example(b"\xed\xa0\x80{", "0" * 64, ["\ud800"])
@example(b"", "0" * 64, [""])
def test_any_input_raises_only_bad_signature(
    body: bytes, claimed: str | None, secrets: list[str]
) -> None:
    with pytest.raises(BadSignature):
        verify(body, claimed, secrets)


@given(st.binary(), st.text("0123456789abcdefABCDEF", min_size=64, max_size=64), ANY_TEXT)
def test_64_hex_digits_by_chance_never_verify(body: bytes, claimed: str, secret: str) -> None:
    with pytest.raises(BadSignature):
        verify(body, claimed, (secret,))


@given(ANY_TEXT, st.text())
def test_every_text_verifies_as_dotnet_would_sign_it(given_text: str, secret: str) -> None:
    text = given_text.encode("utf-8", "replace").decode()
    units = len(text.encode("utf-16-le")) // 2
    folded = "".join(one if ord(one) < 0x80 else "?" * (1 + (ord(one) > 0xFFFF)) for one in text)
    assert len(folded) == units
    assert verify(text.encode(), signed(folded, secret), ("other", secret)) in {
        "raw",
        "utf16-units",
        "code-points",
    }
