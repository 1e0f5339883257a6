"""The command line as processes: `up`, `demo`, wrong settings, nothing left behind."""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import psutil
import pytest
import requests

from ledger.engine import open_engine, writing
from ledger.events import note_reason, store_events
from ledger.migrate import migrate
from ledger.outbox import begin_action, settle_action
from ledger.people import accept_person
from schemas.actions import Outcome
from schemas.errors import ConfigurationError
from schemas.reasons import EXPLANATIONS, Reason
from schemas.records import Coworker
from schemas.settings import SETTINGS
from service.cli.migrate import check_ledger_folder, prepare_ledger
from service.cli.up import opening_lines
from tests.contract.ledger_rig import ANA, LEASE_S, LESSON, NOW, at, lesson_done, planned
from tests.e2e.house import House, living
from tests.servers import forking
from tests.servers.forking import Program
from tests.servers.programs import is_alive, wait_until
from workers.broker import choose_broker
from workers.environment import load
from workers.local.server import free_port

HUSH = "a-password"
WEAK_TOKEN = "COURSEBELL_RELAY_TOKENS: it has fewer than 16 characters"
TOKEN = "a-token-of-some-length"
RECORDED = Path(__file__).with_name("recorded_program.py")


@contextlib.contextmanager
def command(*words: str, log: Path, environment: dict[str, str] | None = None) -> Iterator[Program]:
    """Start a command, and end it with Ctrl-C if it still runs."""
    stated = {**_without_ours(os.environ), **(environment or {})}
    with (
        log.open("wb") as output,
        forking.start("service", *words, env=stated, stdout=output, stderr=output) as process,
    ):
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.wait(timeout=60)


def test_up_runs_everything_restarts_what_dies_and_leaves_nothing_behind(tmp_path: Path) -> None:
    port = free_port()
    carried = choose_broker(None, tmp_path, search_path="").binary
    assert carried is not None
    (tmp_path / "redis-server").symlink_to(carried)
    ancient = tmp_path / "valkey-server"
    ancient.write_text("#!/bin/sh\necho 'Redis server v=2.8.17 sha=0'\n")
    ancient.chmod(0o700)
    environment = {
        "COURSEBELL_DATA_DIR": str(tmp_path / "var"),
        "COURSEBELL_LISTEN": f"127.0.0.1:{port}",
        "COURSEBELL_RELAY_TOKENS": TOKEN,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
    }
    log = tmp_path / "up.log"
    with command("up", log=log, environment=environment) as process:
        wait_until(lambda: _ready(port), "ready")
        family = psutil.Process(process.pid).children(recursive=True)
        url = f"http://127.0.0.1:{port}"
        web, worker = _child(process, "serve"), _child(process, "worker")
        _take_port_of_broker(process, tmp_path / "var", log)
        for deaths in range(1, 4):
            worker = _other_child(process, "worker", worker)
            worker.kill()
            wait_until(partial(_has_said, log, "starting again in", deaths), "its death noticed")
        assert _post(url).status_code == 202
        wait_until(lambda: "failing" in _parts(url)["worker"], "the failure reported")
        assert _child(process, "serve") == web
        assert _parts(url)["broker"] == "ok"
        family += psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    wait_until(lambda: not any(is_alive(one.pid) for one in family), "all of them gone")
    output = log.read_text()
    assert "Another program has taken the broker's port" in output
    assert (
        "worker keeps failing (3 times in a row). The last time it was ended by SIGKILL." in output
    )
    assert "\nStopping.\nworker was failing since" in output
    assert output.endswith("Stopped.\n")
    kept = {path.name.partition(".db")[0] for path in (tmp_path / "var").iterdir()}
    assert kept == {"coursebell", "last_alive", "running.lock", "secret_key", "up.lock"}
    assert f"{ancient} is not used as the broker: it is Redis 2.8" in output
    assert f"Coursebell starts its own broker, {tmp_path / 'redis-server'}, which logs to" in output
    assert "\nMode: observe; emails are written and held.\nNo mail server is set" in output
    assert "\nNext: set COURSEBELL_NEXUDUS_USERNAME" in output


