"""The doctor's test deliveries: a verifier that handles only ASCII does not pass."""

import hashlib
import hmac
from collections.abc import Sequence

import pytest

from schemas.checkup import Check, Verdict
from schemas.errors import BadSignature
from schemas.reasons import Refusal
from service.cli.doctor import signature_checks
from service.signature import verify

SECRETS = ("a newer secret", "an older secret")


def naive(body: bytes, claimed: str | None, secrets: Sequence[str]) -> str:
    """Know only what was sent, as most published verifiers do."""
    for secret in secrets:
        if claimed == hmac.new(secret.encode(), body, hashlib.sha256).hexdigest().upper():
            return "raw"
    raise BadSignature(Refusal.WRONG_SIGNATURE)


def trusting(_: bytes, __: str | None, ___: Sequence[str]) -> str:
    return "raw"


def only_the_first(body: bytes, claimed: str | None, secrets: Sequence[str]) -> str:
    return verify(body, claimed, secrets[:1])


def by_name(checks: Sequence[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def test_our_verifier_passes_with_each_secret() -> None:
    found = by_name(signature_checks(SECRETS))
    assert {check.verdict for check in found.values()} == {Verdict.OK}
    assert "all 2" in found["secrets"].found


def test_without_a_secret_a_made_up_one_is_tested_and_the_401_is_reported() -> None:
    found = by_name(signature_checks(()))
    assert found["self-test"].verdict is Verdict.OK
    assert found["secrets"].verdict is Verdict.NOTE
    assert "COURSEBELL_HOOK_SECRETS" in found["secrets"].found
    assert "401" in found["secrets"].found


def test_a_verifier_that_handles_only_ascii_is_detected() -> None:
    found = by_name(signature_checks(SECRETS, naive))
    assert found["self-test"].verdict is Verdict.PROBLEM
    assert "utf16-units is refused" in found["self-test"].found
    assert "code-points is refused" in found["self-test"].found
    assert found["known answer"].verdict is Verdict.PROBLEM


def test_a_verifier_that_accepts_everything_is_detected() -> None:
    found = by_name(signature_checks(SECRETS, trusting))
    assert "a changed body is accepted" in found["self-test"].found


def test_a_verifier_that_ignores_the_secret_is_detected() -> None:
    assert by_name(signature_checks(SECRETS, only_the_first))["self-test"].verdict is (
        Verdict.PROBLEM
    )


@pytest.mark.parametrize("verifier", [verify, naive, trusting])
def test_no_secret_is_in_the_report(verifier: object) -> None:
    assert callable(verifier)
    said = str(signature_checks(SECRETS, verifier))
    assert not any(secret in said for secret in SECRETS)
