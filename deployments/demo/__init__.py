"""The loop on real flights: ``python -m deployments.demo``."""
