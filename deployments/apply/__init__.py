"""Prefect and MLflow, configured from the repository: ``python -m deployments.apply``."""
