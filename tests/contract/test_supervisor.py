"""The supervisor restarts real programs, and leaves none behind."""

import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from schemas.errors import ConfigurationError
from tests.servers.programs import command_line, is_alive, wait_until
from workers.local.programs import RestartCounter, RestartPolicy
from workers.local.supervisor import (
    ChildCommand,
    ChildRefused,
    CrashLoop,
    FailingFile,
    FailingProgram,
    Supervisor,
    failing_programs,
)

QUICK = RestartPolicy(first_delay_s=0.01, stop_wait_s=10, look_every_s=0.01)
SLEEPS = "import time; time.sleep(600)"
ON_LINUX = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux ties a program to its starter"
)


def python(name: str, script: str, *arguments: object, log: Path | None = None) -> ChildCommand:
    argv = [sys.executable, "-c", script, *[str(argument) for argument in arguments]]
    return ChildCommand(name, argv, log=log)


def silent(line: str) -> None:
    raise AssertionError(f"nothing should be said here: {line}")


def test_a_killed_child_is_restarted_with_one_line_of_output() -> None:
    said: list[str] = []
    stop = threading.Event()
    with Supervisor(said.append, QUICK) as supervisor:
        supervisor.start(python("worker", SLEEPS))
        supervisor.start(python("clock", SLEEPS))
        before = supervisor.pids()
        os.kill(before["worker"], signal.SIGKILL)

        def stop_when_there_is_another() -> None:
            if supervisor.pids().get("worker", before["worker"]) != before["worker"]:
                stop.set()

        supervisor.wait(stop, beside=[stop_when_there_is_another])
        after = supervisor.pids()
        assert after["clock"] == before["clock"]
        assert is_alive(after["worker"])
    assert said == ["worker was ended by SIGKILL; starting again in 0.01 s."]
    assert not any(is_alive(pid) for pid in (*before.values(), *after.values()))


def test_stopping_ends_every_child_and_its_grandchildren(tmp_path: Path) -> None:
    script = (
        "import subprocess, sys, pathlib, time\n"
        "born = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "pathlib.Path(sys.argv[1]).write_text(f'{born.pid}.')\n"
        "time.sleep(600)\n"
    )
    note = tmp_path / "pid"
    supervisor = Supervisor(silent, QUICK)
    supervisor.start(python("parent", script, note))
    wait_until(lambda: note.exists() and note.read_text().endswith("."), "a grandchild is born")
    grandchild = int(note.read_text().rstrip("."))
    child = supervisor.pids()["parent"]
    assert is_alive(grandchild)
    supervisor.stop()
    supervisor.stop()
    assert supervisor.pids() == {}
    assert not is_alive(child)
    wait_until(lambda: not is_alive(grandchild), "the grandchild is gone")


def test_processes_of_a_dead_child_are_ended_before_its_restart(tmp_path: Path) -> None:
    script = (
        "import subprocess, sys, pathlib, time\n"
        "born = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "with open(sys.argv[1], 'a') as note: note.write(f'{born.pid}\\n')\n"
        "time.sleep(600)\n"
    )
    note = tmp_path / "pids"
    stop = threading.Event()
    with Supervisor(lambda _: None, QUICK) as supervisor:
        supervisor.start(python("web", script, note))
        wait_until(lambda: note.exists() and "\n" in note.read_text(), "a grandchild is born")
        first = int(note.read_text().split()[0])
        os.kill(supervisor.pids()["web"], signal.SIGKILL)

        def stop_at_the_second() -> None:
            if note.read_text().count("\n") == 2:
                stop.set()

        supervisor.wait(stop, beside=[stop_at_the_second])
        wait_until(lambda: not is_alive(first), "the first grandchild is gone")


def test_children_stop_in_the_given_order_and_the_rest_in_reverse(tmp_path: Path) -> None:
    script = (
        "import signal, sys, pathlib, time\n"
        "def leave(*_):\n"
        "    with open(sys.argv[1], 'a') as note: note.write(sys.argv[2] + ' ')\n"
        "    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, leave)\n"
        "pathlib.Path(sys.argv[1] + sys.argv[2]).touch()\n"
        "time.sleep(600)\n"
    )
    note = tmp_path / "ended"
    names = ("web", "worker", "clock", "sandbox")
    with Supervisor(silent, QUICK) as supervisor:
        for name in names:
            supervisor.start(python(name, script, note, name))
        ready = [tmp_path / f"ended{name}" for name in names]
        wait_until(lambda: all(path.exists() for path in ready), "all children are ready")
        supervisor.stop(order=["worker", "web", "unheard-of"])
    assert note.read_text().split() == ["worker", "web", "sandbox", "clock"]


