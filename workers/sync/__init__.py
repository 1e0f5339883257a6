"""Keeps the ledger in step with the source: what webhooks and notifications did not report."""
