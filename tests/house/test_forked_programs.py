"""Programs that tests start have all modules from the fork, and import none of them again."""

from tests.house.source_tree import modules
from tests.servers.forking import modules_to_load

# They run when they are imported, or belong to Alembic, so each is loaded where it is needed.
RUN_WHEN_IMPORTED = {
    *("service.__main__", "sandbox.__main__", "service.rsgi", "workers.entry"),
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
