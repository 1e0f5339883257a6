"""Import every module of every installed package; print, as JSON, which top names were missing.

Run it with `-I` in the environment to look into. Modules that cannot be imported for another reason
(other systems, other optional parts) are not this program's subject.
"""

import contextlib
import gc
import importlib
import importlib.metadata
import io
import json
import sys
import warnings

OURS = ("service", "workers", "ledger", "schemas", "sandbox")
# Loaded by path, by other programs, with their own surroundings.
NOT_IMPORTED = ("ledger.migrations", "service.rsgi")


def modules() -> list[str]:
    found = []
    for distribution in importlib.metadata.distributions():
        for file in distribution.files or ():
            if file.suffix != ".py" or ".." in file.parts:
                continue
            parts = list(file.with_suffix("").parts)
            if parts[-1] == "__init__":
                parts.pop()
            name = ".".join(parts)
            if parts and parts[-1] != "__main__" and not name.startswith(NOT_IMPORTED):
                found.append(name)
    return found


def main() -> None:
    gc.disable()  # importing leaves nothing to collect
    warnings.simplefilter("ignore")
    missing: dict[str, list[str]] = {}
    imported = []
    for name in modules():
        try:
            with (
                contextlib.redirect_stdout(io.StringIO()),
                contextlib.redirect_stderr(io.StringIO()),
            ):
                importlib.import_module(name)
        except ModuleNotFoundError as error:
            missing.setdefault(str(error.name).partition(".")[0], []).append(name)
        except BaseException:
            if name.partition(".")[0] in OURS:
                raise
        else:
            imported.append(name)
    json.dump({"missing": missing, "imported": imported}, sys.stdout)


main()
