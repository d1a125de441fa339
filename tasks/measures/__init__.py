"""How good a score is, and how sure that is."""
