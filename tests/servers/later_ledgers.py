"""A migration that this code does not know, as a later version of Coursebell would bring it."""

from pathlib import Path

from alembic import command
from alembic.config import Config

from ledger.engine import open_engine, writing
from ledger.revision import newest_revision

LATER = "9001"
_MIGRATIONS = Path(__file__).parents[2] / "ledger" / "migrations"
_TEXT = """
import sqlalchemy as sa
from alembic import op

revision = "{later}"
down_revision = "{before}"
branch_labels = None
depends_on = None
oldest_code = "{oldest_code}"


def upgrade():
    op.add_column("actions", sa.Column("colour", sa.String(9), server_default="", nullable=False))
    op.create_table("colours", sa.Column("name", sa.String(9), primary_key=True))


def downgrade():
    op.drop_table("colours")
    op.drop_column("actions", "colour")
"""


def upgrade_beyond(url: str, folder: Path, *, oldest_code: str) -> None:
    """Bring a ledger to a revision beyond this code, which states the oldest code that may run."""
    text = _TEXT.format(later=LATER, before=newest_revision(), oldest_code=oldest_code)
    folder.mkdir(exist_ok=True)
    (folder / f"{LATER}_later.py").write_text(text)
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", f"{_MIGRATIONS / 'versions'}\n{folder}")
    engine = open_engine(url)
    with writing(engine) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    engine.dispose()
