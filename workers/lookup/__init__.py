"""Turns one notified record into events and planned actions in the ledger."""
