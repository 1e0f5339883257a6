"""Another application's Celery variables are in the environment, and change nothing for us.

The list of variables comes from the installed sources of Celery and its libraries, so a release
that reads a new one fails here.
"""

import ast
import re
import socket
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path

import pytest

from tests.e2e.house import House, living
from tests.servers.programs import wait_until
from workers.celery_environment import is_read_by_celery

LIBRARIES = ("celery", "kombu", "billiard", "amqp", "vine", "redis", "limits", "click_plugins")
# Never imported here: transports that we refuse, and Celery's own test and debugging tools.
NOT_LOADED = (
    "celery/contrib/",
    "kombu/transport/SLMQ.py",
    "kombu/transport/gcpubsub.py",
    "kombu/transport/mongodb.py",
    "kombu/transport/qpid.py",
)
LEFT_ALONE = {
    "ITERM_PROFILE": "how a terminal shows pictures",
    "NO_COLOR": "the user's wish; only Celery's command line, which we do not run, reads it",
    "NUMBER_OF_PROCESSORS": "Windows tells its programs",
    "TERM": "what the terminal can do",
    "celery_dummy_proxy": "only set, never read",
}


def modules_of(library: str) -> Iterator[tuple[str, str]]:
    """Give every module of an installed library: its path from site-packages, and its text."""
    # Celery, once imported, does not say where it came from.
    spec = PathFinder.find_spec(library)
    assert spec is not None
    assert spec.origin is not None
    origin = Path(spec.origin)
    root = origin.parent.parent if origin.name == "__init__.py" else origin.parent
    paths = origin.parent.rglob("*.py") if origin.name == "__init__.py" else [origin]
    for path in paths:
        name = path.relative_to(root).as_posix()
        text = path.read_text(encoding="utf-8")
        if not name.startswith(NOT_LOADED) and re.search("environ|getenv|envvar", text):
            yield name, text


def variables_in(text: str) -> set[str]:
    """Return the environment variables that a module reads or sets.

    A function that takes a variable's name as an argument counts with that argument's default,
    and with what it is given in the same module.
    """
    tree = ast.parse(text)
    found: set[object] = set()
    takers: set[str] = set()
    for node in ast.walk(tree):
        found |= {name.value for name in _names_asked(node) if isinstance(name, ast.Constant)}
        if isinstance(node, ast.FunctionDef):
            asked = {
                name.id
                for inner in ast.walk(node)
                for name in _names_asked(inner)
                if isinstance(name, ast.Name)
            }
            arguments = node.args.args
            given = arguments[len(arguments) - len(node.args.defaults) :]
            takers |= {node.name} if asked & {one.arg for one in arguments} else set()
            found |= {
                default.value
                for one, default in zip(given, node.args.defaults, strict=True)
                if one.arg in asked and isinstance(default, ast.Constant)
            }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) in takers:
            found |= {one.value for one in node.args if isinstance(one, ast.Constant)}
    return {name for name in found if isinstance(name, str)}


def _names_asked(node: ast.AST) -> list[ast.expr | None]:
    """Return what stands for a variable's name in one expression about the environment."""
    match node:
        case (
            ast.Subscript(value=ast.Attribute(attr="environ"), slice=name)
            | ast.Compare(left=name, comparators=[ast.Attribute(attr="environ")])
            | ast.Call(func=ast.Attribute(attr="getenv"), args=[name, *_])
            | ast.keyword(arg="envvar", value=name)
        ):
            return [name]
        case ast.Call(func=ast.Attribute(value=ast.Attribute(attr="environ"))):
            return [*node.args[:1], *(ast.Constant(keyword.arg) for keyword in node.keywords)]
    return []


@pytest.fixture(scope="module")
def variables() -> dict[str, str]:
    """Name every variable that Celery and its libraries read, with a module that does."""
    return {
        name: module
        for library in LIBRARIES
        for module, text in modules_of(library)
        for name in variables_in(text)
    }


@pytest.fixture
def foreign_broker() -> Iterator[socket.socket]:
    """Listen where the other application has its broker."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        yield listener


@pytest.fixture
def house(
    tmp_path: Path, variables: dict[str, str], foreign_broker: socket.socket
) -> Iterator[House]:
    elsewhere = f"redis://127.0.0.1:{foreign_broker.getsockname()[1]}/0"
    modules = tmp_path / "modules"
    modules.mkdir()
    for name in ("hostile", "celeryconfig"):
        (modules / f"{name}.py").write_text("open(__file__ + '.loaded', 'w').close()\n")
    options = ("WORKER_QUEUES", "WORKER_POOL", "WORKER_CONCURRENCY", "WORKER_TIME_LIMIT", "APP")
    names = {*variables, *(f"CELERY_{option}" for option in options)} - {"TERM"}
    hostile = {name: elsewhere if "URL" in name else "hostile" for name in names}
    with living(tmp_path, **hostile, PYTHONPATH=str(modules)) as found:
        yield found


def test_every_variable_that_celery_reads_is_removed_or_harmless(
    variables: dict[str, str],
) -> None:
    assert {"CELERY_BROKER_URL", "BROKER_URL", "C_FORCE_ROOT", "CELERY_LOADER"} <= variables.keys()
    kept = {name: module for name, module in variables.items() if not is_read_by_celery(name)}
    assert kept.keys() == LEFT_ALONE.keys()


def test_with_all_of_them_set_web_worker_and_scheduler_use_only_our_broker(
    house: House, tmp_path: Path, foreign_broker: socket.socket
) -> None:
    # Without the clock only a wake-up that the web process sends, and the worker receives, gives
    # an email; one more goes from the worker's child to the worker.
    house.start("serve", "worker")
    wait_until(lambda: "worker" in house.logs() and "ready" in house.logs(), "the worker ready")
    house.sandbox.enrol("Joël", "Freelance Finance")
    house.wait_mails("joel", 1)
    # The worker's sign of life is a task that the clock asks for.
    house.start("clock")
    wait_until(house.ready, "all parts ready")
    assert house.run("status").returncode == 0
    assert list((tmp_path / "modules").glob("*.loaded")) == []
    with pytest.raises(BlockingIOError):
        foreign_broker.accept()