def test_up_says_that_nexudus_refuses_the_sign_in_and_ctrl_c_prints_nothing_of_celery(
    tmp_path: Path,
) -> None:
    log = tmp_path / "up.log"
    wrong = {"COURSEBELL_NEXUDUS_PASSWORD": "wrong", "COURSEBELL_CHECK_EVERY_S": "60"}
    with (
        living(tmp_path, **wrong) as house,
        command("up", log=log, environment=house.environment) as process,
    ):
        refused = "\nNexudus refuses the sign-in, so nothing can be read. Check COURSEBELL_NEXUDUS_"
        wait_until(lambda: refused in log.read_text(), "the refusal in a sentence")
        wait_until(lambda: "! check: " in house.run("status").stdout, "the refusal in the status")
        status = house.run("status").stdout
        assert "first poll under way" not in status
        assert status.count("check: the poll of") == 1
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
    output = log.read_text()
    assert output.count(refused) == 1
    assert output.endswith("Stopped.\n")
    assert "Ctrl+C" not in output
    assert "MainProcess" not in output


def _child(process: Program, name: str) -> psutil.Process | None:
    """Return the child of `up` that runs this program, once its start has come so far."""
    for one in psutil.Process(process.pid).children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if name in one.cmdline():
                return one
    return None


def _other_child(process: Program, name: str, before: psutil.Process | None) -> psutil.Process:
    """Wait until `up` has replaced its child of this name, and return the new one."""
    wait_until(lambda: _child(process, name) not in {None, before}, f"another {name}")
    found = _child(process, name)
    assert found is not None
    return found


def _has_said(log: Path, words: str, times: int) -> bool:
    return log.read_text().lower().count(words) == times


def _take_port_of_broker(process: Program, data_dir: Path, log: Path) -> None:
    """Kill the broker, and listen on its port until `up` has noticed."""
    url = (data_dir / "broker.url").read_text()
    port = int(url.rpartition(":")[2].partition("/")[0])
    [server] = [
        one
        for one in psutil.Process(process.pid).children()
        if f":{port}" in " ".join(one.cmdline())
    ]
    server.kill()
    with contextlib.ExitStack() as stack:
        wait_until(lambda: _listens(stack, port), "its port taken")
        wait_until(lambda: "The broker runs again." in log.read_text(), "another broker")
    assert (data_dir / "broker.url").read_text() != url


def _listens(stack: contextlib.ExitStack, port: int) -> bool:
    with contextlib.suppress(OSError):
        stack.enter_context(socket.create_server(("127.0.0.1", port)))
        return True
    return False


def _post(url: str) -> requests.Response:
    return requests.post(
        f"{url}/hooks/relay",
        json=[{"entity": "course_member", "id": 5}],
        headers={"Authorization": f"Bearer {TOKEN}"},
        timeout=10,
    )


def _parts(url: str) -> dict[str, str]:
    parts: dict[str, str] = requests.get(f"{url}/readyz", timeout=10).json()["parts"]
    return parts


def test_demo_plays_its_story_and_ctrl_c_stops_every_process(tmp_path: Path) -> None:
    log = tmp_path / "demo.log"
    # What the shell has for something else reaches neither the demo nor the lines it prints.
    elsewhere = {
        "COURSEBELL_NEXUDUS_URL": "https://nexudus.invalid",
        "COURSEBELL_DATABASE_URL": f"sqlite:///{tmp_path}/elsewhere.db",
        "REDIS_URL": f"redis://127.0.0.1:{free_port()}",
    }
    with command("demo", log=log, environment=elsewhere) as process:
        wait_until(lambda: "Still running" in log.read_text(), "the end of the demo")
        _check_lines_to_paste(log.read_text(), tmp_path, elsewhere)
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) >= 5
        spoken_aloud = {word for one in family for word in one.cmdline()}
        assert not spoken_aloud & {"--secret", "--password", *_sandbox_secrets(family)}
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
    output = log.read_text()
    for subject in (
        "You're in: Freelance Finance",
        "3 lessons done in Freelance Finance",
        "You finished “Freelance Finance”",
        "Ya tienes plaza: Ceramics: Feuer & Glasur <Grundkurs>",
        "أصبح لك مكان في دورة «الخط العربي للمبتدئين»",
        "Your courses last week",
        "Coursebell: 30 emails last week",
    ):
        assert output.count(f"Subject: {subject}") == 1
    assert output.startswith("Starting Coursebell, a stand-in for Nexudus and a mailbox")
    assert "https://werkhof.example/courses/" in output
    wait_until(lambda: not any(is_alive(one.pid) for one in family), "all of them gone")


