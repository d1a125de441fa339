"""``python -m benchmarks.scores``: see ``benchmarks/scores/flights.py``."""

from benchmarks.scores.flights import main

if __name__ == "__main__":
    main()
