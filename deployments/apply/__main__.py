"""``python -m deployments.apply``: see ``deployments/apply/command.py``."""

from deployments.apply.command import main

if __name__ == "__main__":
    main()
