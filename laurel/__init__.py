"""The command ``laurel``: everything that a person asks of Laurel from a terminal."""
