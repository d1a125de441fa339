"""From a source to a dataset version."""
