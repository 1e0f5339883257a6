"""Who may use the pages: accounts of operators, their one-time links and their sessions.

Passwords are stored as argon2 hashes. Of links and sessions only a digest is stored, so a copy of
the ledger opens nothing.
"""

from sqlalchemy import Column, ForeignKey, Index, String, Table, Text

from ledger.tables.columns import Id, Instant, id_column, metadata, word

# An account. It is never deleted, since the log of decisions has its name.
operators = Table(
    "operators",
    metadata,
    id_column(),
    Column("name", String(64), nullable=False),  # as shown, and in the log of decisions
    Column("name_key", String(64), nullable=False, unique=True),  # folded, to sign in with
    word("role", nullable=False),  # see `schemas.roles`
    Column("password_hash", Text),  # None: not chosen yet; `closed`: no password
    Column("made_at", Instant, nullable=False),
    word("made_by", nullable=False),
    Column("closed_at", Instant),  # since then nobody signs in with it
    # Who signs in with it at a provider: `iss` and `sub`. None: nobody does.
    Column("issuer", Text),
    Column("subject", String(255)),
    # Who may connect it with a provider: emptied then. As `schemas.identity.email_key` has it.
    Column("email", String(254)),
    Index("operators_identity", "issuer", "subject", unique=True),
    Index("operators_email", "email", unique=True),
)

# A link with which an operator chooses a password, once.
operator_links = Table(
    "operator_links",
    metadata,
    Column("token_hash", String(64), primary_key=True),
    Column("operator_id", Id, ForeignKey("operators.id"), nullable=False, index=True),
    Column("made_at", Instant, nullable=False),
    Column("ends_at", Instant, nullable=False, index=True),
    Column("used_at", Instant),
)

# A browser in which an operator is signed in.
operator_sessions = Table(
    "operator_sessions",
    metadata,
    Column("token_hash", String(64), primary_key=True),
    Column("operator_id", Id, ForeignKey("operators.id"), nullable=False),
    Column("made_at", Instant, nullable=False),
    Column("seen_at", Instant, nullable=False, index=True),
    Column("client", Text, nullable=False),  # the browser in a few words
    Column("ended_at", Instant),
    Index("sessions_of_operator", "operator_id", "seen_at"),
)
