"""`coursebell demo`: plays a short course story with a stand-in Nexudus and prints the emails."""

import base64
import json
import os
import shlex
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from schemas.errors import CoursebellError
from schemas.settings import PLATFORM_NAMES, PREFIX
from service.cli.common import command_clock, stop_on_signals
from service.cli.demo_history import WEEK, play_week
from service.cli.demo_reports import begin_reports, plan_reports_now, zone_by_day
from service.cli.demo_story import DemoStage, ask, first_address, play
from service.cli.migrate import prepare_ledger
from service.cli.up import STOP_ORDER, broker_follower, running_broker, start_programs
from service.cli.user import first_account_lines
from workers.broker import BrokerUrlFile
from workers.environment import load
from workers.local.programs import last_lines, python_program
from workers.local.server import RunningBroker, free_port
from workers.local.supervisor import ChildCommand, Supervisor

_PATIENCE_S = 60.0

RULES = Path(__file__).parent / "demo-rules.yaml"
_PEOPLE = Path(__file__).parent / "demo-people.yaml"


class DemoError(CoursebellError):
    """Raised when a part of the demo did not start in time."""


@click.command()
@click.option("--stay/--no-stay", default=True, help="Keep running after the story until Ctrl-C.")
@click.option(
    "--week/--no-week", default=True, help="Let members study in the week before the story."
)
def demo(*, stay: bool, week: bool) -> None:
    """Play a short course story and show the emails it causes."""
    stop = stop_on_signals()
    with tempfile.TemporaryDirectory(prefix="coursebell-demo-") as name:
        folder = Path(name)
        environment = demo_environment(folder)
        settings = load(environment)
        address = BrokerUrlFile(folder)
        click.echo(
            "Starting Coursebell, a stand-in for Nexudus and a mailbox, which takes seconds."
        )
        with (
            running_broker(settings, address, click.echo) as broker,
            Supervisor(lambda line: click.echo(line, err=True)) as supervisor,
        ):
            prepare_ledger(settings, command_clock().now() - WEEK)
            begin_reports(settings)
            stage = start_stage(supervisor, broker, environment, stop, has_week=week)
            if stage is not None:
                click.echo(f"The stand-in Nexudus:        {stage.page}")
                click.echo(f"Its mailbox with the emails: {stage.mailbox}")
                links = first_account_lines(settings)
                for line in links:
                    click.echo(line)
                play(stage, click.echo, stop, partial(plan_reports_now, settings, broker))
            if stage is not None and stay and not stop.is_set():
                _print_hints(write_script(folder, environment), first_address(stage))
                click.echo("\nThe operator's pages begin with Today.")
                for line in links:
                    click.echo(line)
                click.echo(f"\nStill running: act on {stage.page} and watch. Ctrl-C stops it.")
                follow = broker_follower(supervisor, broker, address, environment, log_dir=folder)
                supervisor.finish_startup()
                supervisor.wait(stop, [follow])
            if stop.is_set():
                click.echo("Stopping.")
            supervisor.stop((*STOP_ORDER, "sandbox"))
    click.echo("Stopped. Nothing is left running.")


def _print_hints(script: Path, address: str) -> None:
    start = shlex.join(["sh", str(script)])
    click.echo("\nTo inspect it from another shell:")
    for words in ("status", "tail", f"why {shlex.quote(address)}", "show 1"):
        click.echo(f"  {start} {words}")
    click.echo(f"For `coursebell` in what these print, also use: {start}")


def write_script(folder: Path, environment: Mapping[str, str]) -> Path:
    """Write a shell script into the folder that runs any command on this demo; return its path.

    The script has every setting of the demo and drops those of the shell that runs it, so that a
    command cannot reach another Nexudus, mail server or ledger by accident.
    """
    program = Path(sys.argv[0]).absolute()
    ours = [str(program)] if program.name == "coursebell" else python_program("service")
    settings = {name: text for name, text in environment.items() if name.startswith(PREFIX)}
    lines = (
        "# Runs a command on the demo, with its settings instead of yours.",
        f"unset {' '.join(PLATFORM_NAMES)} $(env | sed -n 's/^\\({PREFIX}[A-Z_]*\\)=.*/\\1/p')",
        *(f"export {name}={shlex.quote(text)}" for name, text in settings.items()),
        f'exec {shlex.join(ours)} "$@"',
    )
    script = folder / "coursebell"
    script.touch(mode=0o600)
    script.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return script


def demo_environment(folder: Path) -> dict[str, str]:
    """Return the environment of the demo's processes, without the user's own settings."""
    clock = command_clock()
    own = {
        name: text
        for name, text in os.environ.items()
        if not name.startswith(PREFIX) and name not in PLATFORM_NAMES
    }
    listen = f"127.0.0.1:{free_port()}"
    environment = own | {
        "COURSEBELL_DATA_DIR": str(folder),
        "COURSEBELL_NEXUDUS_URL": f"http://127.0.0.1:{free_port()}",
        "COURSEBELL_NEXUDUS_USERNAME": "demo@example.org",
        "COURSEBELL_NEXUDUS_PASSWORD": clock.random_bytes(12).hex(),
        "COURSEBELL_HOOK_SECRETS": clock.random_bytes(24).hex(),
        "COURSEBELL_SMTP_URL": f"smtp://127.0.0.1:{free_port()}?tls=none",
        "COURSEBELL_MAIL_FROM": "Noor de Vries, Werkhof Coworking <courses@example.org>",
        "COURSEBELL_COURSE_URL": "https://werkhof.example/courses/{course_id}",
        "COURSEBELL_LESSON_URL": (
            "https://werkhof.example/courses/{course_id}/lessons/{lesson_unique_id}"
        ),
        "COURSEBELL_LISTEN": listen,
        "COURSEBELL_PUBLIC_URL": f"http://{listen}",
        "COURSEBELL_OPERATOR_EMAIL": "operator@werkhof.example",
        "COURSEBELL_ZONE": zone_by_day(clock.now()),
        "COURSEBELL_SPACE_ADDRESS": "Speicherstraße 4, 20457 Hamburg",
        "COURSEBELL_MODE": "sending",
        "COURSEBELL_RULES": str(_rules(folder)),
        "COURSEBELL_ENDPOINT_NETWORKS": "127.0.0.1",
    }
    environment["COURSEBELL_ENDPOINTS"] = str(_endpoints(folder, environment))
    return environment


