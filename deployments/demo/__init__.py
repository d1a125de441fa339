"""The loop on real data, a story for each use case: ``python -m deployments.demo``."""
