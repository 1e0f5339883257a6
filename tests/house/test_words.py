"""Names say something, modules have a readable size, and functions fit a screen."""

import ast
import re
from collections.abc import Iterator

from tests.house.source_tree import PACKAGES, modules, source_texts

# They would fit everything, so they say nothing.
SAYING_NOTHING = {
    *("handler", "handlers", "manager", "managers", "helper", "helpers", "util", "utils"),
    *("data", "info", "payload", "payloads", "misc"),
}
# As a verb it says nothing; as a noun it is the system's word for a running program.
SAYING_NOTHING_FIRST = {"process", "processes", "processing", "processor"}
# Names that libraries look for.
GIVEN_TO_US = {
    *("process_bind_param", "process_result_value"),  # SQLAlchemy
    *("handle_DATA", "smtp_DATA"),  # aiosmtpd
    "handle_data",  # html.parser
    "process_response",  # Flask
}
MOST_LINES_OF_A_MODULE = 400
FEWEST_LINES_OF_A_MODULE = 60
MOST_LINES_OF_A_FUNCTION = 40
# Larger on purpose, each with how large it may be.
LARGER_MODULES: dict[str, int] = {}
# Smaller on purpose, each with its reason. A module that only marks a package is not counted.
SMALLER_MODULES = {
    "ledger/clock.py": "time, chance and new ids: every package takes them from here",
    "service/limits.py": "the receiver and the pages of members count requests by it",
    "ledger/migrate.py": "what makes a ledger ready imports it, without Alembic",
    "ledger/upgrade.py": "only what has something to migrate imports Alembic, which takes long",
    "ledger/migrations/env.py": "Alembic looks for it by this name",
    "ledger/tables/people.py": "the tables about people, beside the larger ones of other rows",
    "schemas/rules/__init__.py": "what others may use of the rules",
    "schemas/settings/__init__.py": "what others may use of the settings",
    "ledger/tables/operators.py": "the tables of accounts, beside the larger ones of other rows",
    "schemas/roles.py": "the ledger stores roles, pages and commands ask them",
    "service/desk/passwords.py": "the one part that knows how passwords are hashed",
    "service/desk/shown_text.py": "the one part that takes links and addresses out of every text",
    "service/desk/assets.py": "files for guests; the frame may not import what the visitor has",
    "service/desk/lately.py": "what all pages keep of it, so that the list of emails need not",
    "workers/progress.py": "pages ask how far many members are, a worker asks about one",
    "schemas/person.py": "the ledger keeps it, decisions and actions take it; none imports another",
    "service/rsgi.py": "the program of the web process, which works when it is imported",
    "service/__main__.py": "the program: it must clean the environment before anything is loaded",
    "workers/actions/email/__init__.py": "what a program that only checks rules needs of emails",
    "workers/actions/webhook/__init__.py": "what a program that only checks rules needs of it",
    "workers/redis_pool.py": "only what connects to the broker imports redis, which takes long",
    "service/cli/source_access.py": "the commands that ask Nexudus import the source client by it",
    "service/cli/scheduler.py": "a command, and a program that imports only what it needs",
    "workers/queues.py": "names that processes of different versions share",
    "sandbox/__main__.py": "the program `python -m sandbox`",
}
LONGER_FUNCTIONS: dict[str, int] = {}

_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def says_nothing(name: str) -> bool:
    parts = [part.lower() for part in _PART.findall(name)]
    return bool(SAYING_NOTHING & set(parts)) or (parts or [""])[0] in SAYING_NOTHING_FIRST


def names() -> Iterator[tuple[str, str]]:
    for path, tree, _ in modules():
        for part in path.removesuffix(".py").split("/"):
            yield path, part
        for node in ast.walk(tree):
            if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
                yield f"{path}:{node.lineno}", node.name


def functions() -> Iterator[tuple[str, int]]:
    """Give every function and the lines of its body, without signature and docstring."""
    for path, tree, _ in modules():
        if path.startswith("ledger/migrations/"):
            continue  # a list of tables in the form of a function
        for node in ast.walk(tree):
            if isinstance(node, _FUNCTIONS):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                first, last = (body[0].lineno, body[-1].end_lineno) if body else (1, 0)
                yield f"{path} {node.name}", (last or first) - first + 1


def test_no_module_function_or_class_has_an_empty_name() -> None:
    ours = [(where, name) for where, name in names() if name not in GIVEN_TO_US]
    assert [f"{where} {name}" for where, name in ours if says_nothing(name)] == []


def test_every_module_has_a_readable_size() -> None:
    too_large = [
        f"{path}: {len(text.splitlines())} lines"
        for path, _, text in modules()
        if len(text.splitlines()) > LARGER_MODULES.get(path, MOST_LINES_OF_A_MODULE)
    ]
    assert too_large == []


# A kind of action and the list of kinds may be short: others add to them.
_KINDS = re.compile(r"workers/actions/(\w+/action|registry)\.py")


def test_every_small_module_has_a_reason() -> None:
    small = {
        path
        for path, tree, text in modules()
        if len(text.splitlines()) < FEWEST_LINES_OF_A_MODULE
        and tree.body[1:]  # more than the docstring that marks a package
        and not path.startswith("ledger/migrations/versions/")
        and not _KINDS.fullmatch(path)
    }
    assert small == SMALLER_MODULES.keys()


def test_every_function_fits_a_screen() -> None:
    too_long = [
        f"{name}: {lines} lines"
        for name, lines in functions()
        if lines > LONGER_FUNCTIONS.get(name, MOST_LINES_OF_A_FUNCTION)
    ]
    assert too_long == []


def test_every_size_exception_is_still_needed() -> None:
    modules_now = {path: len(text.splitlines()) for path, _, text in modules()}
    functions_now = dict(functions())
    larger = {one for one, lines in modules_now.items() if lines > MOST_LINES_OF_A_MODULE}
    longer = {one for one, lines in functions_now.items() if lines > MOST_LINES_OF_A_FUNCTION}
    assert LARGER_MODULES.keys() <= larger
    assert LONGER_FUNCTIONS.keys() <= longer


def test_every_module_says_what_it_is_for() -> None:
    assert [path for path, tree, text in modules() if text and not ast.get_docstring(tree)] == []


# Words of an earlier, private way of speaking; each with what is said instead.
OLD_WORDS = {
    r"mend(s|ed|ing)?": "fix",
    r"whoever|somebody": "name them: the caller, the member, an operator",
    r"(is|are|was|were) told": "is notified",
    r"(goes|go|gone) on with|goes on": "continues, resumes",
    r"bell(?![.@])|rings?": "wake-up, wakes",
    r"works? off": "processes",
    r"let go": "closes, releases",
    r"left lying|looks? after": "is overdue, monitors",
    r"look-ups?": "lookup",
    r"first look": "baseline",
    r"sightings?": "seen version",
    r"shelf|shelves": "prefetched records",
}
TEXTS = {".md", ".yaml"}
_OLD_WORD = re.compile(rf"\b({'|'.join(OLD_WORDS)})\b", re.IGNORECASE)


def test_texts_use_standard_terms() -> None:
    found = [
        f"{path}:{number}: {match[0]}"
        for path, text in source_texts()
        if (path.parts[0] in {*PACKAGES, "docs", "deploy", "tests"} or path.suffix in TEXTS)
        and path.parts[:2] != ("ledger", "migrations")  # history, as is the changelog
        and path.name not in {"CHANGELOG.md", "test_migration_steps.py", "test_words.py"}
        and path.suffix != ".lock"
        for number, line in enumerate(text.splitlines(), 1)
        for match in _OLD_WORD.finditer(line)
    ]
    assert found == []
