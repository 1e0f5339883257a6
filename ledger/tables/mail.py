"""What mail providers report about emails, and what is needed to find those emails.

Addresses are stored as keyed hashes only, which `choices` has too. So a choice of the member,
what is reported about their address and what it leads to meet without an address in the ledger,
and all of it survives an erase.
"""

from sqlalchemy import Column, ForeignKey, Index, String, Table, Text, text

from ledger.tables.columns import Id, Instant, id_column, metadata, partial_index, word

# Conditions of partial indexes. Queries must repeat them verbatim, so that engines use the index.
PENDING_REPORTS = text("state = 'pending'")

# An email that was or may have been sent, by the reference in its Message-ID, so that what the mail
# provider reports about it finds it. It is of an action, or of an alert, summary or digest.
sent_emails = Table(
    "sent_emails",
    metadata,
    Column("reference", String(64), primary_key=True),
    Column("action_id", Id, ForeignKey("actions.id"), index=True),
    Column("report_id", Id, ForeignKey("reports.id", name="sent_emails_report"), index=True),
    Column("address_hash", String(64), nullable=False),  # see `mailbox_hash`
    Column("sent_at", Instant, nullable=False, index=True),  # when its hand-over began
    Index("sent_emails_to", "address_hash", "sent_at"),
)

# One report of the mail provider: only the fields named here are kept of it.
mail_reports = Table(
    "mail_reports",
    metadata,
    id_column(),
    Column("event_key", String(64), nullable=False, unique=True),  # digest of what identifies it
    Column("token_hash", String(64), unique=True),  # of what a signature without the body covers
    word("provider", nullable=False),
    word("kind", nullable=False),  # see `schemas.mail_reports.ReportKind`
    Column("happened_at", Instant, nullable=False),
    Column("received_at", Instant, nullable=False, index=True),
    Column("address_hash", String(64)),
    Column("reference", String(64)),  # the one of `sent_emails`
    Column("message_id", Text),  # the provider's
    word("code"),
    Column("detail", Text),  # without addresses
    word("state", nullable=False),  # pending, applied, not-ours, of-no-use
    Column("due_at", Instant, nullable=False),  # when it is applied or searched for again
    Column("action_id", Id, ForeignKey("actions.id"), index=True),
    Column("report_id", Id, ForeignKey("reports.id", name="mail_reports_report"), index=True),
    partial_index("mail_reports_pending", "due_at", where=PENDING_REPORTS),
)

# An address that no email is sent to, because emails to it came back.
suppressions = Table(
    "suppressions",
    metadata,
    Column("address_hash", String(64), primary_key=True),
    word("kind", nullable=False),  # hard-bounce, or soft-bounce after several
    Column("since", Instant, nullable=False),
    word("provider", nullable=False),
    word("code"),
    Column("detail", Text),  # without addresses
    Column("lifted_at", Instant),  # only a later bounce counts then
)
