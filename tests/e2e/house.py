"""The whole service as real processes, with the stand-in."""

import contextlib
import os
import signal
import sqlite3
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests

from ledger.clock import SYSTEM_CLOCK
from ledger.controls import begin_with
from ledger.engine import open_engine, writing
from sandbox.records import MARKED_SECRET
from schemas.actions import Mode
from tests.sandbox.sandbox_rig import Running, running
from tests.servers import forking
from tests.servers.forking import Program
from tests.servers.programs import wait_until
from tests.servers.ready_ledgers import sqlite_copy
from workers.broker import choose_broker
from workers.local.programs import RestartPolicy
from workers.local.server import RunningBroker, free_port, start_broker

HOOK_SECRET = "an-ascii-hook-secret"
RELAY_TOKEN = "a-relay-token"
MAIL_SECRET = "the-password-of-postmark-in-tests"
RULES = Path(__file__).parent / "rules.yaml"
LEASE_S = 3
NO_LIMITS = "1000/second;100000/hour"  # requests are counted; none has to wait
NEVER_KEPT = MARKED_SECRET
_PATIENCE_S = 20.0
_BROKER_PACE = RestartPolicy(first_delay_s=0.1, longest_delay_s=0.1)


@dataclass(slots=True)
class House:
    """Our processes and where they are. Nothing outlives `living`."""

    folder: Path
    environment: dict[str, str]
    sandbox: Running
    broker: RunningBroker
    processes: dict[str, Program] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://{self.environment['COURSEBELL_LISTEN']}"

    def start(self, *names: str) -> None:
        for name in names:
            with (self.folder / f"{name}.log").open("ab") as log:
                self.processes[name] = forking.start(
                    "service", name, env=self.environment, stdout=log, stderr=log
                )

    def end(self, name: str, number: signal.Signals = signal.SIGTERM) -> None:
        """End one process; with SIGKILL its children go too, as when a machine kills it."""
        process = self.processes.pop(name)
        with contextlib.suppress(ProcessLookupError):
            if number == signal.SIGKILL:
                os.killpg(process.pid, number)
            else:
                process.send_signal(number)
        process.wait(timeout=_PATIENCE_S)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return forking.run("service", *words, env=self.environment, timeout=60)

    def ready(self) -> bool:
        try:
            return requests.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except requests.RequestException:
            return False

    def post(
        self, path: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> requests.Response:
        return requests.post(f"{self.url}{path}", data=body, headers=headers, timeout=_PATIENCE_S)

    def relay(self, *notifications: dict[str, Any]) -> requests.Response:
        return requests.post(
            f"{self.url}/hooks/relay",
            json=list(notifications),
            headers={"Authorization": f"Bearer {RELAY_TOKEN}"},
            timeout=_PATIENCE_S,
        )

    def mails(self, member: str = "") -> list[dict[str, Any]]:
        found = self.sandbox.get("/sandbox/mails").json()
        return [mail for mail in found if member in mail["to"]]

    def subjects(self, member: str) -> list[str]:
        return [mail["subject"] for mail in self.mails(member)]

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """Look into the ledger's file from outside."""
        path = self.environment["COURSEBELL_DATABASE_URL"].removeprefix("sqlite:///")
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as ledger:
            return ledger.execute(statement).fetchall()

    def is_idle(self) -> bool:
        """Return whether everything was delivered, read, decided and performed."""
        hooks = self.sandbox.get("/sandbox/deliveries").json()["hooks"]
        busy_lookups = self.rows(
            "SELECT 1 FROM lookups WHERE state IN ('due', 'leased', 'waiting') LIMIT 1"
        )
        busy_actions = self.rows(
            "SELECT 1 FROM actions WHERE state IN ('planned', 'waiting', 'performing') LIMIT 1"
        )
        are_delivered = all(hook["waiting"] == 0 for hook in hooks)
        return are_delivered and not busy_lookups and not busy_actions

    def wait_idle(self) -> None:
        wait_until(self.is_idle, "everything delivered, read, decided and performed")

    def wait_mails(self, member: str, number: int) -> None:
        wait_until(
            lambda: len(self.mails(member)) >= number, f"{number} emails to {member}; {self.tail()}"
        )

    def logs(self) -> str:
        return "".join(path.read_text() for path in sorted(self.folder.glob("*.log")))

    def tail(self) -> str:
        return self.logs()[-1500:]


@contextlib.contextmanager
def living(folder: Path, *, seed: str = "", **settings: str) -> Iterator[House]:
    """Give a house whose ledger is ready and in which nothing runs yet but broker and stand-in.

    `seed` is a file with what the stand-in begins with.
    """
    web_port = free_port()
    choice = choose_broker(None, folder)
    sign_in = ("--username", "api@example.org", "--password", "correct horse")
    deliver = ("--deliver-to", f"http://127.0.0.1:{web_port}", "--retry-after", "0.05")
    begin_with_seed = ("--seed", seed) if seed else ()
    with (
        start_broker(choice, folder, pace=_BROKER_PACE) as broker,
        running(*deliver, *sign_in, "--secret", HOOK_SECRET, *begin_with_seed) as sandbox,
    ):
        environment = {
            name: text for name, text in os.environ.items() if not name.startswith("COURSEBELL_")
        } | {
            "COURSEBELL_DATA_DIR": str(folder),
            "COURSEBELL_DATABASE_URL": f"sqlite:///{folder}/ledger.db",
            "COURSEBELL_BROKER_URL": broker.url,
            "COURSEBELL_NEXUDUS_URL": sandbox.addresses["api"],
            "COURSEBELL_NEXUDUS_USERNAME": sign_in[1],
            "COURSEBELL_NEXUDUS_PASSWORD": sign_in[3],
            "COURSEBELL_HOOK_SECRETS": HOOK_SECRET,
            "COURSEBELL_RELAY_TOKENS": RELAY_TOKEN,
            "COURSEBELL_POSTMARK_SECRET": MAIL_SECRET,
            "COURSEBELL_SMTP_URL": sandbox.addresses["smtp"],
            "COURSEBELL_MAIL_FROM": "Rita, Harbour Works <rita@example.org>",
            "COURSEBELL_LISTEN": f"127.0.0.1:{web_port}",
            "COURSEBELL_MODE": "sending",
            "COURSEBELL_CHECK_EVERY_S": "0",  # notifications are tested separately from polling
            "COURSEBELL_NEXUDUS_LIMITS": NO_LIMITS,
            "COURSEBELL_RULES": str(RULES),
            "COURSEBELL_LEASE_S": str(LEASE_S),
            **settings,
        }
        house = House(folder, environment, sandbox, broker)
        _make_ledger(house)
        try:
            yield house
        finally:
            for name in list(house.processes):
                house.end(name, signal.SIGKILL)


def _make_ledger(house: House) -> None:
    url = house.environment["COURSEBELL_DATABASE_URL"]
    if not url.startswith("sqlite"):
        made = house.run("migrate")
        assert made.returncode == 0, made.stderr
        return
    # As `coursebell migrate` would; that command has tests of its own.
    engine = open_engine(sqlite_copy(Path(url.removeprefix("sqlite:///"))))
    with writing(engine) as connection:
        mode = Mode(house.environment["COURSEBELL_MODE"])
        # The source's times are whole seconds: what happens in this one is not from before.
        begin_with(
            connection, mode, datetime.now(UTC).replace(microsecond=0), SYSTEM_CLOCK.new_id()
        )
    engine.dispose()


@contextlib.contextmanager
def open_house(folder: Path, **settings: str) -> Iterator[House]:
    """Give a house in which everything runs."""
    with living(folder, **settings) as house:
        house.start("serve", "worker", "clock")
        wait_until(house.ready, "the service ready")
        yield house
