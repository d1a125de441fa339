"""Detects whether the world has changed since training."""
