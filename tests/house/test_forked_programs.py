"""Programs that tests start have all modules from the fork, and tests import no program."""

import ast

from tests.house.source_tree import modules, source_texts
from tests.servers.forking import modules_to_load

# They run when they are imported, or belong to Alembic, so each is loaded where it is needed.
RUN_WHEN_IMPORTED = {
    *("service.__main__", "sandbox.__main__", "service.rsgi"),
    "ledger.migrations",
}


def test_the_process_that_forks_loads_every_module_but_the_programs() -> None:
    names = {
        path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        for path, _, _ in modules()
    }
    wanted = {
        name
        for name in names
        if "." in name
        and not any(name == one or name.startswith(f"{one}.") for one in RUN_WHEN_IMPORTED)
    }
    assert "service.cli.up" in wanted
    assert wanted - set(modules_to_load()) == set()
    assert RUN_WHEN_IMPORTED & set(modules_to_load()) == set()


def test_no_test_imports_a_program_which_would_set_up_the_logs_of_all_tests() -> None:
    found = [
        f"{path}:{node.lineno}"
        for path, text in source_texts()
        if path.parts[0] == "tests" and path.suffix == ".py"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ImportFrom) and node.module in RUN_WHEN_IMPORTED
    ]
    assert found == []


def test_the_web_process_removes_foreign_variables_before_celery_is_imported() -> None:
    (tree,) = (tree for path, tree, _ in modules() if path == "service/rsgi.py")
    called = next(at for at, node in enumerate(tree.body) if _is_removal(node))
    before = [node.module for node in tree.body[:called] if isinstance(node, ast.ImportFrom)]
    assert before == ["pathlib", "workers.celery_environment"]


def _is_removal(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and "remove_celery_variables(" in ast.unparse(node)
