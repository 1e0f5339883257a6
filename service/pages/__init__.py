"""The pages that people open in a browser: one module for each, its template beside it."""
