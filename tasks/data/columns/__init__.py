"""What a kind of column needs that is more than a line of ``tasks/data/kinds.py``."""
