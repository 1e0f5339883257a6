"""What commands say of alerts, summaries and digests that do not arrive."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from ledger.choices import mailbox_hash, store_choices
from ledger.engine import reading, writing
from ledger.people import accept_person
from ledger.reports import ReportPlan, claim_report, plan_report, settle_report
from ledger.suppressions import Suppression, suppress
from schemas.actions import HOST, Outcome, audience_of
from schemas.choices import Choice, ChoiceOrigin, report_choice
from schemas.mail_reports import Provider, ReportKind
from schemas.reasons import Reason
from schemas.settings import load_settings
from tests.contract.desk_rig import Desk
from tests.contract.study_rig import HASH_KEY, coworker
from tests.contract.test_digests import FILE, HOST_ID, RITA, TEAM, with_host
from workers.reports.arrivals import reader_needs

pytestmark = pytest.mark.engines("sqlite")
OPS, BOSS = "ops@example.org", "boss@example.org"


@pytest.fixture
def hosted(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Give a desk with two operators, a host and rules with digests."""
    (tmp_path / "rules.yaml").write_text(FILE, encoding="utf-8")
    monkeypatch.setenv("COURSEBELL_RULES", str(tmp_path / "rules.yaml"))
    monkeypatch.setenv("COURSEBELL_SECRET_KEY", HASH_KEY)
    monkeypatch.setenv("COURSEBELL_OPERATOR_EMAIL", f"{OPS}, {BOSS}")
    with_host(desk.space)
    desk.space.enrol(1)
    desk.space.work()
    now = desk.space.clock.now()
    with writing(desk.space.engine) as connection:
        accept_person(connection, coworker(HOST_ID, full_name="Rita Okafor", email=RITA), now)
    return desk


def bounce(desk: Desk, *addresses: str) -> None:
    now = desk.space.clock.now()
    with writing(desk.space.engine) as connection:
        for one in addresses:
            hashed = mailbox_hash(one, HASH_KEY)
            kind, provider = ReportKind.HARD_BOUNCE, Provider.POSTMARK
            suppress(connection, Suppression(hashed, kind, now, provider, "5.1.1", "unknown"))


def ended(desk: Desk, name: str, outcome: Outcome, **whom: object) -> None:
    """Let a report end in this way."""
    now = desk.space.clock.now()
    audience = str(whom.get("audience", HOST))
    host = HOST_ID if audience == HOST else None
    key = f"{name}/{now.isoformat()}"
    with writing(desk.space.engine) as connection:
        plan_report(connection, ReportPlan(key, name, audience, now, coworker_id=host), now)
        claimed = claim_report(connection, now, "token", lease_s=60)
        assert claimed is not None
        assert settle_report(connection, claimed, outcome, now)


def codes(desk: Desk) -> list[str]:
    found = json.loads(desk.run("status", "--json").stdout)["needs_attention"]
    return [one["code"] for one in found if one["code"] in {"alerts", "reports", "bounced"}]


def test_that_alerts_do_not_arrive_is_what_a_person_sees_first(hosted: Desk) -> None:
    assert codes(hosted) == []
    bounce(hosted, OPS)
    said = hosted.run("status").stdout
    assert said.startswith("Needs attention: alerts do not arrive")
    assert "! alerts do not reach every operator: emails to 1 of 2 addresses in" in said
    assert "`coursebell bounces lift ADDRESS`" in said
    bounce(hosted, BOSS)
    said = hosted.run("status").stdout
    assert (
        "! nobody gets alerts or the summary: emails to 2 of 2 addresses in COURSEBELL_OP" in said
    )
    assert "ops@" not in said
    listed = hosted.run("bounces", "list").stdout
    assert "o***@example.org, named in COURSEBELL_OPERATOR_EMAIL: since" in listed
    for one in (OPS, BOSS):
        assert hosted.run("bounces", "lift", one).exit_code == 0
    assert codes(hosted) == []


