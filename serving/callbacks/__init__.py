"""Calls from MLflow and Slack, which carry signatures, not keys."""
