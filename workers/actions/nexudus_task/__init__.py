"""The action `nexudus-task`: a task about the member in Nexudus, for one of the staff."""
