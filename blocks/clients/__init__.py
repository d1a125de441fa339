"""Clients of MLflow and the lake that flows and the service share; without Prefect."""
