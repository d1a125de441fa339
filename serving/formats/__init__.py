"""Rows in every form that a body can have, checked by one schema."""
