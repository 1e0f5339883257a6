"""Whatever starts our processes names real commands, and workers consume every queue."""

from pathlib import Path

import yaml

from schemas.settings import load_settings
from tests.house.source_tree import ROOT, mistake_in, modules
from workers.app import make_worker_app
from workers.local.programs import python_program
from workers.queues import QUEUES, UPKEEP, UPKEEP_TASKS, WORK, queue_of

BROKER = "redis://no-broker-is-needed-for-this-test.invalid"


def procfile() -> dict[str, list[str]]:
    """Read each command as it is on a platform, without what only honcho adds."""
    lines = (ROOT / "Procfile").read_text(encoding="utf-8").splitlines()
    commands = {name: command for name, _, command in (line.partition(": ") for line in lines)}
    return {
        name: command.replace("${HONCHO_PROCESS_NAME:+--stay}", "").split()
        for name, command in commands.items()
    }


def test_the_procfile_has_each_of_our_processes() -> None:
    assert list(procfile()) == ["web", "worker", "clock", "release"]


def test_the_procfile_starts_our_commands() -> None:
    for program, *words in procfile().values():
        assert program == "coursebell"
        assert mistake_in(words) is None


def test_the_compose_file_starts_the_same() -> None:
    composed = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text(encoding="utf-8"))
    for name, command in procfile().items():
        assert composed["services"][name]["command"] == command


def test_the_units_of_systemd_start_the_same() -> None:
    units = {path.stem: path for path in (ROOT / "deploy" / "systemd").glob("*.service")}
    started = {name: _started_by(path) for name, path in units.items()}
    assert started.pop("coursebell") == ["coursebell", "up"]
    assert started == {f"coursebell-{name}": command for name, command in procfile().items()}


def test_python_programs_are_started_in_one_place_that_leaves_out_the_working_folder() -> None:
    starting = [path for path, _, text in modules() if '"-m"' in text or "'-m'" in text]
    assert starting == ["workers/local/programs.py"]
    assert "-P" in python_program("service", "serve")


def test_the_procfiles_worker_consumes_the_queue_of_every_task(tmp_path: Path) -> None:
    environment = {"COURSEBELL_DATA_DIR": str(tmp_path), "COURSEBELL_BROKER_URL": BROKER}
    worker = make_worker_app(load_settings(environment))
    assert set(worker.amqp.queues.consume_from) == set(QUEUES)
    worker.finalize()
    ours = {task for task in worker.tasks if not task.startswith("celery.")}
    assert {queue_of(task) for task in ours} == {WORK, UPKEEP}
    assert {task for task in ours if queue_of(task) == UPKEEP} == set(UPKEEP_TASKS)


def _started_by(unit: Path) -> list[str]:
    (line,) = [
        line
        for line in unit.read_text(encoding="utf-8").splitlines()
        if line.startswith("ExecStart=")
    ]
    program, *words = line.removeprefix("ExecStart=").split()
    return [Path(program).name, *words]
