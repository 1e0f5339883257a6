"""The email action: what a letter says, how it looks, and how it becomes a message."""
