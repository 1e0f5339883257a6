"""What we do when something happened: one folder for each kind of action."""
