"""The database: the only source of truth about our own work."""
