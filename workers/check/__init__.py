"""Our own checks: what the source has, held against what we have seen. Nobody is forgotten."""
