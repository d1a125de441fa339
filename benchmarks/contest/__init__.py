"""How often the contest errs, and what it costs: ``python -m benchmarks.contest``."""
