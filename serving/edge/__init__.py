"""Rules that every request passes."""
