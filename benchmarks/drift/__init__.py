"""Whether the drift check can be trusted, and what it costs: ``python -m benchmarks.drift``."""
