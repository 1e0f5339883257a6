"""Takes a due action to its outcome: claim, read again, check, prepare, send, record."""
