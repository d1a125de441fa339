"""Calls from MLflow and Slack, which are signed instead of keyed."""
