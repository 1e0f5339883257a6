"""The workers: they look up records, compare, decide, and send."""
