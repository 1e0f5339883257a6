"""The switches about signing in and rights."""

import time

import pyotp
import pytest

from sandbox.tokens import totp_at
from tests.sandbox.sandbox_rig import USERNAME, Running
from tests.sandbox.switch_rig import COURSES, LESSONS, asked_for_token, switched


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_tokens_can_expire_soon(shared: Running) -> None:
    with switched(shared, "short-life", expires_in=0):
        granted = asked_for_token(shared).json()
        assert granted["expires_in"] == 0
        assert shared.get(COURSES, headers=_bearer(granted["access_token"])).status_code == 401
    with switched(shared, "short-life", expires_in=60):
        granted = asked_for_token(shared).json()
    assert shared.get(COURSES, headers=_bearer(granted["access_token"])).status_code == 200


def test_a_token_can_lack_its_expiry(shared: Running) -> None:
    with switched(shared, "no-expires-in"):
        assert "expires_in" not in asked_for_token(shared).json()
    assert "expires_in" in asked_for_token(shared).json()


def test_refresh_tokens_can_be_refused(shared: Running) -> None:
    refresh = asked_for_token(shared).json()["refresh_token"]
    again = {"grant_type": "refresh_token", "refresh_token": refresh}
    with switched(shared, "refuse-refresh", times=1):
        assert asked_for_token(shared, **again).json()["error"] == "invalid_grant"
        assert asked_for_token(shared, **again).status_code == 200


def test_passwords_can_be_refused_with_400_or_401(shared: Running) -> None:
    with switched(shared, "refuse-sign-in"):
        assert asked_for_token(shared).status_code == 400
        with switched(shared, "invalid-grant-as-401"):
            answer = asked_for_token(shared)
            assert (answer.status_code, answer.json()["error"]) == (401, "invalid_grant")
    assert asked_for_token(shared).status_code == 200


def test_a_sign_in_can_end_the_tokens_of_other_clients(shared: Running) -> None:
    asked_for_token(shared, "second")
    assert shared.get(COURSES).status_code == 200
    with switched(shared, "kick-out"):
        asked_for_token(shared, "second")
        assert shared.get(COURSES).status_code == 401
        shared.sign_in()
    asked_for_token(shared, "second")
    assert shared.get(COURSES).status_code == 200


@pytest.mark.parametrize(
    ("name", "kept"), [("client-id-header-only", "header"), ("client-id-field-only", "field")]
)
def test_a_client_id_can_count_in_one_place_only(shared: Running, name: str, kept: str) -> None:
    with switched(shared, name):
        granted = asked_for_token(shared, "header", client_id="field").json()
        again = {"grant_type": "refresh_token", "refresh_token": granted["refresh_token"]}
        other = "field" if kept == "header" else "header"
        assert asked_for_token(shared, other, client_id=other, **again).status_code == 400
        assert asked_for_token(shared, kept, client_id=kept, **again).status_code == 200


def test_a_second_factor_can_be_a_fixed_code_or_the_code_of_a_key(shared: Running) -> None:
    key = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
    with switched(shared, "totp-required", key=key, code="123456"):
        assert asked_for_token(shared).json()["error"] == "invalid_grant"
        assert asked_for_token(shared, totp="000000").status_code == 400
        assert asked_for_token(shared, totp="123456").status_code == 200
        assert asked_for_token(shared, totp=pyotp.TOTP(key).now()).status_code == 200
        old = pyotp.TOTP(key).at(int(time.time()) - 600)
        assert asked_for_token(shared, totp=old).status_code == 400
    with switched(shared, "totp-required", key=None, code=None):
        assert asked_for_token(shared, totp="").status_code == 400
    assert asked_for_token(shared, username=USERNAME).status_code == 200


def test_codes_match_those_of_rfc_6238() -> None:
    # RFC 6238, appendix B, SHA-1, the last six digits.
    key = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
    assert [totp_at(key, at) for at in (59, 1_111_111_109, 20_000_000_000)] == [
        "287082",
        "081804",
        "353130",
    ]


@pytest.mark.parametrize("status", [401, 403])
def test_a_valid_token_can_lack_a_permission(shared: Running, status: int) -> None:
    course = f"{COURSES}/{shared.course('Finance')}"
    with switched(shared, "missing-right", entity="Course", way="read", status=status):
        answer = shared.get(course)
        assert (answer.status_code, "Message" in answer.json()) == (status, True)
        assert shared.get(COURSES).status_code == 200
    with switched(shared, "missing-right", way="list", status=status):
        assert shared.get(course).status_code == 200
        assert shared.get(COURSES).status_code == shared.get(LESSONS).status_code == status
        assert shared.get(f"{LESSONS}/?id=[1]").status_code == status
    assert shared.get(COURSES).status_code == 200
