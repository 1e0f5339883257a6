"""The web process (hooks and health) and the command line."""
