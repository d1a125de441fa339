"""Prefect and MLflow are brought to what the repository says: ``python -m deployments.apply``."""
