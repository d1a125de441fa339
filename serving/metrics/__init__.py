"""Figures of the service, for Prometheus and for its page."""
