"""``python -m deployments.demo``: see ``deployments/demo/command.py``."""

import sys

from deployments.demo.command import main

if __name__ == "__main__":
    sys.exit(main())
