"""``python -m benchmarks.drift``: see ``benchmarks/drift/check.py``."""

from benchmarks.drift.check import main

if __name__ == "__main__":
    main()
