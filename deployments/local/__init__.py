"""The local stack: ``python -m deployments.local``."""
