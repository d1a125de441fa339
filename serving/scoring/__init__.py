"""Rows to predictions, and predictions to answers."""
