"""From a due action to its outcome: claim it, read and check again, prepare, send, settle."""
