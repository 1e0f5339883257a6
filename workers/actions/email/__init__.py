"""The email action: composes a letter, turns it into a message, and sends it by SMTP."""