@pytest.mark.parametrize("line", ["\n", "", " enrols in "], ids=["first", "starting", "story"])
def test_ctrl_c_ends_the_demo_before_its_next_step(tmp_path: Path, line: str) -> None:
    log = tmp_path / "demo.log"
    started_for = {"STARTED_FOR": str(tmp_path)}
    with command("demo", "--no-week", log=log, environment=started_for) as process:
        if line:
            wait_until(lambda: line in log.read_text(), "the line printed")
        else:
            wait_until(lambda: "clock" in _words_of_children(process.pid), "the last one started")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
    before, _, after = log.read_text().partition("Stopping.\n")
    assert after == "Stopped. Nothing is left running.\n"
    later = {"Subject:", "They finish", "Still running", "Traceback"}
    if line != " enrols in ":
        later |= {"The stand-in Nexudus", " enrols in "}
    assert [words for words in later if words in before] == []
    assert _started_for(str(tmp_path)) == []


def test_ctrl_c_during_the_import_ends_it_without_output(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text(
        "import pathlib, time\n"
        "pathlib.Path(__file__).with_suffix('.loading').touch()\n"
        "time.sleep(60)\n"
    )
    log = tmp_path / "loading.log"
    with command("demo", log=log, environment={"PYTHONPATH": str(tmp_path)}) as process:
        wait_until((tmp_path / "click.loading").exists, "the first import")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
    assert log.read_text() == ""


def test_wrong_settings_are_all_named_and_nothing_starts(tmp_path: Path) -> None:
    environment = {
        "COURSEBELL_DATA_DIR": str(tmp_path / "var"),
        "COURSEBELL_DATABASE_URL": "mysql://nobody:hush@example.org/x",
        "COURSEBELL_LISTEN": "somewhere",
        "COURSEBELL_MODUS": "sending",
    }
    for words in (("up",), ("serve",), ("worker",), ("clock",), ("migrate",), ("status",)):
        log = tmp_path / "wrong.log"
        with command(*words, log=log, environment=environment) as process:
            assert process.wait(timeout=60) == 2
        said = log.read_text()
        for name in ("COURSEBELL_DATABASE_URL", "COURSEBELL_LISTEN", "COURSEBELL_MODUS"):
            assert name in said
        assert "hush" not in said
        assert "Traceback" not in said
        assert "config show" in said
        assert "Nothing was started" not in said
    assert not (tmp_path / "var").exists()


def test_config_show_lists_every_setting_and_marks_those_that_cannot_be_used(
    tmp_path: Path,
) -> None:
    rules = tmp_path / "mine.yaml"
    rules.write_text("version: 1\nrules:\n  - name: welcome\n    evnt: enrolled\n")
    environment = {
        "COURSEBELL_DATABASE_URL": f"mysql://nobody:{HUSH}@example.org/x",
        "COURSEBELL_NEXUDUS_PASSWORD_FILE": str(tmp_path / "none"),
        "COURSEBELL_MODUS": "sending",
        "COURSEBELL_ZONE": "Europe/Berlin",
        "COURSEBELL_RULES": str(rules),
        "PORT": "many",
    }
    log = tmp_path / "config.log"
    with command("config", "show", log=log, environment=environment) as process:
        assert process.wait(timeout=60) == 2
    shown = {line.split()[0]: line for line in log.read_text().splitlines() if line[0] != "!"}
    assert len(shown) == len(SETTINGS)
    assert shown["COURSEBELL_ZONE"].endswith("  Europe/Berlin  (environment)")
    for name in ("DATABASE_URL", "NEXUDUS_PASSWORD", "RULES"):
        assert shown[f"COURSEBELL_{name}"].endswith("  cannot be used  (see below)")
    for mistake in (
        "COURSEBELL_DATABASE_URL: ",
        "COURSEBELL_NEXUDUS_PASSWORD_FILE: ",
        "COURSEBELL_MODUS: there is no such setting",
        "PORT: ",
        f"{rules}:4:5: rules[0].evnt",
    ):
        assert f"! {mistake}" in log.read_text()
    assert HUSH not in log.read_text()
    environment = {"COURSEBELL_RULES": str(tmp_path / "none.yaml")}
    with command("config", "show", "--json", log=log, environment=environment) as process:
        assert process.wait(timeout=60) == 2
    document, _, mistakes = log.read_text().partition("\n]\n")
    unread = [line["name"] for line in json.loads(f"{document}]") if not line["read"]]
    assert unread == ["COURSEBELL_RULES"]
    assert mistakes.startswith("! COURSEBELL_RULES: cannot read")


def test_the_default_data_folder_is_refused_if_it_holds_only_files_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "var" / "lib").mkdir(parents=True)
    with pytest.raises(
        ConfigurationError, match=f"{tmp_path}/var here, which holds files of other"
    ):
        check_ledger_folder(load({}))
    check_ledger_folder(load({"COURSEBELL_DATA_DIR": str(tmp_path / "var")}))
    (tmp_path / "var" / "secret_key").touch()
    check_ledger_folder(load({}))
    monkeypatch.chdir(tmp_path / "var" / "lib")
    check_ledger_folder(load({}))


