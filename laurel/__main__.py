"""``python -m laurel``, and ``.venv/bin/laurel``: see ``laurel/main.py``."""

import sys

from laurel.main import main

if __name__ == "__main__":
    sys.exit(main())
