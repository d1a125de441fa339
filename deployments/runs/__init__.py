"""Runs that are started, awaited and reported from elsewhere."""
