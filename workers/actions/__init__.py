"""The kinds of action: one folder for each, registered in `workers.actions.registry`."""