def test_a_wrong_rules_file_is_named_with_line_and_key(tmp_path: Path) -> None:
    rules = tmp_path / "mine.yaml"
    rules.write_text("version: 1\nrules:\n  - name: welcome\n    evnt: enrolled\n")
    environment = {"COURSEBELL_DATA_DIR": str(tmp_path), "COURSEBELL_RULES": str(rules)}
    log = tmp_path / "rules.log"
    with command("up", log=log, environment=environment) as process:
        assert process.wait(timeout=60) == 2
    assert f"{rules}:4:5: rules[0].evnt" in log.read_text()


def test_an_unreachable_ledger_exits_with_a_sentence_and_4(tmp_path: Path) -> None:
    environment = {
        "COURSEBELL_DATA_DIR": str(tmp_path),
        "COURSEBELL_DATABASE_URL": f"postgresql://nobody:hush@127.0.0.1:{free_port()}/none",
    }
    log = tmp_path / "out.log"
    with command("status", log=log, environment=environment) as process:
        assert process.wait(timeout=60) == 4
    assert "Traceback" not in log.read_text()
    assert "hush" not in log.read_text()


def test_a_mistyped_command_and_email_id_are_answered_with_what_is_right(tmp_path: Path) -> None:
    log = tmp_path / "out.log"
    for words, answer in (
        (("shwo",), "No such command 'shwo'; did you mean show?"),
        (("show", "x"), "'x' is not the ID of an email, which is a number; these print IDs:"),
        (("skip", "0"), "'0' is not the ID of an email"),
    ):
        with command(*words, log=log) as process:
            assert process.wait(timeout=60) == 2
        assert answer in log.read_text()


def test_why_reports_an_unknown_person_and_status_counts(tmp_path: Path) -> None:
    with living(tmp_path) as house:
        stranger = house.run("why", "nobody@example.org")
        assert stranger.returncode == 1
        assert "Try part of their name" in stranger.stderr
        status = house.run("status")
        assert status.returncode == 1, "nothing runs, which needs attention"
        assert status.stdout.startswith("Needs attention: ")
        assert "\nsending: 0 sent" in status.stdout
        shown = _says(house, "config", "show")
        assert "set, 20 characters" in shown
        assert f"! {WEAK_TOKEN}" in shown
        doctor = json.loads(house.run("doctor", "--json").stdout)["checks"]
        assert [one["found"] for one in doctor if one["name"] == "short"] == [WEAK_TOKEN]
        assert _says(house, "tail", "--no-follow") == ""
        house.environment["COURSEBELL_RULES"] = str(tmp_path / "typo.yaml")
        (tmp_path / "typo.yaml").write_text("version: 1\nruls: []\n")
        [rules] = [
            one
            for one in json.loads(house.run("doctor", "--json").stdout)["checks"]
            if "typo.yaml:2:" in one["found"]
        ]
        assert rules["verdict"] == "problem"


