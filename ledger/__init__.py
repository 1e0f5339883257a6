"""Everything we remember. The only truth: what is committed here happens, whatever is killed."""
