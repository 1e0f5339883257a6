"""Ledgers whose tables were made once and are then copied: to make them takes longer than a test.

That a copy is what a migration makes is held by tests/contract/test_migrations.py, which migrate.
"""

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

from ledger.engine import open_engine
from ledger.migrate import migrate


def migrated(url: str) -> str:
    """Make the tables of a database, and return where it is."""
    engine = open_engine(url)
    migrate(engine)
    engine.dispose()
    return url


def sqlite_copy(path: Path) -> str:
    """Put a migrated ledger at that path, and return where it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(_migrated_file(), path)
    path.chmod(0o600)
    return f"sqlite:///{path}"


@functools.cache
def _migrated_file() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="coursebell-ledger-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    migrated(f"sqlite:///{folder / 'ledger.db'}")
    return folder / "ledger.db"