def test_doctor_says_it_with_what_to_do(hosted: Desk) -> None:
    assert "alerts and a summary go to" in hosted.run("doctor").stdout
    bounce(hosted, OPS, TEAM)
    said = hosted.run("doctor").stdout
    assert "alerts and a summary go to" not in said
    assert "problem  operator" in said
    assert "-> `coursebell bounces list` says which and why" in said
    assert "emails to the address of the digest for-acme came back" in said


def test_readyz_names_the_code_without_the_rules(hosted: Desk) -> None:
    bounce(hosted, OPS, TEAM)
    settings = load_settings({"COURSEBELL_SECRET_KEY": HASH_KEY, "COURSEBELL_OPERATOR_EMAIL": OPS})
    with reading(hosted.space.engine) as connection:
        found = reader_needs(connection, settings, None, hosted.space.clock.now())
    assert [one.code for one in found] == ["alerts"]


def test_an_address_in_the_rules_that_bounced_is_named_by_what_is_sent_there(hosted: Desk) -> None:
    bounce(hosted, TEAM)
    said = hosted.run("status").stdout
    assert "! emails to the address of the digest for-acme came back" in said
    assert codes(hosted) == ["reports"]
    shown = hosted.run("reports").stdout
    assert "Emails to it came back: nothing is sent to it since" in shown
    found = hosted.run("why", TEAM)
    assert found.exit_code == 0, found.output
    assert found.stdout.startswith("l***@acme.example  (named in the digest for-acme)\n")
    assert f"if it works: coursebell bounces lift {TEAM}" in found.stdout
    assert "  for-acme, once a month\n" in found.stdout


def test_a_digest_that_did_not_reach_a_host_is_said_until_the_address_works(hosted: Desk) -> None:
    bounce(hosted, RITA)
    assert codes(hosted) == ["bounced"]
    ended(hosted, "for-hosts", Outcome.skipped(Reason.BOUNCED_BEFORE))
    assert codes(hosted) == ["reports", "bounced"]
    said = hosted.run("status").stdout
    assert "! the digest for-hosts to the host, coworker 500, of 2" in said
    assert "was not sent: Their address bounced before [bounced-before]." in said
    assert "`coursebell bounces lift 500`" in said
    why = hosted.run("why", "500").stdout
    assert "Their address bounced: nothing is sent to it since" in why
    assert "for-hosts, on Mondays\n" in why
    assert "skipped, bounced-before: Their address bounced before\n" in why
    hosted.run("bounces", "lift", "500")
    assert codes(hosted) == []


@pytest.mark.parametrize(
    ("outcome", "says"),
    [
        (
            Outcome.failed(Reason.MAIL_REJECTED),
            "could not be sent: The mail server refused it [mail-rejected].",
        ),
        (Outcome.unknown("cut off"), "may have arrived or not: ask the reader, or look into"),
    ],
)
def test_a_report_that_failed_or_may_not_have_arrived_is_said_until_the_next(
    hosted: Desk, outcome: Outcome, says: str
) -> None:
    ended(hosted, "for-hosts", outcome)
    ended(hosted, "trouble", outcome, audience=audience_of(OPS))
    assert codes(hosted) == ["reports", "reports"]
    said = hosted.run("status").stdout
    assert says in said
    assert "the alert trouble to an operator of" in said
    assert "`coursebell reports preview for-hosts` writes one" in said
    assert says[:20] in hosted.run("doctor").stdout
    hosted.space.clock.time += timedelta(hours=1)
    ended(hosted, "for-hosts", Outcome.skipped(Reason.NOTHING_HAPPENED))
    assert codes(hosted) == ["reports"]
    settings = load_settings({"COURSEBELL_SECRET_KEY": HASH_KEY})
    with reading(hosted.space.engine) as connection:
        later = hosted.space.clock.now() + timedelta(days=7)
        assert reader_needs(connection, settings, None, later) == []


