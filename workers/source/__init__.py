"""The source's REST API, as far as we need it. All knowledge of HTTP to the source ends here."""
