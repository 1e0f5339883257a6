"""Logins by access token: what the token server and the mail server get, and what fails how."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from schemas.checkup import Check, Verdict
from schemas.errors import ChannelUnavailable, ConfigurationError
from schemas.reasons import Reason
from schemas.settings import MailAddress, Settings, describe, load_settings
from tests.contract.source_rig import HandClock
from tests.contract.study_rig import NOON
from tests.contract.test_mailer_faults import ANA, SENDER, an_email
from tests.contract.token_rig import INVALID, SigningIn, signing_in
from tests.doubles.mail_server import server_at
from tests.doubles.scripted_smtp import HANG_UP, ScriptedSmtp
from workers.actions.email.access_token import (
    AccessTokens,
    OAuthClient,
    TokenTimes,
    TokenUnavailable,
)
from workers.actions.email.checkup import mail_checks
from workers.actions.email.smtp import Mailer

USER = "courses@harbour.example"
CHALLENGE = b"334 " + base64.b64encode(b'{"status":"401","schemes":"bearer","scope":"mail"}')
OFFERED = {"EHLO": b"250-scripted\r\n250 AUTH LOGIN XOAUTH2", "AUTH": b"235 2.7.0 accepted"}
SECRETS = ("client-secret-1", "refresh-token-1", "access-")


@dataclass
class Rig:
    """A token server, a mail server, and a mailer that uses both."""

    tokens: SigningIn
    server: ScriptedSmtp
    settings: Settings
    mailer: Mailer

    def send(self) -> str:
        return self.mailer.deliver(an_email(), sender=SENDER, recipient=ANA)

    def proofs(self) -> list[bytes]:
        """Return what was sent to log in."""
        given = [one.split() for one in self.server.commands if one.startswith("AUTH")]
        assert all(mechanism == "XOAUTH2" for _, mechanism, _ in given)
        return [base64.b64decode(proof) for _, _, proof in given]


@contextmanager
def a_rig(
    script: dict[str, bytes] | None = None,
    *,
    times: TokenTimes | None = None,
    **different: str | None,
) -> Iterator[Rig]:
    with signing_in() as tokens, ScriptedSmtp({**OFFERED, **(script or {})}) as server:
        oauth: dict[str, Any] = {
            "smtp_oauth_token_url": f"{tokens.url}/oauth2/v2.0/token",
            "smtp_oauth_client_id": "client-1",
            "smtp_oauth_client_secret": "client-secret-1",
            "smtp_oauth_refresh_token": "refresh-token-1",
        }
        settings = replace(
            load_settings({}),
            smtp=server_at(server.port, username=USER),
            mail_from=MailAddress("Rita", SENDER),
            **{**oauth, **different},
        )
        client = OAuthClient.from_settings(settings)
        assert client
        mailer = Mailer(server_at(server.port, username=USER), tokens=AccessTokens(client, times))
        yield Rig(tokens, server, settings, mailer)


def proof_of(number: int) -> bytes:
    return f"user={USER}\1auth=Bearer access-{number}\1\1".encode()


def test_a_refresh_token_gives_one_access_token_for_many_emails() -> None:
    with a_rig() as rig:
        for _ in range(3):
            assert rig.send() == "250 2.0.0 queued as SCRIPTED"
        [asked] = rig.tokens.asked
        assert asked.form == {
            "grant_type": "refresh_token",
            "client_id": "client-1",
            "client_secret": "client-secret-1",
            "refresh_token": "refresh-token-1",
        }
        assert rig.proofs() == [proof_of(1)] * 3


def test_without_a_refresh_token_the_client_asks_for_itself() -> None:
    scope = "https://outlook.office365.com/.default"
    with a_rig(smtp_oauth_refresh_token=None, smtp_oauth_scope=scope) as rig:
        rig.send()
        [asked] = rig.tokens.asked
        assert asked.form == {
            "grant_type": "client_credentials",
            "client_id": "client-1",
            "client_secret": "client-secret-1",
            "scope": scope,
        }


def test_a_token_is_replaced_shortly_before_it_ends_and_by_the_newest_refresh_token() -> None:
    # Its life is as long as what is not used of it.
    with a_rig(times=TokenTimes(early_s=604_799, shortest_s=0)) as rig:
        rig.mailer.probe()
        rig.send()
        assert [one.form["refresh_token"] for one in rig.tokens.asked] == [
            "refresh-token-1",
            "refresh-1",
        ]


@pytest.mark.parametrize("refusal", [b"535 5.7.8 not accepted", CHALLENGE])
def test_a_token_that_the_mail_server_refuses_is_replaced_once(refusal: bytes) -> None:
    script = {"AUTH 2": refusal, "": b"535 5.7.8 not accepted"}
    with a_rig(script, times=TokenTimes(young_s=0)) as rig:
        rig.send()
        rig.send()
        assert rig.proofs() == [proof_of(1), proof_of(1), proof_of(2)]
        assert len(rig.server.texts) == 2


def test_a_young_token_that_is_refused_is_about_us_and_no_other_is_requested() -> None:
    with a_rig({"AUTH": CHALLENGE, "": b"535 5.7.3 Authentication unsuccessful"}) as rig:
        with pytest.raises(ChannelUnavailable, match="COURSEBELL_SMTP_OAUTH_TOKEN_URL") as stopped:
            rig.send()
        assert stopped.value.reason is Reason.MAIL_LOGIN
        assert stopped.value.answer == "535 5.7.3 Authentication unsuccessful"
        assert (len(rig.tokens.asked), len(rig.proofs())) == (1, 1)


def test_a_mail_server_without_xoauth2_gets_no_token() -> None:
    with a_rig({"EHLO": b"250-scripted\r\n250 AUTH LOGIN PLAIN"}) as rig:
        with pytest.raises(ChannelUnavailable, match="no login method") as stopped:
            rig.send()
        assert stopped.value.reason is Reason.MAIL_LOGIN
        assert rig.proofs() == []


@pytest.mark.parametrize(
    ("answer", "reason", "said"),
    [
        ((400, INVALID), Reason.MAIL_LOGIN, "400 invalid_grant"),
        ((401, {"error": "invalid_client"}), Reason.MAIL_LOGIN, "401 invalid_client"),
        ((400, {"error": "Rita <rita@x.example> & co"}), Reason.MAIL_LOGIN, "400"),
        ((403, ["no"]), Reason.MAIL_LOGIN, "403"),
        ((500, {}), Reason.MAIL_UNREACHABLE, "500"),
        ((429, {"error": "slow_down"}), Reason.MAIL_UNREACHABLE, "429 slow_down"),
        ((302, {}), Reason.MAIL_UNREACHABLE, "redirect"),
        ((200, {"access_token": "two words"}), Reason.MAIL_UNREACHABLE, "something else"),
        ((200, "nothing"), Reason.MAIL_UNREACHABLE, "something else"),
    ],
)
def test_without_a_token_the_mail_server_is_not_asked(
    answer: tuple[int, Any], reason: Reason, said: str
) -> None:
    with a_rig() as rig:
        rig.tokens.answers.append(answer)
        with pytest.raises(TokenUnavailable) as stopped:
            rig.send()
        assert stopped.value.reason is reason
        assert said in str(stopped.value)
        assert not [one for one in (*SECRETS, "rita", "two words") if one in str(stopped.value)]
        assert rig.server.commands == []
        rig.send()  # the next try asks again


def test_a_token_server_that_is_away_is_an_outage_that_passes() -> None:
    with a_rig(smtp_oauth_token_url="http://127.0.0.1:9/token") as rig:
        with pytest.raises(TokenUnavailable, match="cannot be reached") as stopped:
            rig.send()
        assert stopped.value.reason is Reason.MAIL_UNREACHABLE


def checks(rig: Rig) -> list[Check]:
    return list(mail_checks(rig.settings, None, HandClock(NOON), must_work=True))


def test_doctor_shows_the_login_and_never_a_secret() -> None:
    with a_rig() as rig:
        found = {one.name: one for one in checks(rig)}
        assert found["login"].found == "235 2.7.0 accepted"
        rig.tokens.answers.append((400, INVALID))
        [problem] = [one for one in checks(rig) if one.name == "access token"]
        assert (problem.verdict, "400 invalid_grant" in problem.found) == (Verdict.PROBLEM, True)
        assert "COURSEBELL_SMTP_OAUTH_TOKEN_URL" in (problem.fix or "")
        shown = str(describe(rig.settings, {})) + str(found) + str(problem) + repr(rig.settings)
        assert not [secret for secret in SECRETS if secret in shown]
    with a_rig({"AUTH": HANG_UP}) as rig:
        assert [one.verdict for one in checks(rig) if one.name == "login"] == []


def test_doctor_says_what_to_do_when_the_mail_server_refuses_the_token() -> None:
    with a_rig({"AUTH": b"535 5.7.3 no"}) as rig:
        [problem] = [one for one in checks(rig) if one.name == "login"]
    assert problem.verdict is Verdict.PROBLEM
    assert "COURSEBELL_SMTP_OAUTH_TOKEN_URL" in (problem.fix or "")


OAUTH = "COURSEBELL_SMTP_OAUTH_"
GOOD = {
    "COURSEBELL_SMTP_URL": "smtp://courses%40harbour.example@smtp.example:587",
    f"{OAUTH}TOKEN_URL": "https://login.example/token",
    f"{OAUTH}CLIENT_ID": "client-1",
    f"{OAUTH}CLIENT_SECRET": "client-secret-1",
}


def test_complete_settings_are_shown_without_the_secret() -> None:
    settings = load_settings(GOOD)
    lines = {line.name: line.value for line in describe(settings, GOOD)}
    assert lines["COURSEBELL_SMTP_URL"] == (
        "smtp://courses%40harbour.example@smtp.example:587?tls=starttls"
    )
    assert lines[f"{OAUTH}CLIENT_SECRET"] == "set, 15 characters"


@pytest.mark.parametrize(
    ("different", "setting"),
    [
        ({f"{OAUTH}TOKEN_URL": ""}, "COURSEBELL_SMTP_URL"),
        ({f"{OAUTH}TOKEN_URL": "http://login.example/token"}, f"{OAUTH}TOKEN_URL"),
        ({f"{OAUTH}CLIENT_ID": ""}, f"{OAUTH}TOKEN_URL"),
        ({f"{OAUTH}CLIENT_SECRET": ""}, f"{OAUTH}TOKEN_URL"),
        ({"COURSEBELL_SMTP_URL": "smtp://u:p@h"}, "COURSEBELL_SMTP_URL"),
        ({"COURSEBELL_SMTP_URL": "smtp://h"}, "COURSEBELL_SMTP_URL"),
        ({"COURSEBELL_SMTP_URL": "smtp://u@h?tls=none"}, "COURSEBELL_SMTP_URL"),
    ],
)
def test_settings_that_do_not_fit_together_are_a_mistake_at_start(
    different: dict[str, str], setting: str
) -> None:
    with pytest.raises(ConfigurationError) as stopped:
        load_settings({**GOOD, **different})
    assert setting in [one.partition(":")[0] for one in stopped.value.mistakes]
    assert "client-secret-1" not in str(stopped.value)