def test_an_operator_is_answered_by_why_with_what_they_get(hosted: Desk) -> None:
    ended(hosted, "trouble", Outcome.unknown("cut off"), audience=audience_of(OPS))
    found = hosted.run("why", OPS.upper())
    assert found.exit_code == 0, found.output
    assert found.stdout.startswith("o***@example.org  (named in COURSEBELL_OPERATOR_EMAIL)\n")
    assert "  trouble, when something is new\n    last: 2" in found.stdout
    assert ", unknown, handover-unknown: " in found.stdout
    [plain] = json.loads(hosted.run("why", OPS, "--json").stdout)
    assert [one["name"] for one in plain["gets"]] == ["attention", "trouble", "summary"]
    assert plain["suppressed"] is None


def test_a_host_who_writes_gets_no_more_digests_and_an_operator_no_more_alerts(
    hosted: Desk,
) -> None:
    shown = hosted.run("preferences", "500", "--stop", "for-hosts").stdout
    assert "  the report for-hosts: not sent, chosen 2" in shown
    assert "for-hosts, on Mondays\n" in hosted.run("why", "500").stdout
    assert "Stopped the report for-hosts since 2" in hosted.run("why", "500").stdout
    assert "the reader stopped it, chosen 2" in hosted.run("reports").stdout
    shown = hosted.run("preferences", OPS, "--stop", "trouble", "--stop", "all").stdout
    assert shown.startswith("o***@example.org  (named in COURSEBELL_OPERATOR_EMAIL)\n")
    assert "  all emails (all): not sent, chosen 2" in shown
    assert "  the report trouble: not sent, chosen 2" in shown
    hosted.run("preferences", OPS, "--allow", "all", "--allow", "trouble")
    shown = hosted.run("preferences", OPS).stdout
    assert "  the report trouble: sent, chosen 2" in shown
    log = hosted.run("log").stdout
    assert "changed emails to coworker 500: stopped for-hosts" in log
    assert "changed emails to an address: allowed all, allowed trouble" in log
    assert OPS not in log


def test_what_one_rule_sends_to_an_address_is_stopped_by_the_name_of_the_rule(
    hosted: Desk, tmp_path: Path
) -> None:
    told = f"{{name: tell, event: enrolled, action: email, template: notice, to: {TEAM}}}"
    text = FILE.replace("rules:\n", f"rules:\n  - {told}\n", 1)
    (tmp_path / "rules.yaml").write_text(text, encoding="utf-8")
    shown = hosted.run("preferences", TEAM, "--stop", "tell").stdout
    assert (
        shown.splitlines()[0] == "l***@acme.example  (named in the digest for-acme, the rule tell)"
    )
    assert "  what the rule tell sends to others than members: not sent, chosen 2" in shown
    assert (
        "  the reader stopped what the rule tell sends, chosen 2" in hosted.run("why", TEAM).stdout
    )
    for name, says in (("tel", "did you mean tell?"), ("welcome", "is called welcome")):
        refused = hosted.run("preferences", TEAM, "--stop", name)
        assert refused.exit_code == 2
        assert says in refused.stderr
    assert hosted.run("preferences", "nobody@example.org").exit_code == 1


def test_an_alert_that_was_marked_as_spam_is_said_until_alerts_are_allowed_again(
    hosted: Desk,
) -> None:
    now = hosted.space.clock.now()
    refusals = {
        name: Choice(agreed=False, chosen_at=now, origin=origin)
        for name, origin in (
            (report_choice("trouble"), ChoiceOrigin.COMPLAINT),
            (report_choice("summary"), ChoiceOrigin.PAGE),
        )
    }
    with writing(hosted.space.engine) as connection:
        store_choices(connection, [mailbox_hash(BOSS, HASH_KEY)], refusals)
    assert codes(hosted) == ["alerts"]
    assert "! an operator marked an alert as spam, or uns" in hosted.run("status").stdout
    assert "-> `coursebell reports` says to whom. To send" in hosted.run("doctor").stdout
    said = hosted.run("reports").stdout
    assert "by marking an email as spam\n" in said
    hosted.run("preferences", BOSS, "--allow", "trouble")
    assert codes(hosted) == []
