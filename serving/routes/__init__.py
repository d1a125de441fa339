"""A module for each protocol."""
