"""`coursebell reports` lists the reports and previews one; `rules check` names the digests."""

import json
from pathlib import Path

import pytest
from sqlalchemy import select

from ledger.engine import reading, writing
from ledger.reports import ReportPlan, claim_report, plan_report, settle_report
from ledger.tables import reports
from schemas.actions import Outcome
from schemas.reasons import Reason
from tests.contract.desk_rig import Desk
from tests.contract.test_digests import FILE, with_host

pytestmark = pytest.mark.engines("sqlite")


@pytest.fixture
def hosted(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Give a course with a host and one member, and rules with digests."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rules.yaml").write_text(FILE, encoding="utf-8")
    monkeypatch.setenv("COURSEBELL_RULES", str(tmp_path / "rules.yaml"))
    monkeypatch.setenv("COURSEBELL_OPERATOR_EMAIL", "ops@example.org")
    with_host(desk.space)
    desk.space.enrol(1)
    desk.space.work()
    return desk


def test_every_report_is_listed_with_its_reader_and_when_it_is_due(hosted: Desk) -> None:
    shown = hosted.run("reports")
    assert shown.exit_code == 0, shown.output
    assert "No mail server or no sender is set" in shown.stdout
    assert "attention, when something is new, to o" in shown.stdout
    assert "summary, on Mondays, to o" in shown.stdout
    assert "for-hosts, on Mondays, to the host coworker 500" in shown.stdout
    assert "for-acme, once a month, to l" in shown.stdout
    assert "ops@example.org" not in shown.stdout
    found = json.loads(hosted.run("reports", "--json").stdout)
    assert [one["name"] for one in found] == [
        "attention",
        "trouble",
        "summary",
        "for-hosts",
        "for-acme",
    ]
    assert [one["host_id"] for one in found] == [None, None, None, 500, None]


def test_a_digest_is_written_from_real_data_and_not_sent(hosted: Desk, tmp_path: Path) -> None:
    shown = hosted.run("reports", "preview", "for-hosts")
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.startswith("Subject: Freelance Finance: last week\n")
    assert "- Person 1" in (tmp_path / "preview" / "for-hosts.txt").read_text()
    assert "<h2" in (tmp_path / "preview" / "for-hosts.html").read_text()
    assert (tmp_path / "preview" / "for-hosts.eml").stat().st_mode & 0o777 == 0o600
    assert len(hosted.space.mailer.caught) == 1  # to the member


@pytest.mark.parametrize("name", ["summary", "attention"])
def test_what_operators_get_is_written(hosted: Desk, name: str) -> None:
    hosted.refuse(2)
    shown = hosted.run("reports", "preview", name)
    assert shown.exit_code == 0, shown.output
    assert "Subject: Coursebell: " in shown.stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nothing"], "There is no report nothing; there are attention, trouble, summary"),
        (["for-acme"], "nothing-happened"),
        (["for-acme", "--to", "who@example.org"], "one of its addresses"),
        (["for-hosts", "--to", "1"], "a host of a course"),
    ],
)
def test_a_preview_that_cannot_be_says_why(hosted: Desk, words: list[str], says: str) -> None:
    shown = hosted.run("reports", "preview", *words)
    assert shown.exit_code == 1
    assert says in shown.stderr


def test_the_check_of_rules_names_the_digests(hosted: Desk) -> None:
    assert hosted.run("rules", "check").stdout.endswith("; 2 digests (for-hosts, for-acme).\n")
    assert hosted.as_json("rules", "check")["digests"] == ["for-hosts", "for-acme"]


def test_a_digest_is_paused_by_its_name_and_resumed(hosted: Desk) -> None:
    tried = hosted.run("pause", "--rule", "for-host")
    assert (tried.exit_code, tried.stdout) == (1, "")
    assert "no rule or report called for-host; did you mean for-hosts?" in tried.stderr
    done = hosted.run("pause", "--rule", "for-hosts")
    assert done.stdout.startswith("Paused the report for-hosts. None waits now; one that becomes")
    assert "the report for-hosts paused by" in hosted.run("status").stdout
    assert hosted.run("resume", "--rule", "for-hosts", "--yes").exit_code == 0
    assert hosted.run("pause", "--rule", "trouble").stdout.startswith("Paused the report trouble.")


@pytest.mark.parametrize(
    ("words", "says", "ends"),
    [
        ([], "1 report will be checked again, and sent if still right", "waiting"),
        (["--skip"], "1 report skipped", "skipped"),
    ],
)
def test_a_resume_counts_the_reports_that_waited(
    hosted: Desk, words: list[str], says: str, ends: str
) -> None:
    hosted.run("pause", "--rule", "summary")
    now = hosted.space.clock.now()
    with writing(hosted.space.engine) as connection:
        plan_report(connection, ReportPlan("summary/1", "summary", "1", now), now)
        claimed = claim_report(connection, now, "token", lease_s=60)
        assert claimed is not None
        assert settle_report(connection, claimed, Outcome.waiting(now, Reason.PAUSED), now)
    assert "1 report waited and will be" in hosted.run("resume", *words, "--dry-run").stdout
    assert hosted.run("resume", *words).exit_code == 3
    assert hosted.run("resume", *words, "--yes").stdout == f"Resumed. {says}.\n"
    with reading(hosted.space.engine) as connection:
        assert connection.scalar(select(reports.c.state)) == ends
