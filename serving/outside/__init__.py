"""Clients of MLflow, Prefect, Slack and the lake, with just the calls that the service needs."""
