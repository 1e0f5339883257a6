"""The completeness certificate: proves, row by row, that nothing the source has was missed."""