def test_tail_prints_the_last_lines_with_reasons_and_ends_on_ctrl_c_without_output(
    tmp_path: Path,
) -> None:
    environment = _lived_a_little(tmp_path)
    log = tmp_path / "tail.log"
    with command("tail", "--lines", "2", log=log, environment=environment) as process:
        wait_until(lambda: log.read_text().count("\n") == 3, "Ready, and two lines")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
    ready, first, second = log.read_text().splitlines()
    assert re.fullmatch(r"Ready\. Times are in \S+\. \(Ctrl-C to stop\)", ready)
    assert first.endswith("no email: No rule acts on this [kind-off]")
    assert "Ana M." in first
    gathering = EXPLANATIONS[Reason.GATHERING].sentence
    assert second.endswith(f"Waiting: {gathering} [gathering]")


@pytest.mark.parametrize(("lines", "code", "printed"), [("-1", 2, 0), ("0", 0, 0), ("9", 0, 3)])
def test_tail_prints_as_many_lines_as_requested(
    tmp_path: Path, lines: str, code: int, printed: int
) -> None:
    environment = _lived_a_little(tmp_path)
    log = tmp_path / "tail.log"
    words = ("tail", "--no-follow", "--json", "--lines", lines)
    with command(*words, log=log, environment=environment) as process:
        assert process.wait(timeout=60) == code
    assert len([line for line in log.read_text().splitlines() if line[:1] == "{"]) == printed


def test_config_show_says_where_each_setting_came_from(tmp_path: Path) -> None:
    log = tmp_path / "config.log"
    with command("config", "show", log=log) as process:
        assert process.wait(timeout=60) == 0
    shown = {line.split()[0]: line for line in log.read_text().splitlines()}
    assert shown["COURSEBELL_ZONE"].endswith("(default)")
    with command("config", "show", "--json", log=log) as process:
        assert process.wait(timeout=60) == 0
    assert all(line["read"] for line in json.loads(log.read_text()))


