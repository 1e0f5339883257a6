"""Reports: emails to operators, hosts and fixed addresses that are not about one event."""