def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    script = (
        "import signal, sys, pathlib, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "pathlib.Path(sys.argv[1]).touch()\n"
        "time.sleep(600)\n"
    )
    ready = tmp_path / "ready"
    with Supervisor(silent, RestartPolicy(stop_wait_s=0.2)) as supervisor:
        supervisor.start(python("stubborn", script, ready))
        wait_until(ready.exists, "the child is ready")
        pid = supervisor.pids()["stubborn"]
    assert not is_alive(pid)


def test_when_a_later_child_cannot_be_started_the_earlier_ones_are_stopped(tmp_path: Path) -> None:
    supervisor = Supervisor(silent, QUICK)
    supervisor.start(python("web", SLEEPS))
    pid = supervisor.pids()["web"]
    with pytest.raises(ConfigurationError, match="clock cannot be started: No such file"):
        supervisor.start(ChildCommand("clock", [str(tmp_path / "missing")]))
    assert not is_alive(pid)
    assert supervisor.pids() == {}


def test_a_duplicate_name_is_an_error_and_stops_everything() -> None:
    supervisor = Supervisor(silent, QUICK)
    supervisor.start(python("web", SLEEPS))
    pid = supervisor.pids()["web"]
    with pytest.raises(ConfigurationError, match="'web'"):
        supervisor.start(python("web", SLEEPS))
    assert not is_alive(pid)


def test_during_startup_a_crash_loop_stops_everything_with_the_last_output(
    tmp_path: Path,
) -> None:
    log = tmp_path / "worker.log"
    for written, last_output in ((log, f". The end of {log}:\nno such"), (None, ": no such")):
        said: list[str] = []
        supervisor = Supervisor(said.append, QUICK)
        supervisor.start(python("web", SLEEPS))
        pid = supervisor.pids()["web"]
        supervisor.start(python("worker", "import sys; sys.exit('no such setting')", log=written))
        with pytest.raises(CrashLoop) as caught:
            supervisor.wait(threading.Event())
        text = str(caught.value)
        assert text.startswith("worker died 5 times within 30 s, so everything was stopped.")
        assert f"The last time it ended with exit code 1{last_output} setting" in text
        assert not is_alive(pid)
    assert log.read_text().count("no such setting") == 5
    assert log.stat().st_mode & 0o777 == 0o600


def test_output_of_a_child_that_was_killed_is_not_reported_as_the_reason() -> None:
    said: list[str] = []
    stop = threading.Event()
    supervisor = Supervisor(said.append, QUICK)
    script = "import os, sys; print('A note.', file=sys.stderr); os.kill(os.getpid(), 9)"
    with supervisor:
        supervisor.start(python("worker", script))
        supervisor.finish_startup()
        supervisor.wait(stop, beside=[lambda: stop.set() if len(said) > 2 else None])
        (failing,) = supervisor.failing().values()
    assert failing.why == "The last time it was ended by SIGKILL."


def test_during_startup_a_child_that_refuses_to_run_stops_everything_with_its_reasons() -> None:
    supervisor = Supervisor(silent, QUICK, closings=("Nothing was started.",))
    supervisor.start(python("web", SLEEPS))
    pid = supervisor.pids()["web"]
    lines = "COURSEBELL_LISTEN: in use.\\nCOURSEBELL_MODE: what?\\nNothing was started.\\n"
    supervisor.start(python("worker", f"import sys; sys.stderr.write('{lines}'); sys.exit(2)"))
    with pytest.raises(ChildRefused) as caught:
        supervisor.wait(threading.Event())
    assert caught.value.mistakes == ["COURSEBELL_LISTEN: in use. COURSEBELL_MODE: what?"]
    assert caught.value.closing.startswith("Everything was stopped.")
    assert not is_alive(pid)


def test_after_startup_a_crash_loop_is_restarted_and_stops_nothing(
    tmp_path: Path,
) -> None:
    said: list[str] = []
    stop = threading.Event()
    marker = tmp_path / "fixed"
    why = "The last time it ended with exit code 1:"
    script = (
        "import pathlib, sys, time\n"
        "if pathlib.Path(sys.argv[1]).exists(): time.sleep(600)\n"
        "def fail(): raise ValueError('the disk is full')\n"
        "fail()\n"
    )
    pace = RestartPolicy(
        first_delay_s=0.01, longest_delay_s=0.02, stable_after_s=2.0, look_every_s=0.01
    )
    with Supervisor(said.append, pace) as supervisor:
        supervisor.start(python("web", SLEEPS))
        command = python("worker", script, marker)
        supervisor.start(replace(command, meanwhile="The web process works."))
        supervisor.finish_startup()
        before = supervisor.pids()["web"]

        def observe() -> None:
            if len(said) == 7:
                (failing,) = supervisor.failing().values()
                assert failing.why == f"{why} ValueError: the disk is full."
                marker.touch()
            if said[-1:] == ["worker runs again."]:
                stop.set()

        supervisor.wait(stop, beside=[observe])
        assert supervisor.failing() == {}
        assert supervisor.pids()["web"] == before
    assert said[:3] == [
        "worker ended with exit code 1; starting again in 0.01 s.",
        "worker ended with exit code 1; starting again in 0.02 s.",
        (
            f"worker keeps failing (3 times in a row). {why} ValueError: the disk is full."
            " The web process works. Starting again in 0.02 s."
        ),
    ]


