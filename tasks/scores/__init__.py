"""Batch scoring: rows of a file, a query or a period, scored into a file or a table."""