def _check_lines_to_paste(output: str, folder: Path, environment: dict[str, str]) -> None:
    status, tail, why, show = [line for line in output.splitlines() if line.startswith("  sh ")]
    assert len(re.findall(r"^To open the pages, .*/welcome/\w+$", output, re.MULTILINE)) == 2
    start = status.removesuffix(" status")
    assert f"also use: {start.strip()}\n" in output
    shutil.copyfile(RECORDED, folder / "sitecustomize.py")
    connections = folder / "connections.txt"
    recorded = {"CONNECTIONS_FILE": str(connections)}
    script = Path(shlex.split(start)[1])
    # A new Python takes most of the CPU of a command: three are run as they would be pasted.
    for line, words, is_pasted in (
        (
            status,
            ("sending: 37 sent, 8 waiting, 10 not sent on purpose, 2 held", "Traceback"),
            True,
        ),
        (f"{start} held", ("too long ago to email about", "Traceback"), False),
        (f"{start} why giulia", ("Their address bounced before", "Traceback"), False),
        (f"{start} why dev.patel", ("They asked for no course emails", "Traceback"), False),
        (f"{tail} --no-follow", ("<--", "Traceback"), False),
        (why, ("You finished “Freelance Finance”", "Traceback"), False),
        (show, ("Noor de Vries, Werkhof Coworking", "not set"), False),
        (f"{start} doctor", ("No problem was found", "not set; no email"), True),
        (f"{start} backfill --since 1h --dry-run", ("known here already", "Traceback"), True),
    ):
        if is_pasted:
            stated = {**os.environ, **environment, **recorded, "PYTHONPATH": str(folder)}
            done = subprocess.run(
                ["/bin/sh", "-c", line],
                env=stated,
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )
        else:
            stated = {**_without_ours(os.environ), **_exported(script), **recorded}
            name, asked = "tests.e2e.recorded_program", shlex.split(line)[2:]
            done = forking.run(name, *asked, env=stated, timeout=60)
        # One email of the week is held, one failed, and an address does not work.
        assert done.returncode == (line == status), (line, done.stderr)
        assert words[0] in done.stdout
        assert words[1] not in done.stdout
    reached = set(connections.read_text().split())
    assert reached == {"127.0.0.1"}


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        (
            {"MODE": "sending", "SMTP_URL": f"smtp://u:{HUSH}@mail.example.org?tls=starttls"},
            [
                "Mode: sending; emails are sent.",
                "Mail server: mail.example.org:587",
                "Next: `coursebell doctor` checks Nexudus, `coursebell tail` shows what happens.",
            ],
        ),
        (
            {"SMTP_URL": "smtp://[::1]:25?tls=none", "MAIL_FROM": "a@example.org"},
            [
                "Mode: observe; emails are written and held.",
                "Mail server: [::1]:25",
                "Next: watch it with `coursebell tail`. To send: `coursebell mode sending`",
            ],
        ),
    ],
)
def test_up_ends_its_start_with_the_mode_the_mail_server_and_the_next_step(
    tmp_path: Path, stated: dict[str, str], expected: list[str]
) -> None:
    settings = load(
        {
            "COURSEBELL_DATA_DIR": str(tmp_path),
            "COURSEBELL_NEXUDUS_USERNAME": "api@example.org",
            **{f"COURSEBELL_{name}": text for name, text in stated.items()},
        }
    )
    prepare_ledger(settings)
    assert opening_lines(settings) == expected
    assert HUSH not in "".join(expected)


def _lived_a_little(folder: Path) -> dict[str, str]:
    """Make a ledger with two events and one attempt, and return the settings to read it."""
    url = f"sqlite:///{folder}/ledger.db"
    engine = open_engine(url)
    migrate(engine)
    with writing(engine) as connection:
        accept_person(connection, Coworker(ANA, NOW, None, "Ana Müller", None), NOW)
        found = [(lesson_done(LESSON + 1), None)]
        [event_id] = store_events(connection, found, at(5)).values()
        note_reason(connection, event_id, Reason.KIND_OFF)
    action = planned(engine)
    with writing(engine) as connection:
        begin_action(connection, action, at(6), lease_s=LEASE_S, events=1)
        settle_action(connection, action, Outcome.waiting(at(60), Reason.GATHERING), at(7))
    engine.dispose()
    return {"COURSEBELL_DATA_DIR": str(folder), "COURSEBELL_DATABASE_URL": url}


def _without_ours(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in environment.items() if not name.startswith("COURSEBELL_")}


def _exported(script: Path) -> dict[str, str]:
    """Return the settings that a script of the demo has."""
    lines = [shlex.split(line) for line in script.read_text(encoding="utf-8").splitlines()]
    return dict(words[1].split("=", 1) for words in lines if words[0] == "export")


def _sandbox_secrets(family: list[psutil.Process]) -> set[str]:
    [sandbox] = [one for one in family if "sandbox" in one.cmdline()]
    stated = sandbox.environ()
    return {stated[f"SANDBOX_{name}"] for name in ("SECRET", "PASSWORD")}


def _words_of_children(pid: int) -> set[str]:
    with contextlib.suppress(psutil.Error):
        return {word for one in psutil.Process(pid).children() for word in one.cmdline()}
    return set()


def _started_for(mark: str) -> list[int]:
    found = []
    for one in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if one.environ().get("STARTED_FOR") == mark:
                found.append(one.pid)
    return found


def _says(house: House, *words: str) -> str:
    done = house.run(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _ready(port: int) -> bool:
    """Say whether all processes run; Nexudus is not set here."""
    with contextlib.suppress(requests.RequestException):
        parts = requests.get(f"http://127.0.0.1:{port}/readyz", timeout=5).json()["parts"]
        return {name for name, says in parts.items() if says != "ok"} == {"nexudus"}
    return False
