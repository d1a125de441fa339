"""``python -m benchmarks.contest``: see ``benchmarks/contest/rates.py``."""

import sys

from benchmarks.contest.rates import main

if __name__ == "__main__":
    main(sys.argv[1:])
