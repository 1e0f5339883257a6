"""From "this record may have changed" to events and planned actions in the ledger."""
