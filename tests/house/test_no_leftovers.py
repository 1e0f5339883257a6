"""Nothing of the machine this was written on, and no registry, is named in the source."""

import re

from tests.house.source_tree import source_texts

# Assembled here, so that this file does not match itself.
MACHINE_PATHS = re.compile("|".join(f"/{folder}/" for folder in ("work", "tmp", "root", "home")))
REGISTRIES = re.compile(
    "|".join(
        re.escape(".".join(host))
        for host in (
            ("pypi", "org"),
            ("pythonhosted", "org"),
            ("docker", "io"),
            ("ghcr", "io"),
            ("quay", "io"),
            ("gcr", "io"),
            ("npmjs", "org"),
            ("crates", "io"),
        )
    )
)


def test_no_path_of_one_machine_is_named() -> None:
    found = [
        f"{path}: {line.strip()}"
        for path, text in source_texts()
        for line in text.splitlines()
        # Tests may speak of folders that are not there.
        if MACHINE_PATHS.search(line) and path.parts[0] != "tests"
    ]
    assert found == []


def test_no_test_names_the_folder_of_this_source() -> None:
    here = MACHINE_PATHS.pattern.partition("|")[0]
    assert [str(path) for path, text in source_texts() if here in text] == []


def test_no_registry_is_named() -> None:
    assert [str(path) for path, text in source_texts() if REGISTRIES.search(text)] == []
