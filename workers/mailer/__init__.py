"""Hands messages to the mail server. All knowledge of SMTP ends here; no wording begins here."""
