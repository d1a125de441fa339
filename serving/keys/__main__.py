"""``python -m serving.keys``: see ``serving/keys/command.py``."""

from serving.keys.command import main

if __name__ == "__main__":
    main()
