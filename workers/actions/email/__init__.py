"""The email action: composes a letter, makes it a message, and sends it by SMTP."""
