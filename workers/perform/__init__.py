"""From a due action to its outcome: read the truth again, decide again, write, hand over."""
