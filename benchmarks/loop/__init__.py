"""How long the loop takes, and where: ``python -m benchmarks.loop``."""
