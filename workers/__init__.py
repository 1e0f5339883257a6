"""The work: look a record up, compare, decide, act."""
