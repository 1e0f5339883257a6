"""`coursebell hooks` as operators run it: output, exit codes, what is written to the stand-in."""

import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog

from ledger.clock import SYSTEM_CLOCK
from ledger.controls import begin_with
from ledger.engine import writing
from schemas.actions import Mode
from service.cli.main import main
from tests.contract.source_rig import answer, sqlite_ledger, tell_the_truth
from tests.sandbox.sandbox_rig import PASSWORD, USERNAME, Running, running

OURS = "http://127.0.0.1:9"  # nothing listens there
PUBLIC = "https://bell.example.org"
HOOKS = "/api/sys/webhooks"
MEMBERS, COMPLETIONS, FOREIGN = 1_416_050_000, 1_416_050_001, 1_416_050_002
LOCATION = 1_416_000_001
HURRY = "1000/second;100000/hour"


class Terminal(io.StringIO):
    """What an operator types at a terminal."""

    def isatty(self) -> bool:
        return True


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it said."""

    returncode: int
    stdout: str
    stderr: str


@dataclass
class Desk:
    """Where commands are given, over one ledger."""

    sandbox: Running
    folder: Path
    said: pytest.CaptureFixture[str]

    def run(self, *words: str, stdin: io.StringIO | None = None, **settings: str) -> Done:
        """Give the command inside this program: another one for each would take its time."""
        environment = {
            "COURSEBELL_DATA_DIR": str(self.folder),
            "COURSEBELL_DATABASE_URL": f"sqlite:///{self.folder / 'source.db'}",
            "COURSEBELL_CHECK_EVERY_S": "0",  # otherwise the baseline has to have ended
            "COURSEBELL_NEXUDUS_URL": self.sandbox.addresses["api"],
            "COURSEBELL_NEXUDUS_USERNAME": USERNAME,
            "COURSEBELL_NEXUDUS_PASSWORD": PASSWORD,
            "COURSEBELL_NEXUDUS_LIMITS": HURRY,
            "COURSEBELL_PUBLIC_URL": OURS,
            **settings,
        }
        with pytest.MonkeyPatch.context() as patch:
            for name in [name for name in os.environ if name.startswith("COURSEBELL_")]:
                patch.delenv(name)
            for name, text in environment.items():
                patch.setenv(name, text)
            patch.setattr(sys, "argv", ["coursebell", "hooks", *words])
            patch.setattr(sys, "stdin", stdin or io.StringIO())
            with pytest.raises(SystemExit) as ended:
                main()
        said = self.said.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        return Done(code, said.out, said.err)

    def change(self, record_id: int, **fields: object) -> None:
        self.sandbox.post(
            "/sandbox/change", entity="WebHook", id=record_id, fields=fields, deliver=False
        )

    def hook(self, record_id: int) -> dict[str, Any]:
        found: dict[str, Any] = self.sandbox.get(f"{HOOKS}/{record_id}").json()
        return found

    def written(self) -> int:
        count = self.sandbox.get("/sandbox/reads").json()["writes"].get(HOOKS, 0)
        assert isinstance(count, int)
        return count

    @contextmanager
    def misbehaving(self, switch: str, **parameters: object) -> Iterator[None]:
        self.sandbox.post("/sandbox/misbehaviours", name=switch, **parameters)
        try:
            yield
        finally:
            address = self.sandbox.addresses["api"]
            self.sandbox.web.delete(f"{address}/sandbox/misbehaviours", timeout=10)


@pytest.fixture(scope="module")
def stand_in() -> Iterator[Running]:
    sign_in = ("--username", USERNAME, "--password", PASSWORD)
    with running("--deliver-to", OURS, "--retry-after", "3600", *sign_in) as sandbox:
        yield sandbox


@pytest.fixture
def desk(stand_in: Running, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Desk]:
    logging_as_it_was = structlog.get_config()
    stand_in.post("/sandbox/reset")
    stand_in.sign_in()
    with sqlite_ledger(tmp_path) as engine:
        with writing(engine) as connection:
            begin_with(connection, Mode.OBSERVE, SYSTEM_CLOCK.now(), SYSTEM_CLOCK.new_id())
        yield Desk(stand_in, tmp_path, capsys)
    structlog.configure(**logging_as_it_was)
    tell_the_truth(stand_in)


def test_the_list_shows_our_webhooks_and_exits_with_1_if_one_is_off(desk: Desk) -> None:
    done = desk.run("list")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [line.split()[:2] for line in lines[:2]] == [
        [str(MEMBERS), "on"],
        [str(COMPLETIONS), "on"],
    ]
    assert lines[2] == "Webhooks that call other addresses: 1."
    assert "is about courses" in lines[3]
    desk.change(MEMBERS, Active=False, ErrorCount=10)
    with desk.misbehaving("course-actions"):
        done = desk.run("list", "--json")
    assert done.returncode == 1
    said = json.loads(done.stdout)
    assert said.keys() == {"webhooks", "others", "unread", "course_actions"}
    by_id = {hook["id"]: hook for hook in said["webhooks"]}
    assert (by_id[MEMBERS]["state"], by_id[MEMBERS]["failures_in_a_row"]) == ("off", 10)
    assert said["course_actions"] == ["CourseMemberCreate", "CourseCompletedLessonCreate"]
    assert "127.0.0.1:9" not in done.stdout


def test_enabling_a_webhook_requests_missed_changes(desk: Desk) -> None:
    desk.change(MEMBERS, Active=False, Description="Kept")
    asked = desk.run("enable", str(MEMBERS))
    assert asked.returncode == 3, "there is no terminal"
    assert f"needs --yes: coursebell hooks enable {MEMBERS} --yes\n" in asked.stderr
    refused = desk.run("enable", str(MEMBERS), stdin=Terminal("n\n"))
    assert refused.returncode == 1, "the answer was no"
    assert desk.written() == 0
    desk.sandbox.enrol("Joël", "Finance", deliver=False)
    done = desk.run("enable", str(MEMBERS), "--yes")
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == f"Webhook {MEMBERS} is on again."
    assert second.endswith(": 1 records.")
    hook = desk.hook(MEMBERS)
    assert (hook["Active"], hook["Description"]) == (True, "Kept")
    again = desk.run("enable", str(MEMBERS), "--yes", "--json")
    assert json.loads(again.stdout)["came"] == "already"
    assert desk.written() == 1


@pytest.mark.parametrize(
    ("record_id", "sentence"), [(FOREIGN, "was not changed"), (7, "Nexudus has no webhook 7")]
)
def test_a_webhook_that_does_not_call_us_is_never_enabled(
    desk: Desk, record_id: int, sentence: str
) -> None:
    desk.change(FOREIGN, Active=False)
    done = desk.run("enable", str(record_id), "--yes")
    assert done.returncode == 1
    assert sentence in done.stderr
    assert desk.written() == 0


def test_a_missing_role_is_named_and_an_outage_exits_with_4(desk: Desk) -> None:
    desk.change(MEMBERS, Active=False)
    with desk.misbehaving("missing-right", entity="WebHook", way="edit"):
        done = desk.run("enable", str(MEMBERS), "--yes")
    assert done.returncode == 1
    assert "needs the role WebHook-Edit" in done.stderr
    assert ".." not in done.stderr
    answer(desk.sandbox, HOOKS, 503)
    done = desk.run("list")
    assert (done.returncode, done.stdout) == (4, "")
    assert "Nexudus answered 503" in done.stderr


def test_a_course_webhook_is_registered_once_with_an_address_that_names_its_kind(
    desk: Desk,
) -> None:
    words = ("register", "--location", str(LOCATION))
    none_there = desk.run(*words, COURSEBELL_PUBLIC_URL=PUBLIC)
    assert none_there.returncode == 1
    assert "no webhooks about courses" in none_there.stderr
    with desk.misbehaving("course-actions"):
        which = desk.run(*words, COURSEBELL_PUBLIC_URL=PUBLIC)
        assert which.returncode == 2
        named = (*words, "--action", "coursemembercreate", "--json")
        made = json.loads(desk.run(*named, COURSEBELL_PUBLIC_URL=PUBLIC).stdout)
        assert made["is_new"]
        again = json.loads(desk.run(*named, COURSEBELL_PUBLIC_URL=PUBLIC).stdout)
    assert again == {**made, "is_new": False}
    hook = desk.hook(made["id"])
    assert hook["URL"] == f"{PUBLIC}/hooks/nexudus?resource=CourseMember"
    assert (hook["Active"], hook["BusinessId"]) == (True, LOCATION)
    assert desk.written() == 1


def test_another_action_must_be_named_and_is_reported_as_not_followed(
    desk: Desk,
) -> None:
    words = ("register", "--location", str(LOCATION), "--action")
    done = desk.run(*words, "2", COURSEBELL_PUBLIC_URL=PUBLIC)
    assert done.returncode == 0, done.stderr
    assert "CoworkerUpdate" in done.stdout
    assert "not about courses" in done.stdout
    assert desk.run(*words, "Nonsense", COURSEBELL_PUBLIC_URL=PUBLIC).returncode == 2
    unknown = desk.run(
        "register", "--location", "77", "--action", "2", COURSEBELL_PUBLIC_URL=PUBLIC
    )
    assert unknown.returncode == 1
    assert "BusinessId: There is no such location" in unknown.stderr
    assert ".." not in unknown.stderr
    with desk.misbehaving("missing-right", entity="WebHook", way="create"):
        refused = desk.run(*words, "3", COURSEBELL_PUBLIC_URL=PUBLIC)
    assert refused.returncode == 1
    assert "needs the role WebHook-Create" in refused.stderr


@pytest.mark.parametrize("address", [OURS, "https://127.0.0.1", "http://bell.example.org"])
def test_no_webhook_is_registered_for_an_address_that_nexudus_cannot_call_safely(
    desk: Desk, address: str
) -> None:
    words = ("register", "--location", str(LOCATION), "--action", "2")
    done = desk.run(*words, COURSEBELL_PUBLIC_URL=address)
    assert done.returncode == 2
    assert "COURSEBELL_PUBLIC_URL" in done.stderr
    assert desk.written() == 0
