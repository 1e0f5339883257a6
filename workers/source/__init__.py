"""The client of the source's REST API. No other package makes HTTP requests to the source."""
