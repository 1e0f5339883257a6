"""What our own checks saw at the source, and how each of them went."""

from sqlalchemy import JSON, BigInteger, Column, Index, Integer, String, Table, Text, text

from ledger.tables.base import Instant, id_column, metadata, word

# A record as one of the source's lists last showed it, and as we last decided on it. What it refers
# to is kept as far as the row said it, so that rows can be counted without reading each.
sightings = Table(
    "sightings",
    metadata,
    word("entity", primary_key=True),
    Column("record_id", BigInteger, primary_key=True, autoincrement=False),
    Column("changed_at", Instant, nullable=False),  # the source's time, by which lists are asked
    Column("created_at", Instant),  # the source's time, or when it was first seen, if earlier
    Column("digest", String(32)),  # of the fields that we read, as the list last showed them
    Column("decided", String(32)),  # the same of the record that was decided on last
    Column("seen_at", Instant, nullable=False),
    word("reason"),  # why what happened until `quiet_upto` is not written about
    Column("quiet_upto", Instant),
    Column("quiet_after", BigInteger),  # the newest notification then; a later one lifts it
    Column("gone_at", Instant),
    Column("course_id", BigInteger),
    Column("coworker_id", BigInteger),
    Column("course_member_id", BigInteger),
    Column("lesson_id", BigInteger),
    Column("full_name", Text),  # of the member, to find them by; no part of the version
    Index("sightings_created", "entity", "created_at"),
    Index("sightings_of_course_member", "entity", "course_member_id"),
)

# One run of a check, baseline, reconcile, backfill or webhook check.
checks = Table(
    "checks",
    metadata,
    id_column(),
    word("kind", nullable=False),
    word("entity"),  # None: a run over more than one kind
    Column("begun_at", Instant, nullable=False),
    Column("ended_at", Instant),  # None: under way, or interrupted
    Column("since", Instant),  # from when on it looked
    Column("reached", Instant),  # all up to there was looked at; an interrupted run goes on there
    Column("pages", Integer, nullable=False, server_default=text("0")),
    Column("rows", Integer, nullable=False, server_default=text("0")),
    Column("news", Integer, nullable=False, server_default=text("0")),  # of these, not known before
    Column("total", BigInteger),  # how many rows there are in all, as the source said at first
    word("reason"),  # why it failed
    Column("error", Text),
    Column("report", JSON),  # what it found, without names and addresses
    Index("checks_of_kind", "kind", "entity", "begun_at"),
)
