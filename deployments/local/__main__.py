"""``python -m deployments.local``: see ``deployments/local/command.py``."""

import sys

from deployments.local.command import main

if __name__ == "__main__":
    sys.exit(main())
