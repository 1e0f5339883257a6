"""Time, random numbers and new ids come from the clock that code is given (`ledger.clock`)."""

import ast
from collections.abc import Iterator

import pytest

from tests.house.source_tree import modules

_BY_CLOCK = ("service/", "workers/", "ledger/")
_DIRECT = {
    "time": {"monotonic", "monotonic_ns", "perf_counter", "sleep", "time", "time_ns"},
    "datetime": {"now", "today", "utcnow"},
    "date": {"today"},
    "os": {"urandom"},
    "uuid": {"uuid1", "uuid4"},
    "random": None,  # anything of it
    "secrets": None,
}
# Modules and folders that use the system's time and randomness themselves, and why they must.
_ALLOWED = {
    "ledger/clock.py": "it is the clock",
    "ledger/migrations/env.py": "Alembic loads it by its path and passes no arguments of ours",
    "workers/local/": "starts, watches and restarts real processes",
    "workers/stopping.py": "waits in a signal handler for real processes to finish",
    "workers/source/deadline.py": "limits how long real sockets may take",
    "workers/source/http.py": "dates an answer that has no date",
    "workers/source/limits.py": "compares with `limits`, which reads the system's time",
    "workers/source/shared_budget.py": "compares with `limits`, which reads the system's time",
    "workers/secret_key.py": "makes the secret key of an installation, once",
}
# Where a process begins, and may choose the system's clock. All others are given one.
_BEGINNINGS = {
    "ledger/clock.py",
    "service/cli/common.py",
    "service/app.py",
    "workers/app.py",
    "workers/worker_process.py",
    "workers/context.py",
}


def _direct_uses(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in {"time", "random", "secrets"}:
            yield f"line {node.lineno}: from {node.module} import …"
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            names = _DIRECT.get(node.value.id, set())
            if names is None or node.attr in names:
                yield f"line {node.lineno}: {node.value.id}.{node.attr}"


def _uses_by_path() -> dict[str, list[str]]:
    return {
        path: found
        for path, tree, _ in modules()
        if path.startswith(_BY_CLOCK) and (found := list(_direct_uses(tree)))
    }


@pytest.mark.parametrize(
    "line",
    [
        "time.sleep(1)",
        "end = time.monotonic() + 5",
        "now = datetime.now(UTC)",
        "def wait(sleep=time.sleep): ...",
        "token = secrets.token_hex(16)",
        "from random import uniform",
        "name = uuid.uuid4()",
        "key = os.urandom(16)",
    ],
)
def test_a_direct_use_is_found(line: str) -> None:
    assert len(list(_direct_uses(ast.parse(line)))) == 1


def test_only_listed_modules_use_time_and_randomness_directly() -> None:
    allowed = tuple(_ALLOWED)
    others = {path: uses for path, uses in _uses_by_path().items() if not path.startswith(allowed)}
    assert others == {}, "take a `Clock` as an argument"


def test_every_exception_is_still_needed() -> None:
    used = _uses_by_path()
    assert [one for one in _ALLOWED if not any(path.startswith(one) for path in used)] == []


def test_only_entry_points_choose_the_systems_clock() -> None:
    choosing = {
        path
        for path, tree, _ in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and node.id == "SYSTEM_CLOCK"
    }
    assert choosing == _BEGINNINGS
