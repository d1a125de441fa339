"""A year of a use case in about an hour: what grows with it, and what does not."""
