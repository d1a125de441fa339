"""Rows as Arrow IPC."""
