"""Rows in every form of body, checked by one schema."""
