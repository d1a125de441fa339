"""``python -m benchmarks.loop``: see ``benchmarks/loop/parts.py``."""

from benchmarks.loop.parts import main

if __name__ == "__main__":
    main()