def _endpoints(folder: Path, environment: Mapping[str, str]) -> Path:
    """Return the demo's endpoints: those of the stand-in, which signs with a secret of its own."""
    at = f"{environment['COURSEBELL_NEXUDUS_URL']}/sandbox/endpoints"
    key = environment["COURSEBELL_HOOK_SECRETS"].encode()[:64]
    secret = f"whsec_{base64.b64encode(key).decode()}"
    text = (
        f"crm:\n  url: {at}/standard\n  secrets: {secret}\n"
        f"team-chat:\n  url: {at}/slack\n  shape: slack\n  include: name\n"
    )
    file = folder / "endpoints.yaml"
    file.touch(mode=0o600)
    file.write_text(text, encoding="utf-8")
    return file


def _rules(folder: Path) -> Path:
    """Return the demo's rules; without a certificate where the package that makes it is missing."""
    if find_spec("typst") is not None:
        return RULES
    plain = folder / "rules.yaml"
    text = RULES.read_text(encoding="utf-8").replace("    certificate: true\n", "")
    plain.write_text(text, encoding="utf-8")
    return plain


def start_stage(
    supervisor: Supervisor,
    broker: RunningBroker,
    environment: Mapping[str, str],
    stop: threading.Event,
    *,
    has_week: bool,
) -> DemoStage | None:
    """Start the stand-in, play the week before, start our processes, and wait until they are ready.

    Returns None as soon as `stop` is set; the supervisor then ends what was started.

    Raises:
        DemoError: a part was not ready in time.
    """
    if stop.is_set():
        return None
    web = f"http://{environment['COURSEBELL_LISTEN']}"
    folder = Path(environment["COURSEBELL_DATA_DIR"])
    log = folder / "sandbox.log"
    supervisor.start(_sandbox_command(environment, web, log))
    addresses = _addresses(supervisor, log, stop)
    if addresses is None:
        return None
    stage = DemoStage(addresses["page"], addresses["mailbox"], addresses["api"])
    if has_week:
        click.echo("In the week before, members study; that takes seconds too.")
        play_week(load(environment), partial(ask, stage), command_clock().now(), stop)
    if stop.is_set():
        return None
    start_programs(supervisor, broker, environment, log_dir=folder)
    return stage if _until_ready(f"{web}/readyz", stop) else None


def _sandbox_command(environment: Mapping[str, str], web: str, log: Path) -> ChildCommand:
    api_port = environment["COURSEBELL_NEXUDUS_URL"].rpartition(":")[2]
    smtp_port = environment["COURSEBELL_SMTP_URL"].rpartition(":")[2].partition("?")[0]
    ports = ("--port", api_port, "--smtp-port", smtp_port, "--seed", str(_PEOPLE))
    # Not as options, since other users of the machine can read those.
    secret_words = {
        "SANDBOX_SECRET": environment["COURSEBELL_HOOK_SECRETS"],
        "SANDBOX_USERNAME": environment["COURSEBELL_NEXUDUS_USERNAME"],
        "SANDBOX_PASSWORD": environment["COURSEBELL_NEXUDUS_PASSWORD"],
    }
    argv = python_program("sandbox", "--deliver-to", web, *ports)
    return ChildCommand("sandbox", argv, {**environment, **secret_words}, log)


def _addresses(supervisor: Supervisor, log: Path, stop: threading.Event) -> dict[str, Any] | None:
    for _ in _patiently(stop):
        is_alive = "sandbox" in supervisor.pids()
        text = log.read_text(encoding="utf-8") if log.exists() else ""
        for line in text.splitlines(keepends=True):
            if line.startswith("{") and line.endswith("\n"):
                found: dict[str, Any] = json.loads(line)
                return found
        if not is_alive:
            raise DemoError(f"The stand-in Nexudus did not start:\n{last_lines(log)}")
    if stop.is_set():
        return None
    raise DemoError(f"The stand-in Nexudus was not ready within {_PATIENCE_S:g} s.")


def _until_ready(url: str, stop: threading.Event) -> bool:
    """Wait until the URL answers 200; return False if `stop` was set before."""
    problem = ""
    for _ in _patiently(stop):
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own loopback
                answer.read()
                return True
        except urllib.error.HTTPError as error:
            with error:
                problem = error.read().decode()
        except OSError as error:
            problem = type(error).__name__
    if stop.is_set():
        return False
    raise DemoError(f"Coursebell did not become ready within {_PATIENCE_S:g} s: {problem}")


def _patiently(stop: threading.Event) -> Iterator[None]:
    clock = command_clock()
    deadline = clock.monotonic() + _PATIENCE_S
    while not stop.is_set() and clock.monotonic() < deadline:
        yield
        stop.wait(0.1)
