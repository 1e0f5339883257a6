"""One row a record: what was read of it and what lists showed of it, from two tables.

Revision ID: 0012
Revises: 0011
"""

import sqlalchemy as sa
from alembic import op

from ledger.tables import Instant

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None
oldest_code = "0012"

_REFERENCES = ("course_id", "coworker_id", "course_member_id", "lesson_id")
# The columns that the two tables did not share: what they are called now, and were called there.
_OF_SNAPSHOTS = {name: name for name in ("record", "updated_at", "fetched_at", "decided_upto")}
_OF_SIGHTINGS = {
    "seen_at": "seen_at",
    "changed_at": "changed_at",
    "seen_digest": "digest",
    "decided_digest": "decided",
    "created_at": "created_at",
    "full_name": "full_name",
    "suppressed_reason": "reason",
    "suppressed_upto": "quiet_upto",
    "suppressed_after": "quiet_after",
}


def upgrade() -> None:
    op.create_table(
        "records",
        *_key(),
        sa.Column("gone_at", Instant(), nullable=True),
        sa.Column("record", sa.JSON(), nullable=True),
        sa.Column("updated_at", Instant(), nullable=True),
        sa.Column("fetched_at", Instant(), nullable=True),
        sa.Column("seen_at", Instant(), nullable=True),
        sa.Column("changed_at", Instant(), nullable=True),
        sa.Column("seen_digest", sa.String(length=32), nullable=True),
        sa.Column("decided_digest", sa.String(length=32), nullable=True),
        sa.Column("decided_upto", sa.BigInteger(), nullable=True),
        sa.Column("created_at", Instant(), nullable=True),
        sa.Column("full_name", sa.Text(), nullable=True),
        sa.Column("suppressed_reason", sa.String(length=64), nullable=True),
        sa.Column("suppressed_upto", Instant(), nullable=True),
        sa.Column("suppressed_after", sa.BigInteger(), nullable=True),
        *_references(),
        sa.PrimaryKeyConstraint("entity", "record_id"),
    )
    # Where a record was read, that says what it refers to and whether it is gone.
    is_same = "l.entity = r.entity AND l.record_id = r.record_id"
    columns = {name: f"coalesce(r.{name}, l.{name})" for name in _REFERENCES}
    columns |= {name: f"r.{name}" for name in ("entity", "record_id", "gone_at")}
    columns |= {name: f"r.{old}" for name, old in _OF_SNAPSHOTS.items()}
    columns |= {name: f"l.{old}" for name, old in _OF_SIGHTINGS.items()}
    _copy("records", columns, f"snapshots r LEFT JOIN sightings l ON {is_same}")
    columns = {name: f"l.{name}" for name in ("entity", "record_id", "gone_at", *_REFERENCES)}
    columns |= {name: f"l.{old}" for name, old in _OF_SIGHTINGS.items()}
    _copy(
        "records", columns, f"sightings l LEFT JOIN snapshots r ON {is_same} WHERE r.entity IS NULL"
    )
    op.create_index("records_of_course", "records", ["entity", "course_id"])
    op.create_index("records_of_course_member", "records", ["entity", "course_member_id"])
    op.create_index("records_of_coworker", "records", ["entity", "coworker_id"])
    op.create_index("records_created", "records", ["entity", "created_at"])
    op.drop_table("sightings")
    op.drop_table("snapshots")


def downgrade() -> None:
    op.create_table(
        "snapshots",
        *_key(),
        sa.Column("record", sa.JSON(), nullable=False),
        sa.Column("updated_at", Instant(), nullable=False),
        sa.Column("fetched_at", Instant(), nullable=False),
        sa.Column("gone_at", Instant(), nullable=True),
        sa.Column("decided_upto", sa.BigInteger(), nullable=True),
        *_references(),
        sa.PrimaryKeyConstraint("entity", "record_id"),
    )
    op.create_table(
        "sightings",
        *_key(),
        sa.Column("changed_at", Instant(), nullable=False),
        sa.Column("created_at", Instant(), nullable=True),
        sa.Column("digest", sa.String(length=32), nullable=True),
        sa.Column("decided", sa.String(length=32), nullable=True),
        sa.Column("seen_at", Instant(), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.Column("quiet_upto", Instant(), nullable=True),
        sa.Column("quiet_after", sa.BigInteger(), nullable=True),
        sa.Column("gone_at", Instant(), nullable=True),
        *_references(),
        sa.Column("full_name", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("entity", "record_id"),
    )
    shared = {name: name for name in ("entity", "record_id", "gone_at", *_REFERENCES)}
    columns = shared | {old: name for name, old in _OF_SNAPSHOTS.items()}
    _copy("snapshots", columns, "records WHERE fetched_at IS NOT NULL")
    columns = shared | {old: name for name, old in _OF_SIGHTINGS.items()}
    _copy("sightings", columns, "records WHERE seen_at IS NOT NULL")
    op.create_index("snapshots_of_course", "snapshots", ["entity", "course_id"])
    op.create_index("snapshots_of_course_member", "snapshots", ["entity", "course_member_id"])
    op.create_index("snapshots_of_coworker", "snapshots", ["entity", "coworker_id"])
    op.create_index("sightings_created", "sightings", ["entity", "created_at"])
    op.create_index("sightings_of_course_member", "sightings", ["entity", "course_member_id"])
    op.drop_table("records")


def _key() -> tuple[sa.Column[str], sa.Column[int]]:
    return (
        sa.Column("entity", sa.String(length=64), nullable=False),
        sa.Column("record_id", sa.BigInteger(), autoincrement=False, nullable=False),
    )


def _references() -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger(), nullable=True) for name in _REFERENCES]


def _copy(table: str, columns: dict[str, str], rows: str) -> None:
    into, what = ", ".join(columns), ", ".join(columns.values())
    op.execute(f"INSERT INTO {table} ({into}) SELECT {what} FROM {rows}")  # noqa: S608 - our own names
