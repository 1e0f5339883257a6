"""What `coursebell up` runs on one machine."""