def test_a_program_that_is_missing_at_its_restart_is_a_failure_like_others(
    tmp_path: Path,
) -> None:
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{SLEEPS}'\n")
    program.chmod(0o700)
    said: list[str] = []
    stop = threading.Event()
    with Supervisor(said.append, QUICK) as supervisor:
        supervisor.start(ChildCommand("worker", [str(program)]))
        supervisor.finish_startup()
        program.unlink()
        os.kill(supervisor.pids()["worker"], signal.SIGKILL)

        def stop_once_it_is_said() -> None:
            if len(said) > 2:
                stop.set()

        supervisor.wait(stop, [stop_once_it_is_said])
    assert said[1].startswith("worker cannot be started: No such file or directory: ")


def test_a_replacement_starts_after_the_old_child_has_ended() -> None:
    stop = threading.Event()
    with Supervisor(silent, QUICK) as supervisor:
        supervisor.start(python("worker", SLEEPS))
        before = supervisor.pids()["worker"]
        supervisor.replace(python("worker", "import time; time.sleep(601)"))

        def observe() -> None:
            if supervisor.pids().get("worker", before) != before:
                stop.set()

        supervisor.wait(stop, beside=[observe])
        after = supervisor.pids()["worker"]
        assert "sleep(601)" in command_line(after)


def test_a_child_gets_its_environment_which_repr_hides(tmp_path: Path) -> None:
    log = tmp_path / "child.log"
    command = ChildCommand(
        "child",
        [sys.executable, "-c", f"import os; print(os.environ['SECRET'], flush=True); {SLEEPS}"],
        env={"SECRET": "hush"},
        log=log,
    )
    with Supervisor(silent, QUICK) as supervisor:
        supervisor.start(command)
        wait_until(lambda: log.read_text() == "hush\n", "the child has written")
    assert "hush" not in repr(command)


@ON_LINUX
def test_children_end_when_the_supervisor_itself_is_killed() -> None:
    script = (
        "import sys, threading; from workers.local.supervisor import ChildCommand, Supervisor\n"
        "supervisor = Supervisor(print)\n"
        "for name in ('web', 'worker'):\n"
        f"    supervisor.start(ChildCommand(name, [sys.executable, '-c', {SLEEPS!r}]))\n"
        "print(*supervisor.pids().values(), flush=True)\n"
        "supervisor.wait(threading.Event())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        pids = [int(word) for word in program.stdout.readline().split()]
        assert len(pids) == 2
        assert all(is_alive(pid) for pid in pids)
        program.kill()
        # Not before the children are gone: they hold the other end of this pipe.
        wait_until(lambda: not any(is_alive(pid) for pid in pids), "the children are gone")


def test_delays_double_up_to_the_longest_and_start_over_after_a_stable_run() -> None:
    restarts = RestartCounter(RestartPolicy())
    delays = [restarts.delay_after_death(now=60.0 * n, lived_s=1) for n in range(9)]
    assert delays == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]
    was_failing = restarts.is_failing
    assert restarts.delay_after_death(now=1000, lived_s=15) == 0.5
    assert (was_failing, restarts.is_failing) == (True, False)
    assert restarts.delay_after_death(now=1100, lived_s=14) == 1


def test_five_deaths_within_thirty_seconds_are_a_crash_loop_and_four_are_not() -> None:
    restarts = RestartCounter(RestartPolicy())
    for now in (0, 10, 20, 29, 31):
        restarts.delay_after_death(now=now, lived_s=1)
        assert not restarts.is_crash_loop
    restarts.delay_after_death(now=40, lived_s=1)
    assert restarts.is_crash_loop


def test_failing_programs_are_reported_until_they_work_or_the_reporter_is_gone(
    tmp_path: Path,
) -> None:
    failing = {"worker": FailingProgram(datetime(2026, 3, 1, 9, tzinfo=UTC), "worker was ended.")}
    file = FailingFile(tmp_path)
    file.update(failing)
    assert failing_programs(tmp_path) == failing
    (written,) = tmp_path.iterdir()
    assert written.stat().st_mode & 0o777 == 0o600
    os.utime(written, (0, 0))
    assert failing_programs(tmp_path) == {}
    file.update({})
    assert list(tmp_path.iterdir()) == []
    written.write_text("[[")
    assert failing_programs(tmp_path) == {}
